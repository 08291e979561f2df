package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/stratoswarm/forestall"
)

// Delete drops a checkpoint. Its chunks stay until [Dir.GC]; others are not
// affected.
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
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.damaged, id)
	return nil
}

// Prune drops the checkpoints whose state is older than retention at now, and
// the chunks that nothing needs any more. It always leaves the newest of each
// workload and what keep, when not nil, says.
func (d *Dir) Prune(ctx context.Context, retention time.Duration, now time.Time, keep func(forestall.Checkpoint) bool) (removed int, freedBytes int64, err error) {
	all, err := d.List("")
	if err != nil {
		return 0, 0, err
	}
	for _, cp := range expired(all, retention, now, keep) {
		err := d.Delete(ctx, cp.ID)
		if errors.Is(err, ErrNotFound) {
			continue // somebody else was faster
		}
		if err != nil {
			return removed, 0, fmt.Errorf("prune: %w", err)
		}
		removed++
	}
	freedBytes, err = d.GC(ctx)
	return removed, freedBytes, err
}

// expired picks what retention lets go.
func expired(all []forestall.Checkpoint, retention time.Duration, now time.Time, keep func(forestall.Checkpoint) bool) (out []forestall.Checkpoint) {
	newest := make(map[string]forestall.Checkpoint)
	for _, cp := range all {
		if have, ok := newest[cp.Workload]; !ok || cp.NewerThan(have) {
			newest[cp.Workload] = cp
		}
	}
	for _, cp := range all {
		if now.Sub(cp.Time) > retention && cp.ID != newest[cp.Workload].ID && (keep == nil || !keep(cp)) {
			out = append(out, cp)
		}
	}
	return out
}
