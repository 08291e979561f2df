package migrate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stratoswarm/forestall"
)

const (
	maxCheckpointOrders = 500 // that are remembered
	maxPins             = 10_000
	maxOrderText        = 1000 // bytes of a damage or of who ordered
)

// CheckpointOrder is an operator's order about a checkpoint, agreed on before any
// store follows it: the entries are the audit, and an engine whose replica of the
// ledger is behind cannot drop what counts by now.
//
// Dropping is refused for a checkpoint that is pinned, that a recovery would need
// (the newest that counts of a workload that was not retired, or that of an open
// migration), and that a run is writing: it is of the newest epoch and newer than
// what counts. Pinning again, and unpinning what is not pinned, change nothing.
type CheckpointOrder struct {
	Step     forestall.CheckpointStep `json:"step"`
	ID       string                   `json:"id"`
	Workload string                   `json:"workload,omitempty"` // empty: not known
	Epoch    forestall.Epoch          `json:"epoch,omitempty"`
	Sequence uint64                   `json:"sequence,omitempty"`
	Damage   string                   `json:"damage,omitempty"`
	By       string                   `json:"by"`
}

func (*CheckpointOrder) kind() string { return "checkpoint" }

func (c *CheckpointOrder) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: checkpoint order: %s", ErrBadCommand, fmt.Sprintf(format, args...))
	}
	switch c.Step {
	case forestall.CheckpointDropped, forestall.CheckpointPinned, forestall.CheckpointUnpinned:
	default:
		return bad("%q is not one of dropped, pinned, unpinned", c.Step)
	}
	switch {
	case len(c.ID) != 64 || strings.Trim(c.ID, "0123456789abcdef") != "":
		return bad("%.80q is not an ID of 64 lower-case hex digits", c.ID)
	case len(c.Damage) > maxOrderText || len(c.By) > maxOrderText:
		return bad("a text is longer than %d bytes", maxOrderText)
	case c.Workload == "":
		return nil
	}
	return checkName("workload", c.Workload)
}

func (c *CheckpointOrder) apply(s *State, at stamp) any {
	order := forestall.CheckpointOrder{
		Index: at.index, Time: at.at, Step: c.Step, ID: c.ID, Workload: c.Workload, Epoch: c.Epoch, Sequence: c.Sequence, Damage: c.Damage, By: c.By,
	}
	switch c.Step {
	case forestall.CheckpointDropped:
		if err := s.MayDrop(c); err != nil {
			return err
		}
		for _, w := range s.Workloads {
			if w.Head != nil && w.Head.ID == c.ID {
				w.Head = nil // of one that was retired
			}
		}
	case forestall.CheckpointPinned:
		if _, pinned := s.Pins[c.ID]; pinned {
			return nil
		}
		if len(s.Pins) >= maxPins {
			return fmt.Errorf("%w: %d checkpoints are pinned", ErrFull, maxPins)
		}
		if s.Pins == nil {
			s.Pins = map[string]forestall.CheckpointOrder{}
		}
		s.Pins[c.ID] = order
	case forestall.CheckpointUnpinned:
		delete(s.Pins, c.ID)
	}
	s.CheckpointOrders = keepLast(s.CheckpointOrders, order, maxCheckpointOrders)
	return nil
}

// MayDrop reports why a checkpoint must stay, with an error that wraps [ErrNeeded].
func (s *State) MayDrop(c *CheckpointOrder) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%.12s %w: it %s", c.ID, ErrNeeded, fmt.Sprintf(format, args...))
	}
	if _, pinned := s.Pins[c.ID]; pinned {
		return refuse("is pinned; unpin it first")
	}
	for _, id := range slices.Sorted(maps.Keys(s.Open)) {
		if m := s.Open[id]; m.Checkpoint == c.ID {
			return refuse("is what migration %s of %s restores", m.ID, m.Workload)
		}
	}
	for _, name := range s.WorkloadNames() {
		w := s.Workloads[name]
		switch {
		case w.Head != nil && w.Head.ID == c.ID && (!w.Retired || len(w.Holders) > 0):
			return refuse("is the newest that counts of %s, a recovery would need it; let a newer one be taken, or retire the workload", name)
		case name == c.Workload && len(w.Holders) > 0 && c.Epoch == w.Epoch && (w.Head == nil || c.Epoch > w.Head.Epoch || c.Sequence > w.Head.Sequence):
			return refuse("is newer than the newest that counts of %s and may be about to count; drop it once another one has", name)
		}
	}
	return nil
}
