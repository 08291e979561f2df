package migrate

import (
	"fmt"
	"time"

	"github.com/stratoswarm/forestall"
)

// react returns what an established failure asks for. It looks at the ledger
// as it stands, not at what has just changed, so that a new leader finds what
// the old one left undone.
func (p Policy) react(w *WorkloadState, ev Evidence) (forestall.Decision, bool) {
	s, self := ev.Ledger, w.Spec.Component()
	none := forestall.Decision{}
	holder, held := w.Holder()
	if w.Completed {
		return none, false
	}
	if held && (s.Failed(holder.Node) || left(s, holder.Node)) {
		node := forestall.Node(holder.Node)
		return decision(forestall.ActionRecover, w, node, ev.Now, clipped(lostNode(s, holder.Node))...), true
	}
	if !p.ready(w, ev.Now) {
		return none, false
	}
	if w.Epoch == 0 {
		if ev.Joining {
			return none, false
		}
		return decision(forestall.ActionStart, w, self, ev.Now, "declared and not started yet"), true
	}
	if why, told, failed := ownFailure(w, ev); failed || !w.Running {
		if !failed {
			why, told = []string{fmt.Sprintf("no run of it is alive since epoch %d", w.Epoch)}, true
		}
		d := decision(forestall.ActionRecover, w, self, ev.Now, clipped(why)...)
		if told && s.Alive(w.Node) && w.GaveUp == "" && w.Tries <= 1 {
			d.To = w.Node // it need not be the node's fault; after that, elsewhere may be better
		}
		return d, true
	}
	for _, g := range holder.GPUs {
		gpu := forestall.GPU(holder.Node, g)
		if why, failed := gpuFailure(gpu, ev); failed {
			return decision(forestall.ActionMigrate, w, gpu, ev.Now, clipped(why)...), true
		}
	}
	return none, false
}

// ready reports whether a workload that keeps failing may be tried again: at
// once the first time, then after pauses that at least double.
func (p Policy) ready(w *WorkloadState, now time.Time) bool {
	if w.Stable(now) {
		return true
	}
	return now.Sub(w.Tried).Abs() >= p.RetryAfter(w.Tries)
}

// RetryAfter returns how long after the last of so many tries, as counted by
// WorkloadState.Tries, the next one may come: at once after the first.
func (p Policy) RetryAfter(tries int) time.Duration {
	if tries <= 1 {
		return 0
	}
	return doubled(p.cfg.RetryMin, p.cfg.RetryMax, tries-1)
}

func left(s *State, node string) bool {
	n := s.Nodes[node]
	return n == nil || n.State == forestall.MemberLeft
}

func lostNode(s *State, node string) []string {
	if i, open := s.Incident(forestall.Node(node)); open {
		return append([]string{fmt.Sprintf("node %s failed", node)}, i.Evidence...)
	}
	return []string{fmt.Sprintf("node %s is no member any more", node)}
}

// ownFailure reports a failure of the workload's present run, and whether it
// was told to the ledger: a failure that was not is one that the run's node is
// silent about. Of one that was given up only the newest reason counts.
func ownFailure(w *WorkloadState, ev Evidence) (why []string, told, failed bool) {
	self := w.Spec.Component()
	if w.GaveUp != "" {
		return []string{"the last try was given up: " + withoutRemedy(w.GaveUp)}, true, true
	}
	if i, open := ev.Ledger.Incident(self); open && i.Epoch == w.Epoch {
		return append([]string{fmt.Sprintf("%s failed in epoch %d", self, w.Epoch)}, i.Evidence...), true, true
	}
	for _, f := range ev.Failures {
		if f.Component == self && f.Time.After(w.Started) {
			return append([]string{fmt.Sprintf("%s failed", self)}, f.Evidence...), false, true
		}
	}
	return nil, false, false
}

func gpuFailure(gpu forestall.Component, ev Evidence) (why []string, failed bool) {
	if i, open := ev.Ledger.Incident(gpu); open {
		return append([]string{fmt.Sprintf("%s failed under it", gpu)}, i.Evidence...), true
	}
	for _, f := range ev.Failures {
		if f.Component == gpu {
			return append([]string{fmt.Sprintf("%s failed under it", gpu)}, f.Evidence...), true
		}
	}
	return nil, false
}
