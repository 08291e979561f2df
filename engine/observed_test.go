package engine

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
)

// TestObservedDecisionsAreKept: what a tier in mode observe would have done can be
// asked for afterwards, once however often the policy says it, and after a restart.
func TestObservedDecisionsAreKept(t *testing.T) {
	t.Parallel()
	c := testConfig(t.TempDir())
	c.GPU.Source, c.GPU.SimGPUs = "sim", 1
	d := forestall.Decision{
		ID: "migrate-w-7-0", Action: forestall.ActionMigrate, Mode: forestall.Observe, Time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		Component: forestall.GPU("n1", 0), Workload: "w", From: "n1", Price: forestall.Price{Saves: 90, Costs: 20}, Reasons: []string{"it is hot"},
	}
	client, e, stop := runEngine(t, c)
	await(t, "a leader", func(ctx context.Context) (bool, error) { return client.Ready(ctx) == nil, nil }, func(ready bool) bool { return ready })
	for range 2 {
		e.carryOut(t.Context(), d)
	}
	kept := func(all []forestall.Decision) bool { return len(all) > 0 }
	if diff := cmp.Diff([]forestall.Decision{d}, await(t, "the decision", client.Observed, kept)); diff != "" {
		t.Error(diff)
	}
	stop()
	client, _, stop = runEngine(t, c)
	if diff := cmp.Diff([]forestall.Decision{d}, await(t, "the decision after a restart", client.Observed, kept)); diff != "" {
		t.Error(diff)
	}
	stop()
}
