package migrate

import (
	"fmt"
	"slices"
	"time"

	"github.com/stratoswarm/forestall"
)

// FailureSeen opens the incident of a failure. For an agent or service, Epoch
// is the run that failed; it is refused with forestall.ErrStaleEpoch when that
// is not the workload's newest. A failure that is open already is passed over.
// A node's crash comes as [NodeFailed].
type FailureSeen struct {
	Failure forestall.Failure `json:"failure"`
	Epoch   forestall.Epoch   `json:"epoch,omitempty"`
}

func (*FailureSeen) kind() string { return "failure" }

func (c *FailureSeen) check() error {
	switch {
	case c.Failure.Component.IsZero():
		return fmt.Errorf("%w: a failure names its component", ErrBadCommand)
	case !slices.Contains(failureKinds, c.Failure.Kind):
		return fmt.Errorf("%w: failure kind %q is not one of %v", ErrBadCommand, c.Failure.Kind, failureKinds)
	case c.Failure.Kind == forestall.NodeCrash:
		return fmt.Errorf("%w: a node's crash is agreed on by a quorum: use node_failed", ErrBadCommand)
	}
	return nil
}

func (c *FailureSeen) apply(s *State, at stamp) any {
	f := c.Failure
	epoch := c.Epoch
	if f.Component.Kind == forestall.KindAgent || f.Component.Kind == forestall.KindService {
		w := s.Workload(f.Component)
		if w == nil {
			return fmt.Errorf("%w: %s", ErrUnknownWorkload, f.Component)
		}
		if epoch == 0 {
			epoch = w.Epoch
		}
		if epoch != w.Epoch {
			return fmt.Errorf("%w: %s failed in epoch %d, the newest grant is %d", forestall.ErrStaleEpoch, f.Component, epoch, w.Epoch)
		}
	}
	if err := s.incidentRoom(f.Component, f.Kind); err != nil {
		return err
	}
	s.openIncident(forestall.Incident{Component: f.Component, Kind: f.Kind, Start: failedAt(f.Time, at), Agreed: at.at, Evidence: f.Evidence}, epoch)
	return nil
}

// maxFailureDelay bounds how long before it is agreed on a failure may have been.
// It may lie that far back because a node keeps its failures while there is no
// leader; what is older is taken for a clock that was wrong.
const maxFailureDelay = 24 * time.Hour

// failedAt is when an incident begins: when its failure was established, by the
// clock of the node that saw it, which also stamps the component's telemetry; that
// of a node with its last sign of life. Zero: at the time of agreement. Were it
// always the time of agreement, what the node recorded of the dead component
// until then would look like its last hours.
func failedAt(t time.Time, at stamp) time.Time {
	if delay := at.at.Sub(t); delay <= 0 || delay > maxFailureDelay {
		return at.at
	}
	return t.UTC()
}

// IncidentClose ends an open incident: the component works again. Those of
// nodes, agents and services end by themselves when the node is back or the
// workload recovered.
type IncidentClose struct {
	Component forestall.Component   `json:"component"`
	Kind      forestall.FailureKind `json:"kind"`
	Closed    string                `json:"closed,omitempty"` // by whom and why
}

func (*IncidentClose) kind() string { return "incident_close" }
func (*IncidentClose) check() error { return nil }

func (c *IncidentClose) apply(s *State, at stamp) any {
	if i, open := s.Incidents[incidentKey(c.Component, c.Kind)]; open && c.Closed != "" {
		i.Closed = c.Closed
		s.Incidents[incidentKey(c.Component, c.Kind)] = i
	}
	if !s.closeIncident(c.Component, c.Kind, at) {
		return fmt.Errorf("%w: %s %s", ErrUnknownIncident, c.Component, c.Kind)
	}
	return nil
}

// Intervened records an action that needed no vote, such as a preemptive
// checkpoint; those of migrations are recorded when they are proposed.
type Intervened struct {
	Intervention forestall.Intervention `json:"intervention"`
}

func (*Intervened) kind() string { return "intervened" }
func (*Intervened) check() error { return nil }

