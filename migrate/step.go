package migrate

import "github.com/stratoswarm/forestall"

// StepKind names what is to be done next for a workload.
type StepKind string

// The steps, in the order in which a move takes them.
const (
	StepNone  StepKind = ""      // nothing to do, or nothing the executor can do
	StepThaw  StepKind = "thaw"  // let the source of an aborted migration go on
	StepSave  StepKind = "save"  // final checkpoint on the source
	StepGrant StepKind = "grant" // choose a target and give it the workload
	StepFence StepKind = "fence" // make a quorum of replicas refuse older epochs
	StepStop  StepKind = "stop"  // end an earlier run, or wait for its lease
	StepStart StepKind = "start" // start the granted run
	StepMove  StepKind = "move"  // the target is lost: choose a further one
)

// Step is the next thing to do for a workload. Steps compare with ==: an equal
// one is the same step, tried again.
type Step struct {
	Kind      StepKind
	Migration string          // empty when stopping what is left over
	Workload  string          //
	Node      string          // where it is done; empty for grant, fence and move
	Epoch     forestall.Epoch // thaw and save: of the source; stop: up to which; fence, start and move: the granted one
}

// Next returns the next step for a workload, as the ledger has it. It is what
// a new leader goes on with.
func Next(s *State, workload string) Step {
	w := s.Workloads[workload]
	if w == nil {
		return Step{}
	}
	m := s.Open[w.Migration]
	if m == nil {
		return nextClosed(w)
	}
	step := Step{Migration: m.ID, Workload: workload, Epoch: m.Epoch}
	switch m.Phase {
	case forestall.PhaseProposed:
		h, held := w.Holder()
		if saves(m.Action) && held && w.Running && s.Alive(h.Node) {
			step.Kind, step.Node, step.Epoch = StepSave, h.Node, h.Epoch
			return step
		}
		step.Kind = StepGrant
	case forestall.PhaseSaved:
		step.Kind = StepGrant
	case forestall.PhaseGranted, forestall.PhaseFenced, forestall.PhaseStopped:
		step = nextGranted(s, w, m, step)
	}
	return step
}

func nextGranted(s *State, w *WorkloadState, m *forestall.Migration, step Step) Step {
	target, held := w.Holder()
	if !held || !s.Alive(target.Node) {
		step.Kind = StepMove
		return step
	}
	switch m.Phase {
	case forestall.PhaseGranted:
		step.Kind = StepFence
	case forestall.PhaseFenced:
		old := w.Holders[0]
		step.Kind, step.Node, step.Epoch = StepStop, old.Node, old.Epoch
	case forestall.PhaseStopped:
		step.Kind, step.Node = StepStart, target.Node
	}
	return step
}

// nextClosed cleans up after a migration, or after a workload was retired.
func nextClosed(w *WorkloadState) Step {
	step := Step{Workload: w.Spec.Name}
	for _, h := range w.Holders {
		if h.Revoked {
			step.Kind, step.Node, step.Epoch = StepStop, h.Node, h.Epoch
			return step
		}
	}
	if h, held := w.Holder(); held && w.Thaw != "" {
		step.Kind, step.Migration, step.Node, step.Epoch = StepThaw, w.Thaw, h.Node, h.Epoch
	}
	return step
}
