package checkpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"syscall"
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
// does not grow with the number of references.
//
// While the tree of a checkpoint cannot be read, what it needs is not known. Then
// nothing goes from the packs that there were when that was first found, by this
// process, and the error, which wraps [ErrCorrupt], says whose checkpoint it is.
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
	unread, err := d.markAll(ctx, nil)
	if err != nil {
		return 0, fmt.Errorf("collect unused chunks: %w", err)
	}
	from := d.leaveBelow(unread)
	packs := slices.DeleteFunc(d.packs.complete(), func(n uint32) bool { return n < from })
	live := make(map[uint32]int64)
	d.index.sweep(func(s *slot) bool {
		if s.bits&marks == 0 && s.pack >= from && (s.pack != looseChunk || len(unread) == 0) {
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
	if err == nil {
		err = d.tellUnread(unread)
	}
	if err != nil {
		return freed, fmt.Errorf("collect unused chunks: %w", err)
	}
	return freed, nil
}

// Garbage returns how many bytes of the packs are of chunks that no checkpoint needs
// and nobody relies on, and changes nothing: it also is for a store that is open for
// reading. A GC gives back those of packs of which they are a third or more. The error
// wraps [ErrCorrupt] and names the checkpoints whose trees cannot be read: what they
// need may be counted.
func (d *Dir) Garbage(ctx context.Context) (bytes int64, err error) {
	d.gcing.Lock()
	defer d.gcing.Unlock()
	d.beginGC()
	unread, err := d.markAll(ctx, nil)
	if err != nil {
		return 0, fmt.Errorf("count unused chunks: %w", err)
	}
	bytes = d.packs.bytes(d.packs.complete())
	d.index.sweep(func(s *slot) bool {
		switch used := s.bits&marks != 0; {
		case used && s.pack != looseChunk:
			bytes -= s.size()
		case !used && s.pack == looseChunk:
			bytes += s.size()
		}
		return true
	})
	if err := d.tellUnread(unread); err != nil {
		return bytes, fmt.Errorf("count unused chunks: %w", err)
	}
	return max(0, bytes), nil // what is used lies in other packs too
}

// leaveBelow returns the number of the first pack that may be collected: what a
// checkpoint needs was in the packs that there were when its tree was found not to
// be readable any more, and those that GC has written since hold nothing of them.
func (d *Dir) leaveBelow(unread map[string]error) (from uint32) {
	maps.DeleteFunc(d.unread, func(id string, _ uint32) bool { return unread[id] == nil })
	for id := range unread {
		if _, known := d.unread[id]; !known {
			d.unread[id] = d.packs.next()
		}
		from = max(from, d.unread[id])
	}
	return from
}

// tellUnread names the checkpoints whose trees cannot be read.
func (d *Dir) tellUnread(unread map[string]error) error {
	var bad []error
	for _, id := range slices.Sorted(maps.Keys(unread)) {
		of := d.WorkloadOf(id)
		if of != "" {
			of = " of " + of
		}
		bad = append(bad, fmt.Errorf("checkpoint %.12s%s cannot be read, and nothing goes that was written before this was found: fetch it from a replica or delete it: %w", id, of, unread[id]))
		if len(bad) == 8 && len(unread) > 8 {
			bad = append(bad, fmt.Errorf("and %d others", len(unread)-8))
			break
		}
	}
	return errors.Join(bad...)
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
		s.bits &^= spared | visited | walked
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
// It returns the checkpoints that cannot be read, by ID, having visited what can be
// of them. With bad it reports them and which chunks are missing, and ignores what
// is held.
func (d *Dir) markAll(ctx context.Context, bad func(error)) (unread map[string]error, err error) {
	defer d.endMarking()
	ids, err := os.ReadDir(d.manifestPath(""))
	if err != nil {
		return nil, err
	}
	m := visitor{d: d, ctx: ctx, bad: bad, failed: make(map[hash]error)}
	unread = make(map[string]error)
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
		var r root
		if errors.Is(err, syscall.EIO) {
			err = corrupt(path, "%v", err)
		} else if err == nil {
			r, err = d.decodeRoot(path, b)
		}
		if err == nil && manifestID(b) != e.Name() {
			err = corrupt(path, "the content is not what the name says")
		}
		if err == nil {
			if err = m.root(r); err != nil {
				err = fmt.Errorf("manifest %s: %w", path, err)
			}
		}
		switch {
		case err == nil:
		case !errors.Is(err, ErrCorrupt):
			return nil, err
		case bad != nil:
			bad(fmt.Errorf("%w; restore it from a replica or delete it", err))
		default:
			unread[e.Name()] = err
		}
	}
	if bad != nil {
		return nil, nil
	}
	// What was held while the manifests were read may have been deleted before
	// its turn came. What is held from now on is listed, hence was read.
	for {
		roots := d.freshRoots()
		if len(roots) == 0 {
			return unread, nil
		}
		for _, r := range roots {
			if err := m.root(r); err != nil {
				return nil, fmt.Errorf("what a checkpoint under way relies on: %w; it is looked at again by the next GC", err)
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
	d      *Dir
	ctx    context.Context
	bad    func(error)    // nil: nobody wants to know
	failed map[hash]error // blocks of which something below cannot be read
	buf    []byte
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

// blocks visits blocks and what is below them. What cannot be read it leaves out,
// and returns the first such error when it has been everywhere.
func (m *visitor) blocks(level int, refs []ref) (unread error) {
	for _, f := range refs {
		if err := m.ctx.Err(); err != nil {
			return err
		}
		if before, ok := m.d.index.mark(f.hash, visited|walked); ok && before.bits&walked != 0 {
			unread = cmp.Or(unread, m.failed[f.hash])
			continue // and all below it
		}
		err := m.block(level, f)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			return err
		}
		if err != nil {
			m.failed[f.hash] = err
			unread = cmp.Or(unread, err)
		}
	}
	return unread
}

func (m *visitor) block(level int, f ref) (err error) {
	if m.buf, err = readBlock(m.buf, f, m.d.readChunk); err != nil {
		return err
	}
	if level > 0 {
		below, err := decodeIndex(m.buf, level)
		if err != nil {
			return corrupt("tree block "+f.hash.String(), "%v", err)
		}
		return m.blocks(level-1, below)
	}
	br := blockReader{part: true}
	if err := br.add(m.buf); err != nil {
		return corrupt("tree block "+f.hash.String(), "%v", err)
	}
	for _, e := range br.entries {
		m.extents(e.extents)
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
