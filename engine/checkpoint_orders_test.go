package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/checkpoint"
)

// TestCheckpointOrders: through a running engine a damaged checkpoint is named
// and dropped, a pin is agreed on and heeded, what a recovery needs stays, and
// all of it is written down.
func TestCheckpointOrders(t *testing.T) {
	t.Parallel()
	c := testConfig(t.TempDir())
	c.FaultTolerance.CheckpointInterval = Duration{time.Hour}
	c.Workloads = []WorkloadConfig{{Name: "w", Kind: "service", Command: []string{"sh", "-c", "mkfifo $FORESTALL_STATE_DIR/pipe; echo x > $FORESTALL_STATE_DIR/f; exec sleep 1000"}}}
	client, _, stop := runEngine(t, c)
	pid := await(t, "the workload to run", client.Workloads, func(l []api.WorkloadStatus) bool { return len(l) == 1 && l[0].PID > 0 })[0].PID
	await(t, "what the workload makes", func(context.Context) (os.FileInfo, error) {
		return os.Stat(filepath.Join(c.Engine.DataDir, "state", "w", "f")) // behind the pipe
	}, func(os.FileInfo) bool { return true })
	var ids []string
	for len(ids) < 4 {
		ids = append(ids, await(t, "a checkpoint", func(ctx context.Context) (forestall.Checkpoint, error) {
			return client.CreateCheckpoint(ctx, "w", api.CheckpointRequest{})
		}, func(cp forestall.Checkpoint) bool { return cp.ID != "" }).ID)
	}
	stop()
	old, lost, pinned, head := ids[0], ids[1], ids[2], ids[3]
	manifest := filepath.Join(c.FaultTolerance.CheckpointStorage, "manifests", lost)
	if err := os.WriteFile(manifest, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}

	client, e, stop := runEngine(t, c)
	await(t, "the engine to be ready", func(ctx context.Context) (bool, error) { return true, client.Ready(ctx) }, func(ok bool) bool { return ok })
	stats, err := client.StoreStats(t.Context())
	if err != nil || len(stats.Damaged) != 1 || stats.Damaged[0].ID != lost || stats.Damaged[0].Error == "" {
		t.Fatalf("stats %+v, %v; want the damaged checkpoint named", stats, err)
	}
	if work, err := client.StoreWork(t.Context(), "w"); err != nil || len(work) != 0 {
		t.Errorf("at work: %v, %v", work, err)
	}
	if _, err := client.StoreWork(t.Context(), "nobody"); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("at work for a workload that is not known: %v", err)
	}
	if d, err := client.Checkpoint(t.Context(), lost); err != nil || d.ID != lost || !strings.Contains(d.Damage, "n1: ") {
		t.Errorf("the damaged one: %+v, %v", d, err)
	}
	if d, err := client.Checkpoint(t.Context(), head); err != nil || d.Damage != "" || len(d.States) != 1 || d.States[0].Name != "f" || len(d.Replicas) == 0 || len(d.LeftOut.First) != 1 {
		t.Errorf("the head: %+v, %v", d, err)
	}
	if _, err := client.CollectGarbage(t.Context()); err == nil {
		t.Error("GC ran beside a manifest that cannot be read")
	}
	if d, err := client.DeleteCheckpoint(t.Context(), lost); err != nil || len(d.From) != 1 || len(d.Failed) != 0 {
		t.Errorf("drop the damaged one: %+v, %v", d, err)
	}
	if _, err := client.CollectGarbage(t.Context()); err != nil {
		t.Errorf("GC after the damaged one has gone: %v", err)
	}

	if p, err := client.PinCheckpoint(t.Context(), pinned, true); err != nil || len(p.On) != 1 || p.On[0] != "n1" {
		t.Errorf("pin: %+v, %v", p, err)
	}
	for id, want := range map[string]string{pinned: "must stay: it is pinned", head: "must stay: it is the newest that counts of w", strings.Repeat("0", 64): "not found"} {
		if err := client.MayDeleteCheckpoint(t.Context(), id); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("may %s be dropped: %v; want %q in it", short(id), err, want)
		}
		if _, err := client.DeleteCheckpoint(t.Context(), id); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("drop %s: %v; want %q in it", short(id), err, want)
		}
	}
	all, err := client.Checkpoints(t.Context(), "w")
	if err != nil || len(all) != 3 {
		t.Fatalf("%d checkpoints, %v; want 3", len(all), err)
	}
	for _, cp := range all {
		if cp.LeftOut.Count != 1 {
			t.Errorf("%s: left out %+v", short(cp.ID), cp.LeftOut)
		}
		if cp.Pinned != (cp.ID == pinned) {
			t.Errorf("%s: pinned %v", short(cp.ID), cp.Pinned)
		}
		if got := e.isKept(cp); got != (cp.ID == pinned || cp.ID == head) {
			t.Errorf("retention leaves %s: %v", short(cp.ID), got)
		}
	}

	// A pin of the ledger comes into a store that lacks it, as that of a node that
	// was away does; so does its end.
	apart, err := checkpoint.OpenDir(filepath.Join(t.TempDir(), "store"), checkpoint.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = apart.Close() }()
	if err := checkpoint.Copy(t.Context(), checkpoint.Local(apart), checkpoint.Local(e.chunks), pinned); err != nil {
		t.Fatal(err)
	}
	e.mirrorPinsInto(t.Context(), apart)
	if !apart.Pinned(pinned) {
		t.Error("the ledger's pin is not in the store")
	}
	if _, err := client.PinCheckpoint(t.Context(), pinned, false); err != nil {
		t.Error(err)
	}
	e.mirrorPinsInto(t.Context(), apart)
	if apart.Pinned(pinned) || e.chunks.Pinned(pinned) {
		t.Error("a pin that ended is still in the store")
	}
	if err := client.MayDeleteCheckpoint(t.Context(), old); err != nil {
		t.Error(err)
	}
	// A node that was away when a checkpoint was dropped drops its copy, and nothing
	// else: not one that is pinned there, nor one that came back later.
	for _, id := range []string{old, head} {
		if err := checkpoint.Copy(t.Context(), checkpoint.Local(apart), checkpoint.Local(e.chunks), id); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.DeleteCheckpoint(t.Context(), old); err != nil {
		t.Error(err)
	}
	before := func(id string) (time.Time, error) {
		at, err := apart.Since(id)
		return at.Add(-time.Hour), err
	}
	for _, step := range []struct {
		what  string
		since func(string) (time.Time, error)
		after time.Duration
		pin   bool
		gone  bool
	}{
		{what: "it came after the order", since: apart.Since, after: time.Hour},
		{what: "the order is being carried out", since: before, after: time.Second},
		{what: "it is pinned", since: before, after: time.Hour, pin: true},
		{what: "it was here", since: before, after: time.Hour, gone: true},
	} {
		if err := apart.SetPin(t.Context(), checkpoint.Pin{ID: old, On: step.pin, At: time.Now()}, checkpoint.Claim{}); err != nil {
			t.Fatal(err)
		}
		e.mirrorDropsInto(t.Context(), apart, step.since, time.Now().Add(step.after))
		if _, err := apart.Get(old); errors.Is(err, checkpoint.ErrNotFound) != step.gone {
			t.Errorf("%s: %v", step.what, err)
		}
	}
	for _, id := range []string{pinned, head} { // of which no order says so
		if _, err := apart.Get(id); err != nil {
			t.Error(err)
		}
	}

	orders, err := client.CheckpointOrders(t.Context())
	var said []string
	for _, o := range orders {
		said = append(said, string(o.Step)+" "+short(o.ID)+" "+o.Workload)
	}
	want := []string{"dropped " + short(old) + " w", "unpinned " + short(pinned) + " w", "pinned " + short(pinned) + " w", "dropped " + short(lost) + " "}
	if err != nil || strings.Join(said, "\n") != strings.Join(want, "\n") {
		t.Errorf("written down, the newest first: %v (%v); want %v", said, err, want)
	}
	if n := len(orders); n == 0 || orders[n-1].Damage == "" || !strings.HasPrefix(orders[n-1].By, "n1") {
		t.Errorf("the damaged one's entry: %+v", orders)
	}
	if _, err := client.PinCheckpoint(t.Context(), lost, true); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("pin what was dropped: %v", err)
	}
	stop()
	endWorkload(t, pid)
}
