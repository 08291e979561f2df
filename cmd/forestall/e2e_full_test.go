package main

import (
	"context"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/internal/worker"
)

// TestE2EFullDataDir leaves no room for the engine's own files; the workload's
// state and the checkpoints lie elsewhere. The workload goes on, the log says
// what is wrong, and once there is room again everything gets on, even though
// the workload has died meanwhile.
func TestE2EFullDataDir(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes; run without -short")
	}
	dir := t.TempDir()
	disk := smallDisk(t, dir)
	c := loneConfig(t, dir)
	c.Engine.DataDir = filepath.Join(disk, "data")
	c.Workloads[0].StateDir = filepath.Join(dir, "state", "w")
	client, log := startLone(t, c, dir)
	saved := func(after time.Time) func([]api.WorkloadStatus) bool {
		return func(l []api.WorkloadStatus) bool {
			return len(l) == 1 && l[0].State == api.StateRunning && l[0].PID > 0 && l[0].Head != nil && l[0].Head.Time.After(after)
		}
	}
	first := awaitLone(t, "a checkpoint", client.Workloads, saved(time.Time{}))[0]

	empty := fill(t, disk)
	awaitLone(t, "the error", func(context.Context) (string, error) { return log(), nil }, func(s string) bool {
		return strings.Contains(s, "raft.db: no space left on device")
	})
	full := time.Now()
	journal := func(context.Context) ([]worker.Entry, error) {
		return worker.ReadJournal(filepath.Join(dir, "journal"))
	}
	awaitLone(t, "work after it", journal, func(l []worker.Entry) bool {
		e := l[len(l)-1]
		return e.PID == first.PID && e.Time.After(full)
	})
	empty()
	freed := time.Now()
	now := awaitLone(t, "checkpoints to go on", client.Workloads, saved(freed))[0]
	if now.PID != first.PID || now.Epoch != first.Epoch {
		t.Errorf("while the disk was full the run of epoch %s, pid %d became epoch %s, pid %d", first.Epoch, first.PID, now.Epoch, now.PID)
	}

	empty = fill(t, disk)
	if err := syscall.Kill(now.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	again := len(log())
	awaitLone(t, "the error again", func(context.Context) (string, error) { return log()[again:], nil }, func(s string) bool {
		return strings.Contains(s, "no space left on device")
	})
	empty()
	freed = time.Now()
	last := awaitLone(t, "the workload to be recovered", client.Workloads, saved(freed))[0]
	if last.Epoch <= now.Epoch {
		t.Errorf("it was recovered under epoch %s, which is not above %s", last.Epoch, now.Epoch)
	}
	entries, err := journal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if o := worker.Overlaps(entries); len(o) > 0 {
		t.Errorf("it lived twice: %v", o)
	}
	if l := worker.Lost(entries); len(l) != 1 || l[0].Skipped != 0 {
		t.Errorf("it was started anew %d times, want once and no step skipped: %+v", len(l), l)
	}
}
