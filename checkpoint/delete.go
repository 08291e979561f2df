package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Delete is [Dir.Drop] without a claim.
func (d *Dir) Delete(ctx context.Context, id string) error { return d.Drop(ctx, id, Claim{}) }

// Drop drops a checkpoint, also one whose manifest is lost or cannot be read
// ([Dir.Damaged]). Its chunks stay until [Dir.GC]; others are not affected. Errors
// wrap [ErrNotFound], [ErrPinned] and, when the claim's epoch is over,
// [forestall.ErrStaleEpoch].
func (d *Dir) Drop(ctx context.Context, id string, by Claim) error {
	err := ctx.Err()
	if err == nil {
		err = d.changeKept(id, by, func() error { return d.drop(id) })
	}
	if err != nil {
		return fmt.Errorf("delete checkpoint %.12s: %w", id, err)
	}
	d.waste.Add(1)
	return nil
}

// changeKept calls change for a checkpoint of this store unless the claim is
// stale. Meanwhile no fence of the workload is raised and the checkpoint is not
// dropped otherwise.
func (d *Dir) changeKept(id string, by Claim, change func() error) error {
	workload, err := d.workloadOf(id)
	if err != nil {
		return err
	}
	switch {
	case workload == "":
		workload = by.Workload
	case by.Workload != "" && by.Workload != workload:
		return fmt.Errorf("%w: it is of workload %q, not %q", ErrNotFound, workload, by.Workload)
	}
	if workload == "" { // that of a damaged checkpoint of an older program
		return change()
	}
	l := d.lane(workload)
	l.mu.Lock()
	defer l.mu.Unlock()
	if by.Epoch > 0 {
		if err := l.admit(workload, by.Epoch); err != nil {
			return err
		}
	}
	if _, err := d.workloadOf(id); err != nil {
		return err
	}
	return change()
}

// workloadOf returns whose a checkpoint is, "" when that was lost with its
// manifest.
func (d *Dir) workloadOf(id string) (string, error) {
	cp, err := d.Get(id)
	if !errors.Is(err, ErrCorrupt) {
		return cp.Workload, err
	}
	return d.WorkloadOf(id), nil
}

func (d *Dir) drop(id string) error {
	if d.Pinned(id) {
		return ErrPinned
	}
	// Who finds it listed may rely on its file being there: see GC.
	d.mu.Lock()
	cp, listed := d.checkpoints[id]
	delete(d.checkpoints, id)
	d.mu.Unlock()
	err := d.note(recordDrop, id, "")
	if err == nil {
		if err = d.removeDurably(d.manifestPath(id)); err != nil {
			if _, gone := os.Lstat(d.manifestPath(id)); errors.Is(gone, fs.ErrNotExist) {
				err = nil // the next start finds the record
			}
		}
	}
	if err != nil {
		if again := d.note(recordAdd, id, cp.Workload); again != nil {
			err = errors.Join(fmt.Errorf("the next start may finish it: %w", err), again)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		if listed {
			d.checkpoints[id] = cp
		}
		return err
	}
	delete(d.damaged, id)
	delete(d.pins, id)
	delete(d.imports, id)
	d.wholes.forget(id)
	return nil
}

// Since returns from when this store's copy of a checkpoint is, as its manifest's
// file tells; a copy of that file is from when it was copied. The error wraps
// [fs.ErrNotExist] when there is none.
func (d *Dir) Since(id string) (time.Time, error) {
	if _, err := parseHash(id); err != nil {
		return time.Time{}, err
	}
	fi, err := os.Lstat(d.manifestPath(id))
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(0, max(fi.ModTime().UnixNano(), identOf(fi).ctime)), nil
}

// Damaged returns the IDs of the checkpoints that the store had and whose
// manifests are lost or cannot be read, with what is wrong. [Dir.Drop] drops
// them; a replica's copy brings them back.
func (d *Dir) Damaged() map[string]error {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make(map[string]error, len(d.damaged))
	for id, err := range d.damaged {
		out[id] = err
	}
	return out
}

// WorkloadOf returns whose a checkpoint of this store is, also when its manifest
// is lost or cannot be read; "" when nothing says so any more.
func (d *Dir) WorkloadOf(id string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if cp, ok := d.checkpoints[id]; ok {
		return cp.Workload
	}
	h, err := parseHash(id)
	tag := d.owners[h]
	if err != nil || tag == 0 {
		return ""
	}
	for workload := range d.lanes {
		if ownerTag(workload) == tag {
			return workload
		}
	}
	for _, cp := range d.checkpoints {
		if ownerTag(cp.Workload) == tag {
			return cp.Workload
		}
	}
	return ""
}
