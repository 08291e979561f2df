package live_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
)

// Over many increments, with old checkpoints dropped and their chunks collected
// in between, every checkpoint that is left is what the states were then.
func TestManyIncrements(t *testing.T) {
	opt := checkpoint.DefaultOptions()
	opt.ChunkSize = 64 << 10
	store, err := checkpoint.OpenDir(filepath.Join(t.TempDir(), "store"), opt)
	if err != nil {
		t.Fatal(err)
	}
	a := newAgent(1 << 20)
	m := manage(t, store, a, nil)
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	was := map[string][]byte{} // memory by checkpoint
	for i := range 80 {
		a.state.Step, a.state.Notes[fmt.Sprint(i%7)] = i, strings.Repeat("x", rng.IntN(9000))
		for range rng.IntN(12) {
			at := rng.IntN(len(a.memory) / 4096)
			for j := at * 4096; j < (at+1)*4096; j++ {
				a.memory[j] = byte(rng.Uint32())
			}
		}
		cp := create(t, m, "")
		was[cp.ID] = bytes.Clone(a.memory)
		if i%10 != 9 {
			continue
		}
		keep := func(cp forestall.Checkpoint) bool { return cp.Sequence%4 == 0 }
		if _, _, err := store.Prune(context.Background(), time.Nanosecond, time.Now(), keep); err != nil {
			t.Fatal(err)
		}
		kept, err := store.Timeline("agent-7")
		if err != nil {
			t.Fatal(err)
		}
		for _, cp := range kept {
			if err := m.Restore(context.Background(), cp.ID); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(a.memory, was[cp.ID]) || a.state.Step != int(cp.Sequence)-1 {
				t.Fatalf("checkpoint %d is not what the states were", cp.Sequence)
			}
		}
	}
}

// Checkpoints taken while goroutines write are each one moment: a counter in the
// value and one in every page of the memory agree. Each is restored elsewhere.
func TestCheckpointsBesideWriters(t *testing.T) {
	store, a := openStore(t), newAgent(4<<20)
	m := manage(t, store, a, nil)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			a.mu.Lock()
			a.state.Step++
			for i := 0; i < 64; i++ {
				copy(a.memory[(a.state.Step*7+i*13)%1024*4096:], fmt.Sprintf("%20d", a.state.Step))
			}
			copy(a.memory, fmt.Sprintf("%20d", a.state.Step))
			a.mu.Unlock()
		}
	}()
	var all []forestall.Checkpoint
	for range 8 {
		all = append(all, create(t, m, ""))
	}
	close(stop)
	<-stopped
	for _, cp := range all {
		b := newAgent(4 << 20)
		other := manage(t, store, b, nil)
		if err := other.Restore(context.Background(), cp.ID); err != nil {
			t.Fatal(err)
		}
		if got, want := string(b.memory[:20]), fmt.Sprintf("%20d", b.state.Step); b.state.Step > 0 && got != want {
			t.Fatalf("checkpoint %d mixes moments: memory %q, value %q", cp.Sequence, got, want)
		}
	}
	// The last one is what the memory was, to the last byte: nothing was written
	// after the writers had stopped.
	last := create(t, m, "")
	dir := t.TempDir()
	if err := store.Restore(context.Background(), last.ID, dir); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, "memory"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a.memory, file); diff != "" {
		t.Fatal("the region's file is not the memory")
	}
}
