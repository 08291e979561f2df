package workload

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// forkedBefore writes what an engine has on disk when it forks the shim of epoch 3,
// behind the back of the node's supervisor. The workload would leave a file "ran".
func forkedBefore(t *testing.T, n *node) runDir {
	t.Helper()
	dir := runDir(filepath.Join(n.dir, "train"))
	l := n.launch(3, sh("touch ran; sleep 60")...)
	l.Boot, l.Token = n.Supervisor.boot, "token"
	err := os.Mkdir(string(dir), 0o700)
	if err == nil {
		err = dir.markLaunched(3)
	}
	if err == nil {
		err = writeRecord(dir.path(launchFile), "launch", l)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// lateShim is a shim whose engine is dead.
type lateShim struct {
	*exec.Cmd
	said bytes.Buffer
}

// newLateShim forks a shim; one that is paused stands still before its first step.
func newLateShim(t *testing.T, dir runDir, paused bool) *lateShim {
	t.Helper()
	mode := "shim"
	if paused {
		mode = "late-shim"
	}
	s := &lateShim{Cmd: exec.Command(os.Args[0], mode, "--dir", string(dir))}
	s.Stdout = &s.said
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Process.Kill() })
	if paused {
		await(t, "the shim to stand still", func() bool {
			p, err := readProcess(s.Process.Pid)
			return err == nil && p.stopped()
		})
	}
	return s
}

// refused demands that the shim ended and started nothing.
func (s *lateShim) refused(t *testing.T, n *node) {
	t.Helper()
	ended := make(chan struct{})
	go func() { _ = s.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(long):
		_ = s.Process.Kill()
		<-ended
		t.Error("the late shim did not end by itself")
	}
	if got := s.said.String(); !strings.Contains(got, `"stale_epoch"`) || !strings.Contains(got, "was stopped") {
		t.Errorf("the late shim said %q, want that its epoch was stopped", got)
	}
	if exists(filepath.Join(n.state, "ran")) {
		t.Error("the late shim started the workload")
	}
}

// The next engine reports the launch as not started.
func TestLateShimIsReportedAsNotStarted(t *testing.T) {
	n := newNode(t)
	n.stop()
	dir := forkedBefore(t, n)
	late := newLateShim(t, dir, true)
	n.boot()
	if e := n.exit(); e.Epoch != 3 || !strings.Contains(e.Reason, "not started") {
		t.Errorf("exit %+v", e)
	}
	kill(t, late.Process.Pid, unix.SIGCONT)
	late.refused(t, n)
}

// The next engine can't record that, but confirms a stop.
func TestLateShimIsStopped(t *testing.T) {
	n := newNode(t)
	n.stop()
	dir := forkedBefore(t, n)
	late := newLateShim(t, dir, true)
	if err := os.Mkdir(dir.path(exitFile), 0o700); err != nil { // where the record would go
		t.Fatal(err)
	}
	n.boot()
	if err := n.Start(context.Background(), n.launch(4, "/bin/sleep", "60")); err == nil || !strings.Contains(err.Error(), dir.path(exitFile)) {
		t.Errorf("start beside an exit that can't be recorded: %v", err)
	}
	if _, err := n.Stop(context.Background(), "train", 3, ""); err != nil {
		t.Fatal(err)
	}
	kill(t, late.Process.Pid, unix.SIGCONT)
	late.refused(t, n)
	if err := os.Remove(dir.path(exitFile)); err != nil {
		t.Fatal(err)
	}
	if e := n.exit(); e.Epoch != 3 {
		t.Errorf("exit %+v", e)
	}
	n.start(n.launch(4, "/bin/sleep", "60"))
}

// The shim already holds the lock and has been let through; it looks once more
// before it forks.
func TestLateShimIsStoppedUnderItsLock(t *testing.T) {
	n := newNode(t)
	dir := forkedBefore(t, n)
	output := dir.path(outputLog)
	if err := unix.Mkfifo(output, 0o600); err != nil { // it waits here for a reader
		t.Fatal(err)
	}
	late := newLateShim(t, dir, false)
	await(t, "the shim to pass its checks", func() bool { return exists(n.state) })
	stopped := make(chan error, 1)
	go func() {
		_, err := n.Stop(context.Background(), "train", 3, "")
		stopped <- err
	}()
	await(t, "the stop to be on disk", func() bool {
		floor, err := dir.floor()
		return err == nil && floor.Stopped == 3
	})
	select {
	case err := <-stopped:
		t.Errorf("stop confirmed (%v) while a shim holds the lock", err)
	default:
	}
	reader, err := os.Open(output)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	late.refused(t, n)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
