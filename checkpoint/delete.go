package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// Delete drops a checkpoint. Its chunks stay until [Dir.GC]; others are not
// affected. The error wraps [ErrPinned] when it is pinned.
func (d *Dir) Delete(ctx context.Context, id string) error {
	cp, err := d.Get(id)
	if errors.Is(err, ErrCorrupt) {
		return d.deleteDamaged(id)
	}
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	l := d.lane(cp.Workload)
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.Pinned(id) {
		return fmt.Errorf("delete checkpoint %.12s of %s: %w", id, cp.Workload, ErrPinned)
	}
	// Who finds it listed may rely on its file being there: see GC.
	d.mu.Lock()
	delete(d.checkpoints, id)
	d.mu.Unlock()
	err = d.note(recordDrop, id)
	if err == nil {
		err = d.removeDurably(d.manifestPath(id))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.mu.Lock()
		d.checkpoints[id] = cp
		d.mu.Unlock()
		return fmt.Errorf("delete checkpoint: %w", err)
	}
	d.waste.Add(1)
	return nil
}

// deleteDamaged drops a checkpoint whose manifest is lost or cannot be read.
func (d *Dir) deleteDamaged(id string) error {
	err := d.note(recordDrop, id)
	if err == nil {
		err = d.removeDurably(d.manifestPath(id))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete checkpoint: %w", err)
	}
	d.waste.Add(1)
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.damaged, id)
	return nil
}
