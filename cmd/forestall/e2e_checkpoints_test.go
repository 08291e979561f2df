package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
)

// TestE2ECheckpointCommands has a running engine take, count and drop
// checkpoints, and looks into its store meanwhile.
func TestE2ECheckpointCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes; run without -short")
	}
	dir := t.TempDir()
	c := loneConfig(t, dir)
	c.FaultTolerance.CheckpointInterval.Duration = time.Hour // those of this test alone
	client, _ := startLone(t, c, dir)
	list := awaitLone(t, "the workload", client.Workloads, func(l []api.WorkloadStatus) bool {
		return len(l) == 1 && l[0].State == api.StateRunning && l[0].PID != 0
	})
	name, store := list[0].Name, c.FaultTolerance.CheckpointStorage
	ask := func(args ...string) string {
		t.Helper()
		return mustRun(t, append(append([]string{"checkpoints"}, args...), "--api", "http://"+c.API.Address)...)
	}
	awaitLone(t, "the workload to answer its hook", func(ctx context.Context) (forestall.Checkpoint, error) {
		return client.CreateCheckpoint(ctx, name, api.CheckpointRequest{Label: "first"})
	}, func(cp forestall.Checkpoint) bool { return cp.ID != "" })
	if out := ask("create", name, "--label", "by hand"); !strings.Contains(out, "by hand") {
		t.Errorf("create prints\n%s", out)
	}
	var mine forestall.Checkpoint
	awaitLone(t, "the checkpoint in the list", func(ctx context.Context) ([]forestall.Checkpoint, error) { return client.Checkpoints(ctx, name) },
		func(all []forestall.Checkpoint) bool {
			for _, cp := range all {
				if cp.Label == "by hand" {
					mine = cp
				}
			}
			return mine.ID != ""
		})

	// Beside the running engine.
	if out := mustRun(t, "checkpoints", "verify", mine.ID, "--store", store); !strings.Contains(out, "whole") {
		t.Errorf("verify prints\n%s", out)
	}
	target := filepath.Join(dir, "restored")
	mustRun(t, "restore", mine.ID, "--store", store, "--to", target)
	if names, err := os.ReadDir(target); err != nil || len(names) == 0 {
		t.Errorf("restored %v, %v", names, err)
	}

	// A newer one counts, so the one by hand may go; the newest may not.
	head := ask("create", name)
	if !strings.Contains(head, name) {
		t.Errorf("create prints\n%s", head)
	}
	if out := ask("delete", mine.ID); !strings.Contains(out, "dropped "+shortID(mine.ID)) {
		t.Errorf("delete prints\n%s", out)
	}
	now, err := client.Workloads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	status, _, stderr := commandLine("checkpoints", "delete", now[0].Head.ID, "--api", "http://"+c.API.Address)
	if status != 1 || !strings.Contains(stderr, "newest that counts") {
		t.Errorf("delete of the newest: status %d: %s", status, stderr)
	}
	if out := ask("gc"); !strings.Contains(out, "freed") {
		t.Errorf("gc prints\n%s", out)
	}
	if out := ask("stats"); !strings.Contains(out, store) {
		t.Errorf("stats prints\n%s", out)
	}
	mustRun(t, "checkpoints", "verify", "--store", store)
}

// TestE2EOffsite: what an engine checkpoints is in the bucket soon, and can be
// restored from there with nothing else left.
func TestE2EOffsite(t *testing.T) {
	gateway := os.Getenv("VERSITYGW")
	if testing.Short() || gateway == "" {
		t.Skip("starts processes, versitygw among them; `make test-s3` runs it")
	}
	dir := t.TempDir()
	ports, err := freeDemoPorts(1)
	if err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort("127.0.0.1", fmt.Sprint(ports[0]))
	if err := os.MkdirAll(filepath.Join(dir, "s3", "offsite"), 0o755); err != nil { // a directory is a bucket
		t.Fatal(err)
	}
	s3 := exec.Command(gateway, "--port", address, "--access", "key", "--secret", "not-a-secret-0123", "--quiet", "posix", filepath.Join(dir, "s3"))
	if err := s3.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s3.Process.Kill()
		_ = s3.Wait()
	})
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret-0123")

	data := filepath.Join(dir, "n1")
	c := loneConfig(t, data)
	c.Checkpoint.S3.Endpoint, c.Checkpoint.S3.Bucket, c.Checkpoint.S3.Region = "http://"+address, "offsite", "us-east-1"
	if err := os.MkdirAll(data, 0o755); err != nil {
		t.Fatal(err)
	}
	client, log := startLone(t, c, data)
	awaitLone(t, "a checkpoint", func(ctx context.Context) (forestall.Checkpoint, error) {
		return client.CreateCheckpoint(ctx, "w", api.CheckpointRequest{Label: "off-site"})
	}, func(cp forestall.Checkpoint) bool { return cp.ID != "" })
	store := "s3://offsite?endpoint=http://" + address + "&region=us-east-1"
	awaitLone(t, "a copy off-site", func(context.Context) (string, error) {
		_, out, _ := commandLine("checkpoints", "list", "--store", store)
		return out, nil
	}, func(out string) bool { return strings.Contains(out, "  w ") })
	target := filepath.Join(dir, "restored")
	mustRun(t, "restore", "--workload", "w", "--store", store, "--to", target)
	if names, err := os.ReadDir(target); err != nil || len(names) == 0 {
		t.Errorf("restored %v, %v", names, err)
	}
	if strings.Contains(log(), "not-a-secret") {
		t.Error("the engine's log holds the secret")
	}
}
