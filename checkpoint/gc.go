package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/stratoswarm/forestall"
)

// Delete drops a checkpoint. Its chunks stay until [Dir.GC]; others are not
// affected.
func (d *Dir) Delete(ctx context.Context, id string) error {
	cp, err := d.Get(id)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	l := d.lane(cp.Workload)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := removeDurably(d.manifestPath(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete checkpoint: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.checkpoints, id)
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

// GC removes the chunks that no manifest needs and returns the bytes of their
// files. It runs beside everything else: who relies on a chunk pins it first,
// and a running GC spares every chunk that was pinned at any moment since it
// began, whichever manifests it had read by then. It removes nothing while a
// manifest cannot be read, because its chunks are unknown.
func (d *Dir) GC(ctx context.Context) (freed int64, err error) {
	d.gcing.Lock()
	defer d.gcing.Unlock()
	d.inbox.expire(d.opt.Now().Add(-leaseTime))
	d.beginGC()
	defer d.endGC()
	live, err := d.live(ctx)
	if err != nil {
		return 0, fmt.Errorf("collect unused chunks: %w", err)
	}
	err = d.eachChunk(func(h hash, fi fs.FileInfo) error {
		if _, ok := live[h]; ok {
			return ctx.Err()
		}
		gone, err := d.removeUnpinned(h)
		if gone {
			freed += fi.Size()
		}
		return errors.Join(err, ctx.Err())
	})
	if err != nil {
		return freed, fmt.Errorf("collect unused chunks: %w", err)
	}
	return freed, nil
}

// beginGC starts the record of chunks that somebody relies on.
func (d *Dir) beginGC() {
	now := d.opt.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.spared = make(map[hash]struct{}, len(d.pins)+len(d.leases))
	for h := range d.pins {
		d.spared[h] = struct{}{}
	}
	for h, until := range d.leases {
		if now.After(until) {
			delete(d.leases, h)
			continue
		}
		d.spared[h] = struct{}{}
	}
}

func (d *Dir) endGC() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.spared = nil
}

// live returns the chunks of every manifest on disk, also of those that were
// left out when the store was opened.
func (d *Dir) live(ctx context.Context) (map[hash]struct{}, error) {
	ids, err := os.ReadDir(d.manifestPath(""))
	if err != nil {
		return nil, err
	}
	live := make(map[hash]struct{})
	for _, e := range ids {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if _, err := parseHash(e.Name()); err != nil {
			continue // not a manifest
		}
		path := d.manifestPath(e.Name())
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		r, err := decodeRoot(b)
		if err != nil {
			return nil, corrupt(path, "%v; restore it from a replica or remove it", err)
		}
		m, err := r.expand(d.readChunk)
		if err != nil {
			return nil, fmt.Errorf("manifest %s: %w; restore it from a replica or remove it", path, err)
		}
		for _, h := range m.hashes() {
			live[h] = struct{}{}
		}
	}
	return live, nil
}

func (d *Dir) removeUnpinned(h hash) (gone bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.spared[h]; ok {
		return false, nil
	}
	if err := os.Remove(d.chunkPath(h)); err != nil {
		return false, err
	}
	return true, nil
}
