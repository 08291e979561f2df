package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/stratoswarm/forestall/internal/parallel"
)

// What a checkpoint promises about the chunks that it did not write: this store
// wrote and synced them once; their pack is there, whole in length, and nobody
// has touched its file since this process verified its index or wrote it; and
// nothing that was ever found damaged is among them. That the disk still gives
// back what it was given only reading tells, as a scrub does in its time, and
// the checkpoint itself when [Snapshot.Verify] or [Regions.Verify] is set.

// reliance decides for one checkpoint, or one request of a peer, on which of
// the store's chunks it may rely. Who asks holds the chunk.
type reliance struct {
	d      *Dir
	verify bool // read each chunk, and do not only look at its pack

	packs  sync.Mutex
	looked map[uint32]error // by number; while a pack is being looked at, packs is locked

	mu   sync.Mutex
	seen map[hash]bool // chunks that cost something to ask about
}

func (d *Dir) relies(verify bool) *reliance {
	return &reliance{d: d, verify: verify, looked: make(map[uint32]error), seen: make(map[hash]bool)}
}

// on reports whether the chunk is in the store and may be relied on. What it
// finds damaged the store no longer has. The error says that this could not be
// found out.
func (r *reliance) on(h hash) (bool, error) {
	s, known := r.d.index.get(h)
	if !known {
		return false, nil
	}
	if s.pack != looseChunk {
		if err := r.look(s.pack); err != nil {
			return false, err
		}
		if !r.verify {
			return r.d.has(h), nil
		}
	}
	r.mu.Lock()
	ok, asked := r.seen[h]
	r.mu.Unlock()
	if asked {
		return ok, nil
	}
	ok, err := r.ask(h)
	if err != nil {
		return false, err
	}
	r.mu.Lock()
	r.seen[h] = ok
	r.mu.Unlock()
	return ok, nil
}

// ask looks at a chunk's own file, or reads and verifies it.
func (r *reliance) ask(h hash) (bool, error) {
	if !r.verify {
		return r.d.has(h), nil
	}
	buf := r.d.bufs.Get().(*[]byte)
	defer r.d.bufs.Put(buf)
	content, err := r.d.readChunk((*buf)[:0], h)
	if errors.Is(err, ErrCorrupt) {
		r.d.opt.Logger.Error("a chunk that the checkpoint needs is damaged, and is written anew", "error", err)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	*buf = content
	return true, nil
}

// look looks at a pack once.
func (r *reliance) look(number uint32) error {
	r.packs.Lock()
	defer r.packs.Unlock()
	err, done := r.looked[number]
	if !done {
		err = r.d.checkPack(number)
		r.looked[number] = err
	}
	return err
}

// all asks about many chunks at once, where asking takes reading.
func (r *reliance) all(ctx context.Context, list func() []hash) error {
	if !r.verify {
		return nil
	}
	hashes := list()
	return parallel.Do(ctx, r.d.opt.Workers, len(hashes), func(ctx context.Context, i int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := r.on(hashes[i])
		return err
	})
}

// checkPack looks whether a pack's file is as it was. What was in one that has
// gone or was cut off is forgotten; one that somebody has touched is read from
// end to end, and what is damaged put aside.
func (d *Dir) checkPack(number uint32) error {
	d.cutPack(number)
	p, known := d.packs.get(number)
	if !known {
		return nil
	}
	fi, err := os.Stat(d.packs.path(p.id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // GC has just removed it
	}
	if err != nil {
		return fmt.Errorf("look at pack: %w", err)
	}
	if identOf(fi) == p.ident {
		return nil
	}
	d.opt.Logger.Warn("a pack was touched by somebody else; all of it is verified", "path", d.packs.path(p.id))
	var r ScrubReport
	return d.scrubPack(context.Background(), number, p, &r, func(context.Context, int) error { return nil })
}

// cutPack forgets what was in a pack whose file has gone or was cut off.
func (d *Dir) cutPack(number uint32) {
	p, known := d.packs.get(number)
	if !known {
		return // GC has removed it
	}
	fi, err := os.Stat(d.packs.path(p.id))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, known = d.packs.get(number); known {
			d.packs.remove(number)
			d.index.sweep(func(s *slot) bool { return s.pack != number })
			d.wholes.lost()
		}
	case err == nil && fi.Size() < p.size:
		d.packs.damaged(number, fi.Size())
		d.index.sweep(func(s *slot) bool { return s.pack != number || int64(s.at)+s.size() <= fi.Size() })
		d.wholes.lost()
	}
}
