package migrate

import (
	"fmt"
	"slices"

	"github.com/stratoswarm/forestall"
)

// Grant gives the workload of a migration to a node. The entry's index is the
// new epoch; the node becomes a holder, and every earlier holder is revoked.
// From here there is only forward. Apply returns the forestall.Epoch.
//
// A migration that begins with a final checkpoint is granted from phase
// proposed only with Unsaved, the reason why there is none.
type Grant struct {
	Migration string `json:"migration"`
	Node      string `json:"node"`
	GPUs      []int  `json:"gpus,omitempty"`
	Unsaved   string `json:"unsaved,omitempty"`
}

func (*Grant) kind() string   { return "grant" }
func (c *Grant) check() error { return checkName("node", c.Node) }

func (c *Grant) apply(s *State, at stamp) any {
	m, w, err := s.migration(c.Migration, forestall.PhaseProposed, forestall.PhaseSaved)
	if err != nil {
		return err
	}
	if saves(m.Action) && m.Phase == forestall.PhaseProposed && c.Unsaved == "" {
		return fmt.Errorf("%w: migration %s has no final checkpoint and no reason to do without", ErrPhase, m.ID)
	}
	if saves(m.Action) && c.Node == m.From && !withinNode(m.Decision) {
		return fmt.Errorf("%w: %s is on %s already", ErrTarget, m.Workload, c.Node)
	}
	if index, ok := m.Component.GPUIndex(); ok && c.Node == m.Component.NodeName() && slices.Contains(c.GPUs, index) {
		return fmt.Errorf("%w: %s is what %s flees from", ErrTarget, m.Component, m.Workload)
	}
	if err := s.hold(m, w, c.Node, c.GPUs, at); err != nil {
		return err
	}
	m.Note = c.Unsaved
	return m.Epoch
}

// Retry gives the workload of a granted migration to a further node, because
// the one before could not start it; that one is then a holder to stop. Attempt
// is the number of the new one: a Retry that was overtaken is refused. Apply
// returns the forestall.Epoch.
type Retry struct {
	Migration string `json:"migration"`
	Attempt   int    `json:"attempt"`
	Node      string `json:"node"`
	GPUs      []int  `json:"gpus,omitempty"`
	Note      string `json:"note"` // why the one before did not do
}

func (*Retry) kind() string   { return "retry" }
func (c *Retry) check() error { return checkName("node", c.Node) }

func (c *Retry) apply(s *State, at stamp) any {
	m, w, err := s.migration(c.Migration, forestall.PhaseGranted, forestall.PhaseFenced, forestall.PhaseStopped)
	if err != nil {
		return err
	}
	if c.Attempt != m.Attempt+1 {
		return fmt.Errorf("%w: migration %s is at attempt %d, attempt %d does not follow", ErrPhase, m.ID, m.Attempt, c.Attempt)
	}
	if err := s.hold(m, w, c.Node, c.GPUs, at); err != nil {
		return err
	}
	m.Note = c.Note
	return m.Epoch
}

// hold makes the node the newest holder of the migration's workload.
func (s *State) hold(m *forestall.Migration, w *WorkloadState, node string, gpus []int, at stamp) error {
	gpus = slices.Sorted(slices.Values(gpus))
	if err := s.free(w, node, gpus); err != nil {
		return err
	}
	epoch := forestall.Epoch(at.index)
	w.revokeAll()
	w.Holders = append(w.Holders[:len(w.Holders):len(w.Holders)], Holder{Node: node, Epoch: epoch, GPUs: gpus})
	w.Node, w.Epoch, w.GPUs = node, epoch, gpus
	w.halt(at.at)
	w.Completed, w.Thaw = false, ""
	m.To, m.Epoch, m.GPUs = node, epoch, slices.Clone(gpus)
	m.Attempt++
	if w.Head != nil {
		m.Checkpoint = w.Head.ID
	}
	enter(m, forestall.PhaseGranted, at)
	return nil
}

