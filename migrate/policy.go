package migrate

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stratoswarm/forestall"
)

// Policy decides what is done about risks and failures. It is a pure function
// of its configuration and arguments: the same evidence gives the same
// decisions with the same IDs, so that what is decided twice is done once.
type Policy struct{ cfg PolicyConfig }

// NewPolicy checks the configuration.
func NewPolicy(cfg PolicyConfig) (Policy, error) { return Policy{cfg}, cfg.Validate() }

// Evidence is everything a decision rests on.
type Evidence struct {
	Now      time.Time
	Risks    []forestall.Risk    // of components that hold workloads; others are passed over
	Failures []forestall.Failure // of GPUs, agents and services, seen and not told to the ledger: a run's own node is silent about it
	Ledger   *State              // only read
	Costs    map[string]Costs    // measured, by workload; what is missing or zero is taken from the configuration
	Joining  bool                // nodes are still expected to join: first starts wait, so that they spread
}

// PolicyState is what the policy remembers from one call to the next: the
// leader's memory, not replicated. The zero value is that of a new leader.
type PolicyState struct {
	alarms map[string]alarm
}

// alarm is a condition for a predictive action on a workload.
type alarm struct {
	streak int       // scorings in a row that met the condition
	scored time.Time // the newest of them
	id     string    // of the decision said last
	said   time.Time // when
}

// Decide returns what is to be done now, reactions to failures first, then
// predictive actions by their expected gain. A decision in mode observe is to
// be written down and nothing else.
//
// A component whose state or risk is unknown moves nothing: only a failure
// that is established, or a probability that was computed, does.
func (p Policy) Decide(ps PolicyState, ev Evidence) (PolicyState, []forestall.Decision) {
	next := PolicyState{alarms: map[string]alarm{}}
	sight := newSight(ev, p.cfg)
	var reactions, predictions []forestall.Decision
	for _, name := range ev.Ledger.WorkloadNames() {
		w := ev.Ledger.Workloads[name]
		if w.Retired || w.Migration != "" {
			continue
		}
		if d, ok := p.react(w, ev); ok {
			reactions = append(reactions, d)
			continue
		}
		if w.Running {
			predictions = append(predictions, p.predict(w, sight, ps, &next)...)
		}
	}
	slices.SortStableFunc(predictions, func(a, b forestall.Decision) int {
		return compareDesc(a.Price.Net(), b.Price.Net())
	})
	return next, append(reactions, predictions...)
}

func compareDesc(a, b float64) int {
	switch {
	case a > b:
		return -1
	case a < b:
		return 1
	}
	return 0
}

// decision returns one with its ID. The ID is a function of the run and of how
// many moves the workload has made, so that it stays the same until something
// came of it.
func decision(a forestall.Action, w *WorkloadState, c forestall.Component, now time.Time, reasons ...string) forestall.Decision {
	return forestall.Decision{
		ID:        fmt.Sprintf("%s-%s-%d-%d", a, w.Spec.Name, w.Epoch, w.Moves),
		Action:    a,
		Mode:      forestall.Act,
		Time:      now,
		Component: c,
		Workload:  w.Spec.Name,
		From:      w.Node,
		Reasons:   reasons,
	}
}

// due keeps the alarm of an action and reports whether its decision is to be
// said now: the condition has held for Confirm scorings in a row of the risk that
// it rests on, scored being the time of that, and the same decision was not said
// within Repeat. Looking twice at one scoring confirms nothing.
func (p Policy) due(d forestall.Decision, met bool, scored time.Time, before PolicyState, next *PolicyState) bool {
	if !met {
		return false
	}
	key := fmt.Sprintf("%s %s %s", d.Action, d.Workload, d.Component)
	a := before.alarms[key]
	if !scored.Equal(a.scored) {
		a.streak, a.scored = min(a.streak+1, p.cfg.Confirm), scored
	}
	say := a.streak >= p.cfg.Confirm && (a.id != d.ID || d.Time.Sub(a.said).Abs() >= p.cfg.Repeat)
	if say {
		a.id, a.said = d.ID, d.Time
	}
	next.alarms[key] = a
	return say
}

// alarmed reports whether the action's condition has been met for long enough
// already, so that less is asked of it to stay.
func (p Policy) alarmed(d forestall.Decision, before PolicyState) bool {
	return before.alarms[fmt.Sprintf("%s %s %s", d.Action, d.Workload, d.Component)].streak >= p.cfg.Confirm
}

// Alarms returns the predictive actions whose condition is met, as
// "action workload component", in order: for status pages and tests.
func (ps PolicyState) Alarms() []string { return slices.Sorted(maps.Keys(ps.alarms)) }
