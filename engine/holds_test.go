package engine

import (
	"testing"

	"github.com/stratoswarm/forestall"
)

// TestLateSaveDoesNotWakeTheNext: the save of an aborted migration ends late. It lets
// the workload go on, unless that stands still for the next migration by now: what it
// did from there on would be in no checkpoint.
func TestLateSaveDoesNotWakeTheNext(t *testing.T) {
	first, second := saveOrder{"w", 4, "m1"}, saveOrder{"w", 4, "m2"}
	for _, next := range []bool{false, true} {
		h := newHolds()
		if _, _, err := h.begin(first); err != nil {
			t.Fatal(err)
		}
		if !h.resume(resumeOrder(first)) {
			t.Error("an aborted migration does not let its workload go on")
		}
		if next {
			if _, _, err := h.begin(second); err != nil {
				t.Fatal(err)
			}
		}
		if stands, goOn := h.finish(first, forestall.Checkpoint{}); stands || goOn == next {
			t.Errorf("with the next begun %t: stands %t, goes on %t", next, stands, goOn)
		}
		if next {
			if stands, _ := h.finish(second, forestall.Checkpoint{ID: "c"}); !stands {
				t.Error("the next does not stand")
			}
		}
	}
}
