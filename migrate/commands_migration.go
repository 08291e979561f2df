package migrate

import (
	"fmt"
	"slices"
	"time"

	"github.com/stratoswarm/forestall"
)

// Propose opens the migration of a decision to start, recover, migrate or
// drain, in phase proposed. It is refused with [ErrBusy] while another one of
// the workload is open, with [ErrDuplicate] if the decision's ID was accepted
// before, with [ErrBudget] when it is preemptive and the budget is spent.
// Apply returns the forestall.Migration.
type Propose struct {
	Decision forestall.Decision `json:"decision"`
}

func (*Propose) kind() string { return "propose" }

func (c *Propose) check() error {
	d := c.Decision
	if err := checkDecisionID(d.ID); err != nil {
		return err
	}
	if d.Mode != forestall.Act {
		return fmt.Errorf("%w: decision %s: mode %q; only decisions in mode act are carried out", ErrBadCommand, d.ID, d.Mode)
	}
	switch d.Action {
	case forestall.ActionStart, forestall.ActionRecover, forestall.ActionMigrate, forestall.ActionDrain:
	default:
		return fmt.Errorf("%w: decision %s: action %q is not one of start, recover, migrate, drain", ErrBadCommand, d.ID, d.Action)
	}
	return checkName("workload", d.Workload)
}

func checkDecisionID(id string) error {
	if id == "" || len(id) > maxIDBytes {
		return fmt.Errorf("%w: a decision's ID has 1 to %d bytes", ErrBadCommand, maxIDBytes)
	}
	return nil
}

func (c *Propose) apply(s *State, at stamp) any {
	d := c.Decision
	w, err := s.workload(d.Workload)
	switch {
	case err != nil:
		return err
	case s.decided(d.ID):
		return fmt.Errorf("%w: decision %s", ErrDuplicate, d.ID)
	case w.Retired:
		return fmt.Errorf("%w: %s", ErrRetired, d.Workload)
	case w.Migration != "":
		return fmt.Errorf("%w: %s: %s", ErrBusy, d.Workload, w.Migration)
	}
	if err := s.fits(d, w); err != nil {
		return err
	}
	if !s.reactive(d) {
		if err := s.spend(at.at); err != nil {
			return err
		}
		s.rememberIntervention(forestall.Intervention{Decision: d.ID, Component: d.Component, Action: d.Action, Time: at.at})
	}
	w.countTry(d, at.at)
	d.From = w.Node
	m := &forestall.Migration{Decision: d, Phase: forestall.PhaseProposed, At: map[forestall.Phase]time.Time{forestall.PhaseProposed: at.at}}
	s.Open[d.ID] = m
	w.Migration, w.GaveUp = d.ID, ""
	w.Moves++
	s.remember(decisionKey(d.ID))
	return cloneMigration(*m)
}

func decisionKey(id string) string { return "decision " + id }

func (s *State) decided(id string) bool {
	_, seen := s.recent[decisionKey(id)]
	return seen || s.Open[id] != nil
}

// fits reports why a decision makes no sense for the workload as it stands.
func (s *State) fits(d forestall.Decision, w *WorkloadState) error {
	if d.To != "" && !s.Alive(d.To) {
		return fmt.Errorf("%w: node %q is not alive", ErrTarget, d.To)
	}
	_, held := w.Holder()
	switch d.Action {
	case forestall.ActionStart:
		if w.Running {
			return fmt.Errorf("%w: %s runs on %s", ErrBusy, d.Workload, w.Node)
		}
	case forestall.ActionRecover:
		if w.Epoch == 0 {
			return fmt.Errorf("%w: %s was never started: there is nothing to recover", ErrPhase, d.Workload)
		}
	default:
		if !w.Running || !held {
			return fmt.Errorf("%w: %s does not run: recover it instead", ErrPhase, d.Workload)
		}
		if d.To == w.Node && !withinNode(d) {
			return fmt.Errorf("%w: %s is on %s already", ErrTarget, d.Workload, d.To)
		}
	}
	return nil
}

// withinNode reports whether the decision may move its workload to other GPUs
// of the same node: it flees from one GPU, not from the node.
func withinNode(d forestall.Decision) bool {
	return d.Action == forestall.ActionMigrate && d.Component.Kind == forestall.KindGPU
}

// reactive reports whether a decision answers something that has happened, so
// that the budget does not hold it back.
func (s *State) reactive(d forestall.Decision) bool {
	if d.Action == forestall.ActionStart || d.Action == forestall.ActionRecover {
		return true
	}
	_, failed := s.Incident(d.Component)
	return failed
}

// spend takes one preemptive action from the budget.
func (s *State) spend(now time.Time) error {
	open := 0
	for _, m := range s.Open {
		if !s.reactive(m.Decision) {
			open++
		}
	}
	if open >= s.Budget.Concurrent {
		return fmt.Errorf("%w: %d preemptive moves are under way, %d are allowed at once", ErrBudget, open, s.Budget.Concurrent)
	}
	// A time far ahead comes from a leader whose clock was wrong.
	within := func(t time.Time) bool { return now.Sub(t).Abs() < s.Budget.Window }
	var kept []time.Time
	for _, t := range s.Spent {
		if within(t) {
			kept = append(kept, t)
		}
	}
	if len(kept) >= s.Budget.PerWindow {
		return fmt.Errorf("%w: %d preemptive moves within %s, %d are allowed", ErrBudget, len(kept), s.Budget.Window, s.Budget.PerWindow)
	}
	s.Spent = append(kept, now)
	return nil
}

// countTry counts an attempt to get the workload going that is its own doing;
// the failure of a node or GPU is not held against it.
func (w *WorkloadState) countTry(d forestall.Decision, now time.Time) {
	if saves(d.Action) || d.Component.Kind == forestall.KindNode || d.Component.Kind == forestall.KindGPU {
		return
	}
	if w.Stable(now) {
		w.Tries = 0
	}
	w.Tries++
	w.Tried = now
}

