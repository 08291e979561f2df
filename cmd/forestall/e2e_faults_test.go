package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/engine"
	"github.com/stratoswarm/forestall/internal/worker"
)

// loneConfig is an engine that is alone with one small workload.
func loneConfig(t *testing.T, dir string) engine.Config {
	t.Helper()
	c := engine.DefaultConfig()
	c.SetData(dir)
	c.Engine.Name = "n1"
	ports, err := freeDemoPorts(1)
	if err != nil {
		t.Fatal(err)
	}
	c.API.Address = net.JoinHostPort("127.0.0.1", fmt.Sprint(ports[0]))
	c.FaultTolerance.CheckpointInterval.Duration = 500 * time.Millisecond
	w := engine.WorkloadConfig{
		Name: "w", Kind: "service",
		Command: []string{os.Args[0], "worker", "--size", "2048", "--journal", filepath.Join(dir, "journal")},
		Hook:    engine.HookConfig{Kind: "http", URL: "unix:" + worker.HookSocket},
	}
	c.Workloads = []engine.WorkloadConfig{w}
	return c
}

func writeConfig(t *testing.T, c engine.Config, path string) string {
	t.Helper()
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// startLone runs an engine process and ends it, and all it started, with the
// test. The returned function reads its log.
func startLone(t *testing.T, c engine.Config, dir string) (client *api.Client, log func() string) {
	t.Helper()
	file := filepath.Join(dir, "engine.log")
	out, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(os.Args[0], "engine", "--config", writeConfig(t, c, filepath.Join(dir, "forestall.toml")))
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log = func() string {
		b, _ := os.ReadFile(file)
		return string(b)
	}
	t.Cleanup(func() {
		if err := killDemo(dir, 10*time.Second); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log())
		}
	})
	return api.NewClient("http://" + c.API.Address), log
}

func awaitLone[T any](t *testing.T, what string, ask func(context.Context) (T, error), ok func(T) bool) T {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); ; {
		v, err := ask(t.Context())
		if err == nil && ok(v) {
			return v
		}
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s; the last answer is %+v, %v", what, v, err)
		}
		time.Sleep(20 * time.Millisecond) // between two looks at another process
	}
}

