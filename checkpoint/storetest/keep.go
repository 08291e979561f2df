package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
)

// pin: a pinned checkpoint is listed as such and not deleted; of two pins the
// later counts, in whichever order they come.
func pin(t *testing.T, open Open) {
	s, ctx, o := plain(t, open), t.Context(), newOrigin(t)
	o.write("w", "f", noise(1, 16<<10))
	cp := o.save("w", 1)
	if err := o.put(ctx, s, cp); err != nil {
		t.Fatal(err)
	}
	set := func(on bool, at time.Time) {
		t.Helper()
		if err := s.Pin(ctx, checkpoint.Pin{ID: cp.ID, On: on, At: at}, checkpoint.Claim{}); err != nil {
			t.Fatal(err)
		}
	}
	listed := func(want bool) {
		t.Helper()
		for _, workload := range []string{"", "w"} {
			got, err := s.List(ctx, workload)
			if err != nil || len(got) != 1 || got[0].Pinned != want {
				t.Fatalf("list: %+v (%v), want one that is pinned: %v", got, err, want)
			}
		}
	}
	if pins, err := s.Pins(ctx); err != nil || len(pins) != 0 {
		t.Errorf("pins before the first: %v (%v)", pins, err)
	}
	listed(false)
	set(true, time.Time{})
	listed(true)
	if err := s.Delete(ctx, cp.ID, checkpoint.Claim{}); !errors.Is(err, checkpoint.ErrPinned) {
		t.Errorf("delete: %v, want ErrPinned", err)
	}
	pins, err := s.Pins(ctx)
	if err != nil || len(pins) != 1 || pins[0].ID != cp.ID || !pins[0].On || pins[0].At.IsZero() {
		t.Fatalf("pins: %+v (%v)", pins, err)
	}
	set(false, pins[0].At.Add(-time.Hour)) // heard of late
	listed(true)
	set(false, pins[0].At.Add(time.Hour))
	listed(false)
	set(true, pins[0].At)
	listed(false)
	set(true, time.Time{}) // by a clock that is behind the last pin
	listed(true)
	set(false, time.Time{})
	if err := s.Delete(ctx, cp.ID, checkpoint.Claim{}); err != nil {
		t.Errorf("delete what was let go: %v", err)
	}
	if err := s.Pin(ctx, checkpoint.Pin{ID: cp.ID, On: true}, checkpoint.Claim{}); !errors.Is(err, checkpoint.ErrNotFound) {
		t.Errorf("pin what was deleted: %v, want ErrNotFound", err)
	}
}

// claim: who knows an older epoch than the store changes nothing.
func claim(t *testing.T, open Open) {
	s, ctx, o := plain(t, open), t.Context(), newOrigin(t)
	o.write("w", "f", noise(1, 16<<10))
	cp := o.save("w", 3)
	if err := o.put(ctx, s, cp); err != nil {
		t.Fatal(err)
	}
	if err := s.Fence(ctx, "w", 4); err != nil {
		t.Fatal(err)
	}
	stale, other, good := checkpoint.Claim{Workload: "w", Epoch: 3}, checkpoint.Claim{Workload: "v", Epoch: 9}, checkpoint.Claim{Epoch: 4}
	for by, want := range map[checkpoint.Claim]error{stale: forestall.ErrStaleEpoch, other: checkpoint.ErrNotFound} {
		if err := s.Pin(ctx, checkpoint.Pin{ID: cp.ID, On: true}, by); !errors.Is(err, want) {
			t.Errorf("pin by %+v: %v, want %v", by, err, want)
		}
		if err := s.Delete(ctx, cp.ID, by); !errors.Is(err, want) {
			t.Errorf("delete by %+v: %v, want %v", by, err, want)
		}
	}
	if got, err := s.List(ctx, "w"); err != nil || len(got) != 1 || got[0].Pinned {
		t.Fatalf("list: %+v (%v), want the checkpoint as it was", got, err)
	}
	if err := s.Delete(ctx, cp.ID, good); err != nil {
		t.Errorf("delete by %+v: %v", good, err)
	}
}
