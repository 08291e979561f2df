package storetest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stratoswarm/forestall"
)

func fence(t *testing.T, open Open) {
	s, ctx, o := plain(t, open), t.Context(), newOrigin(t)
	o.write("w", "f", "five")
	five := o.save("w", 5)
	if err := o.put(ctx, s, five); err != nil {
		t.Fatal(err)
	}
	o.write("w", "f", "later in five")
	late := o.save("w", 5)
	o.write("w", "f", "seven")
	seven := o.save("w", 7)
	for _, step := range []struct {
		epoch forestall.Epoch
		stale bool
	}{{7, false}, {7, false}, {6, true}, {0, true}} {
		if err := s.Fence(ctx, "w", step.epoch); errors.Is(err, forestall.ErrStaleEpoch) != step.stale || (err != nil) != step.stale {
			t.Errorf("fence at %s: %v", step.epoch, err)
		}
		if e, err := s.Fenced(ctx, "w"); e != 7 || err != nil {
			t.Errorf("fenced at %v, %v; want 7", e, err)
		}
	}
	if err := s.Fence(ctx, "no/name", 1); !errors.Is(err, forestall.ErrBadName) {
		t.Errorf("fence of a bad name: %v, want ErrBadName", err)
	}
	if err := o.put(ctx, s, late); !errors.Is(err, forestall.ErrStaleEpoch) {
		t.Errorf("put of epoch 5: %v, want ErrStaleEpoch", err)
	}
	if err := o.put(ctx, s, seven); err != nil {
		t.Errorf("put of epoch 7: %v", err)
	}
	if got := ids(t, s, "w"); len(got) != 2 {
		t.Errorf("lists %v, want the ones of epochs 7 and, from before the fence, 5", got)
	}
	o.write("other", "f", "one")
	if err := o.put(ctx, s, o.save("other", 1)); err != nil {
		t.Errorf("the fence of one workload holds up another: %v", err)
	}
	if err := o.check(ctx, s, five.ID); err != nil {
		t.Errorf("what was there before the fence: %v", err)
	}
}

// fenceRace: once Fence has returned, no checkpoint of a lower epoch appears,
// however the two meet.
func fenceRace(t *testing.T, open Open) {
	s, ctx, o := plain(t, open), t.Context(), newOrigin(t)
	const runs = 4
	for i := range runs {
		w := name(i)
		o.write(w, "f", noise(uint64(i), 20<<10))
		var wg sync.WaitGroup
		var cps []forestall.Checkpoint
		for range 3 {
			o.write(w, "g", noise(uint64(len(cps)), 4<<10))
			cps = append(cps, o.save(w, 1))
		}
		for _, cp := range cps {
			wg.Go(func() {
				if err := o.put(ctx, s, cp); err != nil && !errors.Is(err, forestall.ErrStaleEpoch) {
					t.Errorf("put: %v", err)
				}
			})
		}
		if err := s.Fence(ctx, w, 2); err != nil {
			t.Fatal(err)
		}
		atFence := ids(t, s, w)
		wg.Wait()
		// A Put that had won may have been listed a moment later; none is new now.
		if after := ids(t, s, w); len(after) != len(atFence) {
			t.Errorf("run %d: %d checkpoints when the fence stood, %d later", i, len(atFence), len(after))
		}
		for _, id := range atFence {
			if err := o.check(ctx, s, id); err != nil {
				t.Errorf("run %d: %v", i, err)
			}
		}
	}
}

// manyAtOnce: writers of different workloads, and readers, do not disturb each other.
func manyAtOnce(t *testing.T, open Open) {
	s, o := plain(t, open), newOrigin(t)
	const workloads, each = 4, 4
	var cps [workloads][]forestall.Checkpoint
	for i := range cps {
		for j := range each {
			o.write(name(i), "shared", noise(99, 32<<10))
			o.write(name(i), "own", noise(uint64(100+i*each+j), 32<<10))
			cps[i] = append(cps[i], o.save(name(i), 1))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var readers, writers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for ctx.Err() == nil {
				all, err := s.List(ctx, "")
				if err != nil && ctx.Err() == nil {
					t.Errorf("list: %v", err)
				}
				for _, cp := range all[:min(2, len(all))] {
					if p, err := s.Open(ctx, cp.ID); err == nil {
						p.Close()
					} else if ctx.Err() == nil {
						t.Errorf("open what is listed: %v", err)
					}
				}
			}
		})
	}
	for i := range cps {
		writers.Go(func() {
			for _, cp := range cps[i] {
				if err := o.put(ctx, s, cp); err != nil {
					t.Errorf("put %s: %v", cp.Workload, err)
				}
			}
		})
	}
	writers.Wait()
	cancel()
	readers.Wait()
	for _, list := range cps {
		for _, cp := range list {
			if err := o.check(t.Context(), s, cp.ID); err != nil {
				t.Error(err)
			}
		}
	}
}
