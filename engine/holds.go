package engine

import (
	"fmt"
	"sync"

	"github.com/stratoswarm/forestall"
)

// holds remembers for which migration a run of this node stands still. It
// lives as long as the run and the engine: an order that outlived an engine
// outlived the connection that it came on.
type holds struct {
	mu   sync.Mutex
	runs map[string]*hold // by workload
}

type hold struct {
	frozenFor string                          // migration; "" while the run works
	saved     map[string]forestall.Checkpoint // by migration
	resumed   map[string]bool                 // migrations that were aborted
}

func newHolds() *holds { return &holds{runs: map[string]*hold{}} }

// of returns a workload's; the caller holds mu.
func (h *holds) of(workload string) *hold {
	r := h.runs[workload]
	if r == nil {
		r = &hold{saved: map[string]forestall.Checkpoint{}, resumed: map[string]bool{}}
		h.runs[workload] = r
	}
	return r
}

// begin reports the checkpoint that was saved for the migration already, or
// that it was aborted.
func (h *holds) begin(o saveOrder) (c forestall.Checkpoint, saved bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.of(o.Workload)
	if r.resumed[o.Migration] {
		return c, false, fmt.Errorf("migration %s was aborted", o.Migration)
	}
	r.frozenFor = o.Migration
	c, saved = r.saved[o.Migration]
	return c, saved, nil
}

// finish reports whether the migration still stands and, if it does not, whether the
// workload is to go on: not when it stands still for the next one by now.
func (h *holds) finish(o saveOrder, c forestall.Checkpoint) (stands, goOn bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.of(o.Workload)
	if r.resumed[o.Migration] {
		return false, r.frozenFor == "" || r.frozenFor == o.Migration
	}
	r.saved[o.Migration] = c
	return true, false
}

// resume reports whether the workload may stand still for this migration.
func (h *holds) resume(o resumeOrder) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.of(o.Workload)
	r.resumed[o.Migration] = true
	delete(r.saved, o.Migration)
	if r.frozenFor != "" && r.frozenFor != o.Migration {
		return false
	}
	r.frozenFor = ""
	return true
}

// end forgets a run.
func (h *holds) end(workload string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.runs, workload)
}
