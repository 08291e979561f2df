package api

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
)

// TestPointOfTheUnusual: the page hears what is unusual of a component, at most three
// reasons, also of a healthy one; nothing of one that is usual or still learnt.
func TestPointOfTheUnusual(t *testing.T) {
	r := unusual(healthy(forestall.GPU("n1", 0), t0, 0.001), t0)
	reasons := r.Anomaly.Reasons
	if got := pointOf(r); cmp.Diff(reasons, got.Unusual) != "" || got.Unlike != nil {
		t.Errorf("unusual for itself: %+v", got)
	}
	r.Anomaly, r.Unlike = nil, r.Anomaly
	r.Unlike.Reasons = []string{"a", "b", "c", "d"}
	if got := pointOf(r); cmp.Diff([]string{"a", "b", "c"}, got.Unlike) != "" || got.Unusual != nil {
		t.Errorf("unlike its model's training: %+v", got)
	}
	for _, state := range []forestall.Usualness{forestall.Usual, forestall.UsualUnknown} {
		r.Unlike.State, r.Anomaly = state, r.Unlike
		if got := pointOf(r); got.Unusual != nil || got.Unlike != nil {
			t.Errorf("%v: %+v", state, got)
		}
	}
}
