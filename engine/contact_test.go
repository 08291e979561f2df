package engine

import (
	"testing"
	"time"
)

// TestContact: after a time without a leader the ledger is not up to date at
// once, because the nodes still have to tell what failed meanwhile.
func TestContact(t *testing.T) {
	var c contact
	at := func(s int) time.Time { return time.Unix(1_000, 0).Add(time.Duration(s) * time.Second) }
	for _, step := range []struct {
		second int
		heard  bool
		want   time.Duration
	}{
		{0, false, 0},
		{10, true, 0},
		{40, true, 30 * time.Second},
		{75, true, 65 * time.Second},
		{80, false, 0},
		{90, true, 0},
		{151, true, 61 * time.Second},
		{30, true, 0}, // the clock was set back
	} {
		if got := c.lasts(step.heard, at(step.second)); got != step.want {
			t.Errorf("at %d s: %s, want %s", step.second, got, step.want)
		}
	}
}
