package s3

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
)

// catalog is what a workload has in the store. Its object is replaced only
// under the condition that it is still the one that was read: raising a fence
// and adding a checkpoint can never pass each other unseen.
type catalog struct {
	Workload    string          `json:"workload"`
	Fence       forestall.Epoch `json:"fence"`
	Checkpoints []entry         `json:"checkpoints"` // in the order in which they came
}

// entry is a checkpoint and the name of its record.
type entry struct {
	forestall.Checkpoint
	Record string    `json:"record"`
	PinSet time.Time `json:"pin_set,omitzero"` // when Pinned was last set
}

func (c *catalog) index(id string) int {
	return slices.IndexFunc(c.Checkpoints, func(e entry) bool { return e.ID == id })
}

// admit refuses epochs below the fence.
func (c *catalog) admit(e forestall.Epoch) error {
	if e < c.Fence {
		return fmt.Errorf("%w: epoch %s of workload %q is over, the store is fenced at %s", forestall.ErrStaleEpoch, e, c.Workload, c.Fence)
	}
	return nil
}

func (c *catalog) list() []forestall.Checkpoint {
	out := make([]forestall.Checkpoint, len(c.Checkpoints))
	for i, e := range c.Checkpoints {
		out[i] = e.Checkpoint
	}
	return out
}

// openCatalog reads the object of a workload's catalog.
func openCatalog(b []byte, workload string) (*catalog, error) {
	var c catalog
	if err := openJSON(b, kindCatalog, &c); err != nil {
		return nil, err
	}
	if c.Workload != workload {
		return nil, fmt.Errorf("is of workload %.80q, not %q", c.Workload, workload)
	}
	for _, e := range c.Checkpoints {
		if _, err := checkpoint.ParseHash(e.ID); err != nil || !isName(e.Record) || e.Workload != workload {
			return nil, fmt.Errorf("lists checkpoint %.80q with record %.80q", e.ID, e.Record)
		}
	}
	return &c, nil
}

// loadCatalog reads a workload's catalog. One that does not exist is empty and
// has no ETag.
func (s *Store) loadCatalog(ctx context.Context, workload string) (c *catalog, etag string, err error) {
	o, err := s.bucket.get(ctx, catalogDir+workload, maxObject, func(b []byte) (err error) {
		c, err = openCatalog(b, workload)
		return err
	})
	if errors.Is(err, errNoObject) {
		return &catalog{Workload: workload}, "", nil
	}
	return c, o.etag, s.gone(err)
}

// changes is how often a catalog may change under one writer's hands.
const changes = 64

// change has edit alter the workload's catalog, again and again until nobody
// else did meanwhile. edit reports whether there is anything to write; it sees
// the effect of an earlier attempt whose reply was lost.
func (s *Store) change(ctx context.Context, workload string, edit func(*catalog) (bool, error)) error {
	for range changes {
		c, etag, err := s.loadCatalog(ctx, workload)
		if err != nil {
			return err
		}
		write, err := edit(c)
		if err != nil || !write {
			return err
		}
		b, err := sealJSON(kindCatalog, c)
		if err != nil {
			return err
		}
		cond := absent
		if etag != "" {
			cond = unchanged(etag)
		}
		if err = s.bucket.put(ctx, catalogDir+workload, b, cond); err == nil {
			return nil
		}
		if !errors.Is(err, errChanged) {
			return err
		}
	}
	return fmt.Errorf("%s: the catalog of %s changed %d times while it was being written; too many engines write to one workload", s, workload, changes)
}
