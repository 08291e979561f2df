package migrate

import (
	"slices"
	"time"

	"github.com/stratoswarm/forestall"
)

// What the ledger remembers of the past is bounded by kind, the oldest first to
// go, so that a workload that crashes every few minutes cannot push out the
// failures of hardware and the moves that a model learns from.
const (
	maxHistory  = 2_000  // closed incidents of a kind of workload, interventions, outcomes: each
	maxHardware = 10_000 // closed incidents of a kind of hardware
	maxClosed   = 500    // closed starts and recoveries
	maxMoves    = 2_000  // closed migrations and drains
	maxObserved = 500    // decisions of an action that were not carried out because the policy observes
)

// What [State.KnownSince] tells of beside the kinds of failure.
const (
	HistoryMoves         = "moves"         // migrations and drains
	HistoryInterventions = "interventions" // preemptive checkpoints
	HistoryHeldOut       = "held_out"
)

// KnownSince returns from when on the ledger holds every closed incident of each
// kind of failure, every move, intervention and held-out decision: since it
// began, or since the end of the newest that had to make room. What began before
// may be missing. Ledgers of older versions don't say when they began: what they
// have forgotten nothing of is left out.
func (s *State) KnownSince() map[string]time.Time {
	known := map[string]time.Time{}
	of := func(what string) {
		since := s.Begun
		if t := s.Forgotten[what]; t.After(since) {
			since = t
		}
		if !since.IsZero() {
			known[what] = since
		}
	}
	for _, kind := range failureKinds {
		of(string(kind))
	}
	of(HistoryMoves)
	of(HistoryInterventions)
	of(HistoryHeldOut)
	return known
}

// forgot notes that something that was over at that time had to make room.
func (s *State) forgot(what string, over time.Time) {
	if s.Forgotten == nil {
		s.Forgotten = map[string]time.Time{}
	}
	if over.After(s.Forgotten[what]) {
		s.Forgotten[what] = over
	}
}

func (s *State) rememberIncident(i Incident) {
	limit := maxHardware
	if i.Kind == forestall.AgentFailure || i.Kind == forestall.ServiceFailure {
		limit = maxHistory
	}
	var old []Incident
	s.Past, old = keepOf(s.Past, i, limit, func(o Incident) bool { return o.Kind == i.Kind })
	for _, o := range old {
		s.forgot(string(o.Kind), o.End)
	}
}

func (s *State) rememberMigration(m forestall.Migration) {
	limit, move := maxClosed, isMove(m)
	if move {
		limit = maxMoves
	}
	var old []forestall.Migration
	s.Closed, old = keepOf(s.Closed, m, limit, func(o forestall.Migration) bool { return isMove(o) == move })
	for _, o := range old {
		if move {
			s.forgot(HistoryMoves, o.At[o.Phase])
		}
	}
}

// isMove reports whether a migration was preemptive: it may have kept a failure
// from happening.
func isMove(m forestall.Migration) bool {
	return m.Action == forestall.ActionMigrate || m.Action == forestall.ActionDrain
}

func (s *State) rememberIntervention(i forestall.Intervention) {
	var old []forestall.Intervention
	s.Interventions, old = keepOf(s.Interventions, i, maxHistory, func(forestall.Intervention) bool { return true })
	for _, o := range old {
		s.forgot(HistoryInterventions, o.Time)
	}
}

func (s *State) rememberHeldOut(i forestall.Intervention) {
	var old []forestall.Intervention
	s.HeldOut, old = keepOf(s.HeldOut, i, maxHistory, func(forestall.Intervention) bool { return true })
	for _, o := range old {
		s.forgot(HistoryHeldOut, o.Time)
	}
}

func (s *State) rememberObserved(d forestall.Decision) {
	s.Observed, _ = keepOf(s.Observed, d, maxObserved, func(o forestall.Decision) bool { return o.Action == d.Action })
}

// HasObserved reports whether a decision is among those that the policy only
// observed.
func (s *State) HasObserved(id string) bool {
	return slices.ContainsFunc(s.Observed, func(d forestall.Decision) bool { return d.ID == id })
}

// keepOf appends v and takes the oldest of its kind beyond limit out.
func keepOf[T any](list []T, v T, limit int, same func(T) bool) (kept, old []T) {
	list = append(list, v)
	over := -limit
	for i := range list {
		if same(list[i]) {
			over++
		}
	}
	if over <= 0 {
		return list, nil
	}
	// The list that others may still look at is left as it is.
	list = slices.Clone(list)
	return slices.DeleteFunc(list, func(o T) bool {
		if over == 0 || !same(o) {
			return false
		}
		over--
		old = append(old, o)
		return true
	}), old
}