// free reports why the workload cannot have these GPUs of the node. GPUs held
// by its own earlier runs count as free, since those are stopped first.
func (s *State) free(w *WorkloadState, node string, gpus []int) error {
	n := s.Nodes[node]
	switch {
	case n == nil:
		return fmt.Errorf("%w: %q", ErrUnknownNode, node)
	case n.State != forestall.MemberAlive:
		return fmt.Errorf("%w: node %s is %s", ErrTarget, node, n.State)
	case len(w.Spec.Needs.Nodes) > 0 && !slices.Contains(w.Spec.Needs.Nodes, node):
		return fmt.Errorf("%w: %s may run on %v only, not on %s", ErrTarget, w.Spec.Name, w.Spec.Needs.Nodes, node)
	case len(gpus) != w.Spec.Needs.GPUs:
		return fmt.Errorf("%w: %s needs %d GPUs, %d are offered", ErrCapacity, w.Spec.Name, w.Spec.Needs.GPUs, len(gpus))
	}
	taken := s.TakenGPUs(node, w.Spec.Name)
	for i, g := range gpus {
		switch {
		case g < 0 || g >= n.GPUs:
			return fmt.Errorf("%w: node %s has %d GPUs, there is no %d", ErrCapacity, node, n.GPUs, g)
		case i > 0 && gpus[i-1] == g:
			return fmt.Errorf("%w: GPU %d is named twice", ErrCapacity, g)
		case taken[g] != "":
			return fmt.Errorf("%w: GPU %d of %s belongs to %s", ErrCapacity, g, node, taken[g])
		}
		if _, failed := s.Incident(forestall.GPU(node, g)); failed {
			return fmt.Errorf("%w: GPU %d of %s has failed", ErrTarget, g, node)
		}
	}
	return nil
}

// Fenced records that a write quorum of the workload's replicas refuses every
// epoch below this one.
type Fenced struct {
	Migration string          `json:"migration"`
	Epoch     forestall.Epoch `json:"epoch"`
	Acks      []string        `json:"acks"` // who confirmed
}

func (*Fenced) kind() string { return "fenced" }

func (c *Fenced) check() error {
	if len(c.Acks) == 0 {
		return fmt.Errorf("%w: nobody confirmed the fence", ErrBadCommand)
	}
	return nil
}

func (c *Fenced) apply(s *State, at stamp) any {
	m, w, err := s.migration(c.Migration, forestall.PhaseGranted)
	if err != nil {
		return err
	}
	if err := sameEpoch(m, c.Epoch); err != nil {
		return err
	}
	enter(m, forestall.PhaseFenced, at)
	advance(m, w, at)
	return nil
}

// advance enters phase stopped once the fence stands and no run but the
// granted one is left.
func advance(m *forestall.Migration, w *WorkloadState, at stamp) {
	if m.Phase != forestall.PhaseFenced {
		return
	}
	for _, h := range w.Holders {
		if h.Epoch != m.Epoch {
			return
		}
	}
	enter(m, forestall.PhaseStopped, at)
}

// Done records that the target runs the granted epoch.
type Done struct {
	Migration string          `json:"migration"`
	Epoch     forestall.Epoch `json:"epoch"`
}

func (*Done) kind() string { return "done" }
func (*Done) check() error { return nil }

func (c *Done) apply(s *State, at stamp) any {
	m, w, err := s.migration(c.Migration, forestall.PhaseStopped)
	if err != nil {
		return err
	}
	if err := sameEpoch(m, c.Epoch); err != nil {
		return err
	}
	if h, held := w.Holder(); !held || h.Epoch != c.Epoch {
		return fmt.Errorf("%w: migration %s: the run of epoch %d is over already", ErrPhase, m.ID, c.Epoch)
	}
	w.Running, w.Started = true, at.at
	w.countRun(m.Action)
	m.Pause += stoodStill(m, at)
	s.closeMigration(m, forestall.PhaseDone, m.Note, at)
	s.recovered(w, at)
	return nil
}

// countRun counts a confirmed run. The first one is no restart even when a
// recovery brought it, because the start before came to nothing.
func (w *WorkloadState) countRun(brought forestall.Action) {
	if brought == forestall.ActionRecover && w.Runs > 0 {
		w.Restarts++
	}
	w.Runs++
}

func sameEpoch(m *forestall.Migration, e forestall.Epoch) error {
	if m.Epoch != e {
		return fmt.Errorf("%w: migration %s is at epoch %d, not %d", forestall.ErrStaleEpoch, m.ID, m.Epoch, e)
	}
	return nil
}