// Saved records the final checkpoint of a migration: the source stands still,
// and the checkpoint becomes the head.
type Saved struct {
	Migration  string               `json:"migration"`
	Checkpoint forestall.Checkpoint `json:"checkpoint"`
}

func (*Saved) kind() string   { return "saved" }
func (c *Saved) check() error { return checkCheckpoint(c.Checkpoint) }

func (c *Saved) apply(s *State, at stamp) any {
	m, w, err := s.migration(c.Migration, forestall.PhaseProposed)
	if err != nil {
		return err
	}
	if c.Checkpoint.Workload != m.Workload {
		return fmt.Errorf("%w: checkpoint %.12s is of %s, the migration of %s", ErrBadCommand, c.Checkpoint.ID, c.Checkpoint.Workload, m.Workload)
	}
	if w.Head == nil || w.Head.ID != c.Checkpoint.ID {
		if err := w.fitsHead(c.Checkpoint); err != nil {
			return err
		}
		head := c.Checkpoint
		w.Head = &head
	}
	m.Pause = c.Checkpoint.Pause
	enter(m, forestall.PhaseSaved, at)
	return nil
}

// Abort ends a migration before its grant. If the source may have been told
// to stand still, the executor thaws it and reports [Resumed].
type Abort struct {
	Migration string `json:"migration"`
	Note      string `json:"note"` // why
}

func (*Abort) kind() string { return "abort" }
func (*Abort) check() error { return nil }

func (c *Abort) apply(s *State, at stamp) any {
	m, w, err := s.migration(c.Migration, forestall.PhaseProposed, forestall.PhaseSaved)
	if err != nil {
		return err
	}
	if _, held := w.Holder(); held && saves(m.Action) {
		w.Thaw = m.ID
	}
	s.closeMigration(m, forestall.PhaseAborted, c.Note, at)
	return nil
}

// Wait records why an open migration does not get on. May be repeated.
type Wait struct {
	Migration string `json:"migration"`
	Note      string `json:"note"` // why
}

func (*Wait) kind() string { return "wait" }

func (c *Wait) check() error {
	if c.Note == "" {
		return fmt.Errorf("%w: waiting needs a reason", ErrBadCommand)
	}
	return nil
}

func (c *Wait) apply(s *State, _ stamp) any {
	m, _, err := s.migration(c.Migration)
	if err != nil {
		return err
	}
	m.Note = c.Note
	return nil
}

// saves reports whether the action begins with a final checkpoint.
func saves(a forestall.Action) bool {
	return a == forestall.ActionMigrate || a == forestall.ActionDrain
}

// Resumed records that the source of an aborted migration goes on.
type Resumed struct {
	Workload  string `json:"workload"`
	Migration string `json:"migration"`
}

func (*Resumed) kind() string   { return "resumed" }
func (c *Resumed) check() error { return checkName("workload", c.Workload) }

func (c *Resumed) apply(s *State, _ stamp) any {
	w, err := s.workload(c.Workload)
	if err != nil {
		return err
	}
	if w.Thaw == c.Migration {
		w.Thaw = ""
	}
	return nil
}

// GiveUp ends a migration at any phase without success: the workload doesn't
// run, every run of it is revoked, and the executor stops what may be left.
type GiveUp struct {
	Migration string `json:"migration"`
	Note      string `json:"note"` // why
}

func (*GiveUp) kind() string { return "give_up" }

func (c *GiveUp) check() error {
	if c.Note == "" {
		return fmt.Errorf("%w: giving up needs a reason", ErrBadCommand)
	}
	return nil
}

func (c *GiveUp) apply(s *State, at stamp) any {
	m, w, err := s.migration(c.Migration)
	if err != nil {
		return err
	}
	note := gaveUp + c.Note
	incident := forestall.Incident{Component: w.Spec.Component(), Kind: workloadFailure(w.Spec.Kind), Start: at.at, Agreed: at.at, Evidence: []string{note}}
	if err := s.incidentRoom(incident.Component, incident.Kind); err != nil {
		return err
	}
	w.halt(at.at)
	w.GaveUp, w.Tried = c.Note, at.at
	w.Tries++
	w.revokeAll()
	if i, open := s.Incidents[incidentKey(incident.Component, incident.Kind)]; open {
		incident.Start, incident.Agreed, incident.Evidence = i.Start, i.Agreed, addGivingUp(i.Evidence, note)
	}
	s.Incidents[incidentKey(incident.Component, incident.Kind)] = Incident{incident, w.Epoch}
	s.closeMigration(m, forestall.PhaseAborted, note, at)
	return nil
}

// migration returns an open migration and its workload; with phases given it
// has to be in one of them.
func (s *State) migration(id string, phases ...forestall.Phase) (*forestall.Migration, *WorkloadState, error) {
	m := s.Open[id]
	if m == nil {
		return nil, nil, fmt.Errorf("%w: %q", ErrUnknownMigration, id)
	}
	if len(phases) > 0 && !slices.Contains(phases, m.Phase) {
		return nil, nil, fmt.Errorf("%w: migration %s is %s", ErrPhase, id, m.Phase)
	}
	w, err := s.workload(m.Workload)
	return m, w, err
}

func enter(m *forestall.Migration, p forestall.Phase, at stamp) {
	m.Phase = p
	m.At[p] = at.at
}

func (s *State) closeMigration(m *forestall.Migration, p forestall.Phase, note string, at stamp) {
	enter(m, p, at)
	m.Note = note
	s.Workloads[m.Workload].Migration = ""
	delete(s.Open, m.ID)
	s.rememberMigration(*m)
}