// refused runs "forestall engine" with what must keep it from starting.
func refused(t *testing.T, c engine.Config, dir string, want ...string) {
	t.Helper()
	var out, errs bytes.Buffer
	code := run([]string{"engine", "--config", writeConfig(t, c, filepath.Join(dir, "bad.toml"))}, &out, &errs)
	last := lastLine(errs.String())
	if code != 1 {
		t.Errorf("exit status %d, want 1", code)
	}
	for _, w := range want {
		if !strings.Contains(last, w) {
			t.Errorf("the last line is %q, want it to contain %q", last, w)
		}
	}
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

func TestE2EOccupiedPort(t *testing.T) {
	dir := t.TempDir()
	c := loneConfig(t, dir)
	l, err := net.Listen("tcp", c.API.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	refused(t, c, dir, c.API.Address, "[api] address")
}

func TestE2EWrongConfig(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "bad.toml")
	if err := os.WriteFile(path, []byte("[fault_tolerance]\nheartbeat_intervall = \"5s\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"engine", "--config", path}, {"config", "check", path}, {"config", "show", path}} {
		var out, errs bytes.Buffer
		if code := run(args, &out, &errs); code != 1 {
			t.Errorf("%s: exit status %d, want 1", args, code)
		}
		if want := `line 2: unknown key "fault_tolerance.heartbeat_intervall"; did you mean "fault_tolerance.heartbeat_interval"?`; !strings.Contains(errs.String(), path+": "+want) {
			t.Errorf("%s says %q, want the file and %q", args, errs.String(), want)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("a wrong configuration left %d files, want only itself", len(entries))
	}
}

func TestE2ECorruptModel(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join("..", "..", "predict", "builtin", "gpu")
	for name, spoil := range map[string]func([]byte) []byte{
		"truncated":       func(b []byte) []byte { return b[:len(b)/2] },
		"one digit other": func(b []byte) []byte { return bytes.Replace(b, []byte("leaf_value="), []byte("leaf_value=7"), 1) },
		"empty":           func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			model := filepath.Join(t.TempDir(), "model")
			if err := os.CopyFS(model, os.DirFS(from)); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(filepath.Join(model, "model.txt"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(model, "model.txt"), spoil(text), 0o600); err != nil {
				t.Fatal(err)
			}
			c := loneConfig(t, dir)
			c.Model.GPU = model
			refused(t, c, dir, "model.gpu", model)
		})
	}
}

func TestE2ECorruptCheckpoint(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes; run without -short")
	}
	dir := t.TempDir()
	c := loneConfig(t, dir)
	client, log := startLone(t, c, dir)
	w := awaitLone(t, "a checkpoint", client.Workloads, func(l []api.WorkloadStatus) bool {
		return len(l) == 1 && l[0].Head != nil && l[0].PID > 0
	})[0]
	// While it stands still no new checkpoint comes between.
	if err := syscall.Kill(w.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	flipped := 0
	err := filepath.WalkDir(filepath.Join(dir, "checkpoints", "packs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for at := 64; at < len(b); at += 256 {
			b[at] ^= 1
		}
		flipped++
		return os.WriteFile(path, b, 0o600)
	})
	if err != nil || flipped == 0 {
		t.Fatalf("no chunk to damage: %v", err)
	}
	state := filepath.Join(dir, "state", "w")
	if err := syscall.Kill(w.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitLone(t, "the refusal to restore it", func(context.Context) (string, error) { return log(), nil }, func(s string) bool {
		return strings.Contains(s, "corrupt checkpoint data") && strings.Contains(s, "the state directory is as it was")
	})
	if entries, err := os.ReadDir(state); err != nil || len(entries) == 0 {
		t.Errorf("the state directory is gone: %v", err)
	}
}

// smallDisk mounts a file system of 16 MiB under dir.
func smallDisk(t *testing.T, dir string) string {
	t.Helper()
	disk := filepath.Join(dir, "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("forestall-test", disk, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("mounting a small file system needs root: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	return disk
}

// fill leaves no room on a disk; empty gives it back.
func fill(t *testing.T, disk string) (empty func()) {
	t.Helper()
	filler := filepath.Join(disk, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	f.Close()
	return func() {
		t.Helper()
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	}
}

func TestE2EFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes; run without -short")
	}
	dir := t.TempDir()
	disk := smallDisk(t, dir)
	c := loneConfig(t, dir)
	c.FaultTolerance.CheckpointStorage = filepath.Join(disk, "checkpoints")
	client, log := startLone(t, c, dir)
	checkpoints := func(ctx context.Context) (int, error) {
		l, err := client.Checkpoints(ctx, "w")
		return len(l), err
	}
	before := awaitLone(t, "a checkpoint", checkpoints, func(n int) bool { return n > 0 })

	empty := fill(t, disk)
	awaitLone(t, "the error", func(context.Context) (string, error) { return log(), nil }, func(s string) bool {
		return strings.Contains(s, "no space left for the checkpoint") && strings.Contains(s, "checkpoint_retention")
	})
	l, err := client.Workloads(t.Context())
	if err != nil || len(l) != 1 || l[0].State != api.StateRunning {
		t.Errorf("with a full disk the workload is %+v, %v; want it running", l, err)
	}
	if n, err := checkpoints(t.Context()); err != nil || n < before {
		t.Errorf("%d checkpoints were there, now %d, %v", before, n, err)
	}
	empty()
	full, _ := checkpoints(t.Context())
	awaitLone(t, "checkpoints to go on", checkpoints, func(n int) bool { return n > full })
}
