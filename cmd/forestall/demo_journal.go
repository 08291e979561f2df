package main

import (
	"fmt"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/internal/worker"
)

// demoHandover is what a workload's journal shows of the change from one run
// to the next.
type demoHandover struct {
	stopped time.Time // last step of the old run
	resumed time.Time // first step of the new run
	redone  uint64    // steps that the old run had done and the new one did again
	skipped uint64    // steps that no run has done
	undone  time.Duration
}

// pause is how long no step was done.
func (h demoHandover) pause() time.Duration { return h.resumed.Sub(h.stopped) }

// handover finds in a journal the change to the run with an epoch; an error
// says what the journal lacks.
func handover(entries []worker.Entry, to forestall.Epoch) (h demoHandover, err error) {
	for _, l := range worker.Lost(entries) {
		if l.To.Epoch != to {
			continue
		}
		h.redone, h.skipped = l.Redone, l.Skipped
		h.stopped = reached(entries, l.From, l.From.Last.Step)
		if l.Redone > 0 {
			h.undone = h.stopped.Sub(reached(entries, l.From, l.To.First.Step))
		}
		h.resumed = reached(entries, l.To, l.To.First.Step+1)
		if h.resumed.IsZero() {
			return h, fmt.Errorf("epoch %s has done no step yet", to)
		}
		return h, nil
	}
	return h, fmt.Errorf("no run of epoch %s follows another one", to)
}

// reached returns when a run is first seen to have done so many steps, zero if
// never.
func reached(entries []worker.Entry, life worker.Life, step uint64) time.Time {
	for _, e := range entries {
		if e.Epoch == life.Epoch && e.PID == life.PID && e.Step >= step {
			return e.Time
		}
	}
	return time.Time{}
}

// demoCopies is what all journals show of how many copies lived.
type demoCopies struct {
	Workloads int      `json:"workloads"`
	Runs      int      `json:"runs"`
	Steps     uint64   `json:"steps"`    // done in all
	Overlaps  []string `json:"overlaps"` // two copies at once: there must be none
	Skipped   uint64   `json:"steps_skipped"`
}

// countCopies judges the journals of several workloads.
func countCopies(journals map[string][]worker.Entry) demoCopies {
	c := demoCopies{Workloads: len(journals), Overlaps: []string{}}
	for name, entries := range journals {
		for _, life := range worker.Lives(entries) {
			c.Runs++
			c.Steps += life.Last.Step - life.First.Step
		}
		for _, o := range worker.Overlaps(entries) {
			c.Overlaps = append(c.Overlaps, name+": "+o.String())
		}
		for _, l := range worker.Lost(entries) {
			c.Skipped += l.Skipped
		}
	}
	return c
}
