package engine

import (
	"context"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/migrate"
)

// TestGranted: whether an epoch was granted says a ledger that has caught up; one
// that cannot does not know.
func TestGranted(t *testing.T) {
	t.Parallel()
	c := testConfig(t.TempDir())
	c.GPU.Source = "none"
	c.Workloads = []WorkloadConfig{{Name: "w", Kind: "service", Command: []string{"sleep", "1000"}}}
	_, e, stop := runEngine(t, c)
	defer stop()
	epoch := await(t, "a grant", func(context.Context) (epoch forestall.Epoch, err error) {
		e.ledger.View(func(s *migrate.State) {
			if w := s.Workloads["w"]; w != nil {
				epoch = w.Epoch
			}
		})
		return epoch, nil
	}, func(epoch forestall.Epoch) bool { return epoch > 0 })
	for q, want := range map[forestall.Epoch]bool{epoch - 1: true, epoch: true, epoch + 1000: false} {
		if yes, err := e.granted(t.Context(), "w", q); yes != want || err != nil {
			t.Errorf("epoch %d of %d: %v, error %v", q, epoch, yes, err)
		}
	}

	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	alone := newWatched(t, watchedConfig(t.TempDir()), began) // it does not run: nobody leads
	defer alone.close()
	alone.ledger = oneRun(t, began)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if yes, err := alone.granted(ended, "a", 4); !yes || err != nil {
		t.Errorf("a grant that it knows: %v, error %v", yes, err)
	}
	if yes, err := alone.granted(ended, "a", 5); yes || err == nil {
		t.Errorf("a grant that it may not know yet: %v, error %v", yes, err)
	}
}