func (c *Intervened) apply(s *State, _ stamp) any {
	s.rememberIntervention(c.Intervention)
	return nil
}

// HeldOut records a decision that the policy left undone on purpose, so that
// what follows it tells what would follow without it.
type HeldOut struct {
	Intervention forestall.Intervention `json:"intervention"` // as it would have been
}

func (*HeldOut) kind() string { return "held_out" }
func (*HeldOut) check() error { return nil }

func (c *HeldOut) apply(s *State, _ stamp) any {
	s.rememberHeldOut(c.Intervention)
	return nil
}

// Observed records a decision that is not carried out because the policy observes,
// so that an operator can judge it before it acts.
type Observed struct {
	Decision forestall.Decision `json:"decision"`
}

func (*Observed) kind() string { return "observed" }

func (c *Observed) check() error {
	d := c.Decision
	if err := checkDecisionID(d.ID); err != nil {
		return err
	}
	if d.Mode != forestall.Observe {
		return fmt.Errorf("%w: decision %s: mode %q; only decisions in mode observe are left at that", ErrBadCommand, d.ID, d.Mode)
	}
	return nil
}

func (c *Observed) apply(s *State, _ stamp) any {
	if s.HasObserved(c.Decision.ID) {
		return fmt.Errorf("%w: decision %s", ErrDuplicate, c.Decision.ID)
	}
	s.rememberObserved(c.Decision)
	return nil
}

// Settled records what an intervention turned out to be worth.
type Settled struct {
	Outcome forestall.Outcome `json:"outcome"`
}

func (*Settled) kind() string { return "settled" }
func (*Settled) check() error { return nil }

func (c *Settled) apply(s *State, _ stamp) any {
	s.Outcomes = keepLast(s.Outcomes, c.Outcome, maxHistory)
	return nil
}

// incidentRoom reports that an incident could not be opened.
func (s *State) incidentRoom(c forestall.Component, kind forestall.FailureKind) error {
	if _, open := s.Incidents[incidentKey(c, kind)]; !open && len(s.Incidents) >= maxOpenIncidents {
		return fmt.Errorf("%w: %d open incidents", ErrFull, maxOpenIncidents)
	}
	return nil
}

// openIncident opens an incident; one that is open keeps its start and takes
// up the evidence of a later run.
func (s *State) openIncident(i forestall.Incident, epoch forestall.Epoch) {
	key := incidentKey(i.Component, i.Kind)
	if old, open := s.Incidents[key]; open {
		if epoch <= old.Epoch {
			return
		}
		i.Start, i.Agreed = old.Start, old.Agreed
	}
	s.Incidents[key] = Incident{i, epoch}
}

func (s *State) closeIncident(c forestall.Component, kind forestall.FailureKind, at stamp) bool {
	key := incidentKey(c, kind)
	i, open := s.Incidents[key]
	if !open {
		return false
	}
	delete(s.Incidents, key)
	i.End = at.at
	if i.End.Before(i.Start) { // another leader's clock
		i.End = i.Start
	}
	s.rememberIncident(i)
	return true
}

// recovered closes the incidents of a workload's earlier runs.
func (s *State) recovered(w *WorkloadState, at stamp) {
	for _, kind := range failureKinds {
		if i, open := s.Incidents[incidentKey(w.Spec.Component(), kind)]; open && i.Epoch < w.Epoch {
			s.closeIncident(i.Component, kind, at)
		}
	}
}

func workloadFailure(k forestall.Kind) forestall.FailureKind {
	if k == forestall.KindService {
		return forestall.ServiceFailure
	}
	return forestall.AgentFailure
}

// stoodStill is how long a migration's workload did nothing, beyond what its
// final checkpoint took: from that checkpoint, or else from the proposal, to
// the target's start, by the leaders' clocks and never below zero.
func stoodStill(m *forestall.Migration, at stamp) time.Duration {
	from, saved := m.At[forestall.PhaseSaved]
	if !saved {
		from = m.At[forestall.PhaseProposed]
	}
	return max(0, at.at.Sub(from))
}
