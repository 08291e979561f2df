package live_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/checkpoint/delta"
	"github.com/stratoswarm/forestall/checkpoint/live"
)

// The first checkpoint is whole, the next are increments over the one before.
func ExampleDeltaTracker() {
	store, done := exampleStore()
	defer done()
	ctx := context.Background()
	tracker, err := live.NewDeltaTracker(store, live.DefaultConfig("agent-7"))
	if err != nil {
		panic(err)
	}
	defer func() { _ = tracker.Close() }()
	state := struct {
		Step    int
		Weights []float64
	}{Weights: make([]float64, 100_000)}
	if err := tracker.Track(&state); err != nil {
		panic(err)
	}
	base, err := tracker.IncrementalCheckpoint(ctx, "")
	if err != nil {
		panic(err)
	}
	state.Step, state.Weights[70_000] = 1, 0.5
	cp, err := tracker.IncrementalCheckpoint(ctx, base.ID)
	if err != nil {
		panic(err)
	}
	fmt.Println(cp.Size>>10, "KiB; written less than 2 KiB:", cp.Added < 2<<10)

	state.Step, state.Weights = 99, nil
	if err := tracker.Restore(ctx, cp.ID); err != nil {
		panic(err)
	}
	fmt.Println(state.Step, state.Weights[70_000])
	// Output:
	// 900 KiB; written less than 2 KiB: true
	// 1 0.5
}

func TestDeltaTrackerBases(t *testing.T) {
	store, done := exampleStore()
	defer done()
	tracker, err := live.NewDeltaTracker(store, live.DefaultConfig("w"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tracker.Close() }()
	value := struct{ N int }{1}
	memory := make([]byte, 16*delta.PageSize)
	r, err := delta.OpenMemory(memory, delta.Options{Method: delta.Hash})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(tracker.Track(&value), tracker.TrackRegion(r)); err != nil {
		t.Fatal(err)
	}
	if err := tracker.Track(value); err == nil {
		t.Error("something that is no pointer is tracked")
	}
	if _, err := tracker.IncrementalCheckpoint(t.Context(), "abc"); !errors.Is(err, checkpoint.ErrNotFound) {
		t.Errorf("a base before the first: %v", err)
	}
	first, err := tracker.IncrementalCheckpoint(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	memory[0], value.N = 7, 2
	second, err := tracker.IncrementalCheckpoint(t.Context(), first.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tracker.IncrementalCheckpoint(t.Context(), first.ID); !errors.Is(err, checkpoint.ErrNotFound) {
		t.Errorf("a base that is not the last: %v", err)
	}
	memory[0], value.N = 8, 3
	if _, err := tracker.IncrementalCheckpoint(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if err := tracker.Restore(t.Context(), second.ID); err != nil {
		t.Fatal(err)
	}
	if memory[0] != 7 || value.N != 2 {
		t.Errorf("restored %d and %d", memory[0], value.N)
	}
	states, err := store.States(second.ID)
	if err != nil || len(states) != 2 || states[0].Name != "state-1" || states[1].Name != "state-2" {
		t.Errorf("states %v, %v", states, err)
	}
}
