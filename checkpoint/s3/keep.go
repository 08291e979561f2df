package s3

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/stratoswarm/forestall/checkpoint"
)

// Delete drops a checkpoint. What only it needed is garbage from then on.
func (s *Store) Delete(ctx context.Context, id string, by checkpoint.Claim) error {
	err := s.changeKept(ctx, id, by, func(c *catalog, i int) (bool, error) {
		if c.Checkpoints[i].Pinned {
			return false, checkpoint.ErrPinned
		}
		c.Checkpoints = slices.Delete(c.Checkpoints, i, i+1)
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("delete checkpoint %.12s: %w", id, err)
	}
	return nil
}

// Pin keeps a checkpoint, or lets it go again. The pin is in the workload's
// catalog: every engine that uses the bucket sees it.
func (s *Store) Pin(ctx context.Context, p checkpoint.Pin, by checkpoint.Claim) error {
	err := s.changeKept(ctx, p.ID, by, func(c *catalog, i int) (bool, error) {
		e := &c.Checkpoints[i]
		switch {
		case p.At.IsZero() && p.On == e.Pinned, !p.At.IsZero() && !p.At.After(e.PinSet):
			return false, nil
		case p.At.IsZero():
			if p.At = s.cfg.Now(); !p.At.After(e.PinSet) {
				p.At = e.PinSet.Add(1)
			}
		}
		e.Pinned, e.PinSet = p.On, p.At.UTC()
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("pin checkpoint %.12s: %w", p.ID, err)
	}
	return nil
}

// Pins returns the last pin of each checkpoint that ever had one, by ID.
func (s *Store) Pins(ctx context.Context) ([]checkpoint.Pin, error) {
	all, err := s.catalogs(ctx)
	if err != nil {
		return nil, err
	}
	pins := []checkpoint.Pin{}
	for _, c := range all {
		for _, e := range c.Checkpoints {
			if !e.PinSet.IsZero() {
				pins = append(pins, checkpoint.Pin{ID: e.ID, On: e.Pinned, At: e.PinSet})
			}
		}
	}
	slices.SortFunc(pins, func(a, b checkpoint.Pin) int { return strings.Compare(a.ID, b.ID) })
	return pins, nil
}

// changeKept has edit alter the catalog in which a checkpoint is listed at i,
// unless the claim is stale.
func (s *Store) changeKept(ctx context.Context, id string, by checkpoint.Claim, edit func(c *catalog, i int) (bool, error)) error {
	e, err := s.find(ctx, id)
	if err != nil {
		return err
	}
	if by.Workload != "" && by.Workload != e.Workload {
		return fmt.Errorf("%w: it is of workload %q, not %q", checkpoint.ErrNotFound, e.Workload, by.Workload)
	}
	return s.change(ctx, e.Workload, func(c *catalog) (bool, error) {
		if by.Epoch > 0 {
			if err := c.admit(by.Epoch); err != nil {
				return false, err
			}
		}
		i := c.index(id)
		if i < 0 {
			return false, nil // an attempt whose reply was lost, or somebody else
		}
		return edit(c, i)
	})
}
