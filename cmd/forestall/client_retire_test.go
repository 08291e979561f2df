package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stratoswarm/forestall/api"
)

// TestRetire lets an engine run a workload and retires it with the command.
func TestRetire(t *testing.T) {
	if testing.Short() {
		t.Skip("starts an engine; run without -short")
	}
	dir := t.TempDir()
	t.Cleanup(func() {
		if err := killDemo(dir, 10*time.Second); err != nil {
			t.Error(err)
		}
	})
	ports, err := freeDemoPorts(1)
	if err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("http://127.0.0.1:%d", ports[0]+demoPortAPI)
	config := filepath.Join(dir, "forestall.toml")
	text := fmt.Sprintf(`
engine = {name = "n1", data_dir = %q}
fault_tolerance = {checkpoint_storage = %q, checkpoint_interval = "200ms"}
cluster = {profile = "fast"}
api = {address = %q}
[[workload]]
name = "w"
kind = "service"
command = [%q, "worker"]
`, filepath.Join(dir, "data"), filepath.Join(dir, "checkpoints"), strings.TrimPrefix(url, "http://"), os.Args[0])
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	engine := exec.Command(os.Args[0], "engine", "--config", config)
	engine.Stdout, engine.Stderr = &log, &log
	if err := engine.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = engine.Process.Signal(syscall.SIGTERM)
		_ = engine.Wait()
		if t.Failed() {
			t.Logf("log of the engine:\n%s", &log)
		}
	}()

	client := api.NewClient(url)
	var w api.WorkloadStatus
	await := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); ; {
			if all, err := client.Workloads(t.Context()); err == nil && len(all) == 1 {
				if w = all[0]; ok() {
					return
				}
			}
			if time.Now().After(end) {
				t.Fatalf("waited in vain for %s: %+v", what, w)
			}
			time.Sleep(20 * time.Millisecond) // between two looks at other processes
		}
	}
	await("a checkpoint of the running workload", func() bool { return w.State == api.StateRunning && w.PID > 0 && w.Head != nil })
	pid := w.PID

	var out, wrong bytes.Buffer
	for range 2 { // it may be repeated
		if code := run([]string{"retire", "w", "--api", url}, &out, &wrong); code != 0 {
			t.Fatalf("exit status %d: %s", code, &wrong)
		}
	}
	await("the workload to be gone", func() bool { return w.State == api.StateStopped && syscall.Kill(pid, 0) != nil })
	if w.Head == nil {
		t.Error("the newest checkpoint is not known any more")
	}
	if code := run([]string{"retire", "nobody", "--api", url}, &out, &wrong); code != 1 || !strings.Contains(wrong.String(), `workload "nobody": not found`) {
		t.Errorf("retire nobody: exit status %d, %s", code, &wrong)
	}
}
