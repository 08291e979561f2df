package migrate

import (
	"testing"
	"time"
)

func TestStopWaitsNoLongerThanTheLease(t *testing.T) {
	var clock time.Duration
	leases := NewLeases(3*time.Second, func() time.Duration { return clock })
	leases.Elected()
	now := time.Unix(100, 0)
	cfg := DefaultExecutorConfig()
	m := &mover{workload: "w", cfg: &cfg, notBefore: now.Add(2 * time.Second)}
	m.step = Step{Kind: StepStop, Node: "a", Epoch: 3}
	for _, tc := range []struct{ clock, want time.Duration }{
		{0, 2 * time.Second},                              // the backoff is shorter
		{2500 * time.Millisecond, 800 * time.Millisecond}, // the lease is
		{3300 * time.Millisecond, 0},                      // it has run out
	} {
		clock = tc.clock
		if got := m.patience(surroundings{now: now, leases: leases}); got != tc.want {
			t.Errorf("at %s patience is %s, want %s", tc.clock, got, tc.want)
		}
	}
	m.step.Kind = StepStart
	if got := m.patience(surroundings{now: now, leases: leases}); got != 2*time.Second {
		t.Errorf("patience of another step is %s, want the backoff", got)
	}
}
