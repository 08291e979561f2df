package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
)

// GC removes what no checkpoint needs and returns by how many bytes the store
// has become smaller. Packs without live chunks are removed, packs of which a
// third or more is dead, and many small ones, are written anew without what is
// dead, one after the other: a GC that is stopped leaves what it has done.
//
// It runs beside everything else: who relies on a chunk holds it first, which
// marks it, and a running GC spares every chunk that was marked since it began,
// whichever manifests it had read by then. A block of a tree is read once,
// however many checkpoints share it; marks are bits of the index, so memory
// does not grow with the number of references. It removes nothing while a
// manifest cannot be read, because its chunks are unknown.
func (d *Dir) GC(ctx context.Context) (freed int64, err error) { return d.collect(ctx, 0) }

// collect is GC that, where the packs have more than limit bytes, also writes
// those anew of which less is dead, until they have no more; 0: no limit.
func (d *Dir) collect(ctx context.Context, limit int64) (freed int64, err error) {
	d.gcing.Lock()
	defer d.gcing.Unlock()
	ended := d.beginCollecting()
	defer func() { ended(err) }()
	d.inbox.expire(d.opt.Now().Add(-leaseTime))
	d.beginGC()
	if err := d.markAll(ctx, nil); err != nil {
		return 0, fmt.Errorf("collect unused chunks: %w", err)
	}
	packs := d.packs.complete()
	live := make(map[uint32]int64)
	d.index.sweep(func(s *slot) bool {
		if s.bits&marks == 0 {
			return false
		}
		live[s.pack] += s.size()
		return true
	})
	freed, err = d.removeLoose(ctx)
	if err == nil {
		var more int64
		more, err = d.repack(ctx, packs, live, limit)
		freed += more
	}
	if err == nil {
		err = d.removeOldRot()
	}
	if err != nil {
		return freed, fmt.Errorf("collect unused chunks: %w", err)
	}
	return freed, nil
}

// beginGC clears the marks of the GC before, and sets those of what is held.
func (d *Dir) beginGC() {
	d.mu.Lock()
	d.marking, d.released = true, nil
	d.mu.Unlock()
	now := d.opt.Now()
	turn := now.Sub(d.leasesTurn) >= leaseTime
	if turn {
		d.leasesTurn = now
	}
	d.index.sweep(func(s *slot) bool {
		s.bits &^= spared | visited
		if turn {
			old := s.bits & leased >> 1 // leased becomes leaseOld
			s.bits = s.bits&^(leased|leaseOld) | old
		}
		return true
	})
	d.mu.Lock()
	holds := slices.Collect(maps.Keys(d.holds))
	d.mu.Unlock()
	for _, h := range holds {
		h.mu.Lock()
		h.fresh = 0
		for c := range h.chunks {
			d.index.mark(c, spared)
		}
		h.mu.Unlock()
	}
}

// markAll visits what every manifest on disk needs, also of those that were left
// out when the store was opened, and what is held.
//
// With bad it reports there what cannot be read and which chunks are missing,
// and goes on, ignoring what is held.
func (d *Dir) markAll(ctx context.Context, bad func(error)) error {
	defer d.endMarking()
	ids, err := os.ReadDir(d.manifestPath(""))
	if err != nil {
		return err
	}
	m := visitor{d: d, ctx: ctx, bad: bad}
	done := d.progress(StepMark, "", int64(len(ids)))
	defer done.end()
	for _, e := range ids {
		done.add(1)
		if _, err := parseHash(e.Name()); err != nil {
			continue // not a manifest
		}
		path := d.manifestPath(e.Name())
		b, err := d.read(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return err
		}
		r, err := d.decodeRoot(path, b)
		if err == nil && manifestID(b) != e.Name() {
			err = corrupt(path, "the content is not what the name says")
		}
		if err != nil {
			err = fmt.Errorf("%w; restore it from a replica or delete it", err)
		} else if err = m.root(r); err != nil {
			err = fmt.Errorf("manifest %s: %w; restore it from a replica or delete it", path, err)
		}
		switch {
		case err != nil && (bad == nil || !errors.Is(err, ErrCorrupt)):
			return err
		case err != nil:
			bad(err)
		}
	}
	if bad != nil {
		return nil
	}
	// What was held while the manifests were read may have been deleted before
	// its turn came. What is held from now on is listed, hence was read.
	for {
		roots := d.freshRoots()
		if len(roots) == 0 {
			return nil
		}
		for _, r := range roots {
			if err := m.root(r); err != nil {
				return fmt.Errorf("what a checkpoint under way relies on: %w; it is looked at again by the next GC", err)
			}
		}
	}
}

// freshRoots returns the held checkpoints that were not returned before.
func (d *Dir) freshRoots() []root {
	d.mu.Lock()
	out := d.released
	d.released = nil
	holds := slices.Collect(maps.Keys(d.holds))
	d.mu.Unlock()
	for _, h := range holds {
		h.mu.Lock()
		out = append(out, h.roots[h.fresh:]...)
		h.fresh = len(h.roots)
		h.mu.Unlock()
	}
	return out
}

// endMarking is for the end of markAll.
func (d *Dir) endMarking() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.marking, d.released = false, nil
}

// visitor visits trees.
type visitor struct {
	d   *Dir
	ctx context.Context
	bad func(error) // nil: nobody wants to know
	buf []byte
}

func (m *visitor) root(r root) error {
	for _, e := range r.entries {
		m.extents(e.extents)
	}
	return m.blocks(r.level, r.top)
}

func (m *visitor) extents(list []extent) {
	for i, x := range list {
		if i == 0 || x.hash != list[i-1].hash {
			if _, ok := m.d.index.mark(x.hash, visited); !ok && m.bad != nil {
				m.bad(corrupt(m.d.path, "chunk %s is missing"+missingRemedy, x.hash))
			}
		}
	}
}

func (m *visitor) blocks(level int, refs []ref) (err error) {
	for _, f := range refs {
		if err := m.ctx.Err(); err != nil {
			return err
		}
		if before, ok := m.d.index.mark(f.hash, visited); ok && before.bits&visited != 0 {
			continue // and all below it
		}
		if m.buf, err = readBlock(m.buf, f, m.d.readChunk); err != nil {
			return err
		}
		if level == 0 {
			br := blockReader{part: true}
			if err := br.add(m.buf); err != nil {
				return corrupt("tree block "+f.hash.String(), "%v", err)
			}
			for _, e := range br.entries {
				m.extents(e.extents)
			}
			continue
		}
		below, err := decodeIndex(m.buf, level)
		if err != nil {
			return corrupt("tree block "+f.hash.String(), "%v", err)
		}
		if err := m.blocks(level-1, below); err != nil {
			return err
		}
	}
	return nil
}

// removeLoose removes the chunk files of version 1 that are not in use.
func (d *Dir) removeLoose(ctx context.Context) (freed int64, err error) {
	err = d.eachLoose(func(h hash, fi fs.FileInfo) error {
		if s, ok := d.index.get(h); ok && s.pack == looseChunk {
			return ctx.Err()
		}
		if err := d.fs.Remove(d.loosePath(h)); err != nil {
			return err
		}
		freed += fi.Size()
		return ctx.Err()
	})
	return freed, err
}
