package checkpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"
)

// When a pack is written anew.
const (
	deadShare  = 3  // a third of it is dead
	smallShare = 8  // it is smaller than an eighth of a full one, and
	smallFew   = 8  // there are as many such, together half as large as a full one,
	smallMany  = 32 // or as many whatever they hold
)

// repack removes the packs without live chunks and writes anew those that are
// worth it. live says how many bytes of each pack are in use; packs that it was
// not told of are left alone. For limit see collect.
func (d *Dir) repack(ctx context.Context, numbers []uint32, live map[uint32]int64, limit int64) (freed int64, err error) {
	var (
		worn, small, rest []uint32
		smallBytes, kept  int64 // kept: of packs once the worn ones have no dead bytes
	)
	dead := make(map[uint32]int64)
	for _, n := range numbers {
		p, ok := d.packs.get(n)
		if !ok {
			continue
		}
		switch {
		case live[n] == 0:
			if err := d.removePack(n, p); err != nil {
				return freed, err
			}
			freed += p.size
		case p.broken || (p.data-live[n])*deadShare >= p.data:
			worn = append(worn, n)
			kept += live[n]
		case p.size*smallShare < d.opt.PackSize:
			small = append(small, n)
			smallBytes += p.size
			kept += p.size
		default:
			rest = append(rest, n)
			kept += p.size
		}
		dead[n] = p.data - live[n]
	}
	if len(small) >= smallMany || len(small) >= smallFew && smallBytes*2 >= d.opt.PackSize {
		worn = append(worn, small...)
	} else {
		rest = append(rest, small...)
	}
	if limit > 0 {
		slices.SortFunc(rest, func(a, b uint32) int { return cmp.Compare(dead[b], dead[a]) })
		for _, n := range rest {
			if kept <= limit || dead[n] == 0 {
				break
			}
			worn = append(worn, n)
			kept -= dead[n]
		}
	}
	var total int64
	for _, n := range worn {
		total += live[n]
	}
	r := repacking{d: d, told: d.progress(StepRepack, "", total)}
	defer r.told.end()
	defer r.end()
	var unread []error
	for _, n := range worn {
		err := r.copy(ctx, n)
		if errors.Is(err, errPackUnread) {
			unread = append(unread, err) // the others are not in its way
			continue
		}
		if err != nil {
			return freed + r.freed, err
		}
	}
	err = r.commit()
	return freed + r.freed, errors.Join(append(unread, err)...)
}

// errPackUnread: a pack cannot be read just now, and is left as it is.
var errPackUnread = errors.New("a pack cannot be written anew")

// removePack forgets a pack and removes its file; what is damaged is put aside.
func (d *Dir) removePack(number uint32, p packFile) error {
	d.packs.remove(number)
	path := d.packs.path(p.id)
	var err error
	if p.broken {
		err = d.fs.Rename(path, filepath.Join(d.path, rotDir, "pack-"+p.id.String()))
	} else {
		err = d.fs.Remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// repacking writes the live chunks of some packs into others.
type repacking struct {
	d     *Dir
	told  *advance
	out   *packWriter
	moves []move
	done  []uint32 // packs whose live chunks are all copied
	freed int64
}

// move is a chunk that was copied.
type move struct {
	from uint32
	to   packChunk
}

// copy copies the live chunks of a pack.
func (r *repacking) copy(ctx context.Context, number uint32) error {
	p, ok := r.d.packs.get(number)
	if !ok {
		return nil
	}
	chunks, err := r.d.packChunks(p)
	if errors.Is(err, ErrCorrupt) {
		r.d.opt.Logger.Error("pack is damaged; what can be read of it is kept", "error", err)
		r.d.packs.damaged(number, p.size)
		p.broken = true
		chunks, err = r.d.packChunks(p)
	}
	if errors.Is(err, fs.ErrNotExist) {
		r.d.cutPack(number)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errPackUnread, err)
	}
	for _, c := range chunks {
		if err := ctx.Err(); err != nil {
			return err
		}
		s, ok := r.d.index.get(c.hash)
		if !ok || s.pack != number || s.at != c.at {
			continue
		}
		entry := make([]byte, c.size)
		_, bad, err := r.d.packs.entry(number, entry, int64(c.at), c.hash)
		if errors.Is(err, syscall.EIO) || errors.Is(err, io.EOF) {
			entry, bad = nil, err
		}
		if bad != nil {
			r.d.opt.Logger.Error("chunk is rotten", "error", r.d.rotten(c.hash, s, entry, bad))
			continue
		}
		if err != nil {
			return fmt.Errorf("%w: read %s: %w", errPackUnread, r.d.where(c.hash, s), err)
		}
		if err := r.append(c.hash, entry, number); err != nil {
			return err
		}
		if err := r.d.pace.wait(ctx, 2*len(entry)); err != nil {
			return err
		}
	}
	r.done = append(r.done, number)
	return nil
}

func (r *repacking) append(h hash, entry []byte, from uint32) error {
	if r.out == nil {
		var err error
		if r.out, err = r.d.newPack(); err != nil {
			return err
		}
	}
	c, full := r.out.reserve(h, len(entry))
	if err := r.out.write(c, entry); err != nil {
		return err
	}
	r.moves = append(r.moves, move{from, c})
	r.told.add(int64(len(entry)))
	if full {
		return r.commit()
	}
	return nil
}

// commit makes what was copied durable, lets readers go there, and removes the
// packs of which nothing is needed any more.
func (r *repacking) commit() error {
	if r.out != nil {
		p := &batchPack{packWriter: r.out}
		r.out = nil
		if p.id, p.err = p.seal(); p.err != nil {
			p.discard()
			return p.err
		}
		if err := r.d.publishFiles([]*batchPack{p}); err != nil {
			return err
		}
		number := r.d.packs.add(p.file())
		for _, m := range r.moves {
			r.d.index.move(m.to.hash, m.from, number, m.to.at)
		}
		r.d.packs.indexed(number)
		r.moves = nil
		r.freed -= p.size
	}
	for _, n := range r.done {
		p, ok := r.d.packs.get(n)
		if !ok {
			continue
		}
		if err := r.d.removePack(n, p); err != nil {
			return err
		}
		r.freed += p.size
	}
	r.done = nil
	return nil
}

// end removes what was not committed.
func (r *repacking) end() {
	if r.out != nil {
		r.out.discard()
	}
}

// packChunks lists the chunks of a pack.
func (d *Dir) packChunks(p packFile) ([]packChunk, error) {
	path := d.packs.path(p.id)
	if p.broken {
		b, _, err := d.readAround(path)
		return salvage(b), err
	}
	chunks, _, err := d.readPackEnd(path)
	return chunks, err
}
