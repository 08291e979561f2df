package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/checkpoint"
)

// TestCheckpointVerified: what a disk lost with no trace in the file's times is
// found when a checkpoint is asked for that verifies, and not by another.
func TestCheckpointVerified(t *testing.T) {
	t.Parallel()
	c := testConfig(t.TempDir())
	c.FaultTolerance.CheckpointInterval = Duration{time.Hour}
	c.Workloads = []WorkloadConfig{{
		Name: "w", Kind: "service",
		Command: []string{"sh", "-c", "head -c 200000 /dev/urandom > $FORESTALL_STATE_DIR/f; touch $FORESTALL_STATE_DIR/ready; exec sleep 1000"},
		Hook:    HookConfig{Kind: "command", Command: []string{"test", "-e", "ready"}, Timeout: Duration{5 * time.Second}},
	}}
	client, _, stop := runEngine(t, c)
	pid := await(t, "the workload to run", client.Workloads, func(l []api.WorkloadStatus) bool { return len(l) == 1 && l[0].PID > 0 })[0].PID
	create := func(verify bool) forestall.Checkpoint {
		return await(t, "a checkpoint", func(ctx context.Context) (forestall.Checkpoint, error) {
			return client.CreateCheckpoint(ctx, "w", api.CheckpointRequest{Verify: verify})
		}, func(cp forestall.Checkpoint) bool { return cp.ID != "" })
	}
	create(false)
	stop()
	packs, err := filepath.Glob(filepath.Join(c.FaultTolerance.CheckpointStorage, "packs", "*"))
	if err != nil || len(packs) != 1 {
		t.Fatalf("packs %v, %v; want one", packs, err)
	}
	b, err := os.ReadFile(packs[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/3] ^= 4
	if err := os.WriteFile(packs[0], b, 0o600); err != nil {
		t.Fatal(err)
	}

	client, e, stop := runEngine(t, c)
	if cp := create(false); !errors.Is(e.chunks.Verify(t.Context(), cp.ID), checkpoint.ErrCorrupt) {
		t.Fatal("the test damaged nothing that the next checkpoint uses")
	}
	stop() // the chunk was put aside: damage it as if nobody had looked
	aside, _ := filepath.Glob(filepath.Join(c.FaultTolerance.CheckpointStorage, "corrupt", "*"))
	for _, path := range aside {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	client, e, stop = runEngine(t, c)
	if cp := create(true); e.chunks.Verify(t.Context(), cp.ID) != nil {
		t.Error("the checkpoint leans on what was damaged")
	}
	stop()
	endWorkload(t, pid)
}
