package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"

	chunkers "github.com/PlakarKorp/go-cdc-chunkers"
	_ "github.com/PlakarKorp/go-cdc-chunkers/chunkers/fastcdc" // registers the algorithm
	"github.com/stratoswarm/forestall/internal/parallel"
)

// Files are cut at places that their content decides, so that what is inserted
// into one moves the cuts along with it (FastCDC, Xia et al. 2016).
const cutAlgorithm = "fastcdc-v1.0.0"

// cutting is one file on its way into chunks, which several workers may take
// from at once.
type cutting struct {
	content content
	entry   *entry
	pieces  [][]extent // of the entry, in order

	mu      sync.Mutex
	base    *base
	f       *os.File
	data    []PageRange       // where there is something and not a hole, what is before at left out
	chunker *chunkers.Chunker // of data[0], from at on; nil: none is begun
	at      int64             // how far it has been cut
	busy    int               // workers that have a chunk of it
	ended   bool
	err     error
}

// stretch is where a piece of a file is.
type stretch struct {
	i      int // among the pieces
	at, to int64
	hole   bool // and nothing was read
}

// take copies the next chunk into buf, unless a hole is next, and reserves its
// place. ok is false when there is none.
func (c *cutting) take(d *Dir, buf []byte) (piece []byte, p stretch, ok bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || c.err != nil {
		return buf, p, false, c.err
	}
	if c.f == nil {
		if err := c.open(d); err != nil {
			return buf, p, false, c.fail(err)
		}
	}
	p = stretch{i: len(c.pieces), at: c.at}
	if p.to, p.hole = c.hole(); !p.hole {
		if buf, err = c.next(d, buf); err != nil {
			return buf, p, false, c.fail(err)
		}
		p.to = c.at + int64(len(buf))
		if p.to == c.data[0].end() {
			c.data, c.chunker = c.data[1:], nil
		}
	}
	c.pieces = append(c.pieces, nil)
	c.at = p.to
	c.busy++
	c.ended = c.at == c.entry.size
	return buf, p, true, nil
}

// hole returns where the hole at c.at ends, if there is one.
func (c *cutting) hole() (end int64, ok bool) {
	if len(c.data) == 0 {
		return c.entry.size, true
	}
	return c.data[0].Offset, c.at < c.data[0].Offset
}

func (c *cutting) fail(err error) error {
	c.err = err
	c.close()
	return err
}

func (c *cutting) close() {
	if c.f != nil {
		c.f.Close()
		c.f = nil
	}
}

func (c *cutting) open(d *Dir) error {
	f, err := os.OpenFile(c.content.path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrChanged, err)
	}
	c.f, c.data = f, []PageRange{{0, c.entry.size}}
	if least := int64(d.opt.maxCut()); c.entry.size >= least {
		c.data = dataOf(f, c.entry.size, least)
	}
	return nil
}

// begin sets out to cut data[0], of which nothing is cut yet.
func (c *cutting) begin(d *Dir) (err error) {
	opt := &chunkers.ChunkerOpts{MinSize: d.opt.minCut(), NormalSize: d.opt.AverageCut, MaxSize: d.opt.maxCut()}
	if d.opt.Keys != nil {
		opt.Key = d.opt.Keys.CutKey()
	}
	c.chunker, err = chunkers.NewChunker(cutAlgorithm, io.NewSectionReader(c.f, c.at, c.data[0].Length), opt)
	return err
}

// next reads the chunk at c.at, which is in data[0], into buf.
func (c *cutting) next(d *Dir, buf []byte) ([]byte, error) {
	if n := c.data[0].Length; c.at == c.data[0].Offset && n <= int64(d.opt.minCut()) {
		buf = sized(buf, int(n))
		if n, err := c.f.ReadAt(buf, c.at); n < len(buf) {
			return buf, c.short(err)
		}
		return buf, nil
	}
	if c.chunker == nil {
		if err := c.begin(d); err != nil {
			return buf, err
		}
	}
	piece, err := c.chunker.Next()
	if len(piece) == 0 || c.at+int64(len(piece)) < c.data[0].end() && errors.Is(err, io.EOF) {
		return buf, c.short(err)
	}
	return append(buf[:0], piece...), nil
}

func (c *cutting) short(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %s became shorter", ErrChanged, c.entry.path)
	}
	return fmt.Errorf("read state: %w", err)
}

// put says where piece i went. The last one looks whether the file is still what
// it was.
func (c *cutting) put(i int, piece []extent) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pieces[i] = piece
	if c.busy--; c.busy > 0 || !c.ended || c.err != nil {
		return c.err
	}
	defer c.close()
	fi, err := c.f.Stat()
	if err != nil {
		return c.fail(fmt.Errorf("read state: %w", err))
	}
	if !c.content.seen.unchanged(fi) {
		return c.fail(fmt.Errorf("%w: %s was written to; freeze the workload or let its hook write aside and rename", ErrChanged, c.entry.path))
	}
	return nil
}

// reading is the files of a plan on their way into chunks. Of those that are not
// begun and of those that are done it keeps nothing, however many there are.
type reading struct {
	plan *plan
	used map[hash]uint64 // see newBase

	mu    sync.Mutex
	files []*cutting // by place in todo; nil: not begun
}

// done stands for a file that has its extents.
var done = new(cutting)

// file returns a file, begun if nobody has yet; nil when it has been read.
func (r *reading) file(i int) *cutting {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.files[i] {
	case done:
		return nil
	case nil:
		t := r.plan.todo[i]
		r.files[i] = &cutting{content: t, entry: &r.plan.m.entries[t.entry], base: newBase(t.base, r.used)}
	}
	return r.files[i]
}

// settle gives a file that has been read to its end its extents, unless it was
// patched: workers may still be filling chunks of its pages.
func (r *reading) settle(i int, c *cutting) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended || c.busy > 0 || c.err != nil || c.base != nil && c.base.hits > 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.files[i] == c {
		c.give()
		r.files[i] = done
	}
}

// give gives the file its extents.
func (c *cutting) give() {
	for _, piece := range c.pieces {
		for _, x := range piece {
			c.entry.extents = appendExtent(c.entry.extents, x)
		}
	}
}

// end closes what is open and gives the files that were not settled their extents.
func (r *reading) end() {
	for _, c := range r.files {
		if c != nil && c != done {
			c.close()
			c.give()
		}
	}
}

// readAll fills in the extents of every file in p.todo. Each worker cuts a file
// of its own as long as there are any, and then helps with those that others
// have begun.
func (d *Dir) readAll(ctx context.Context, p *plan) error {
	r := &reading{plan: p, used: usedInPart(p), files: make([]*cutting, len(p.todo))}
	defer r.end()
	var total int64
	for _, t := range p.todo {
		total += p.m.entries[t.entry].size
	}
	told := d.progress(StepRead, p.m.workload, total)
	defer told.end()
	workers := min(d.opt.Workers, d.chunksOf(p))
	return parallel.Do(ctx, workers, workers, func(ctx context.Context, w int) error {
		buf := d.bufs.Get().(*[]byte)
		defer d.bufs.Put(buf)
		patch := patcher{d: d, b: p.batch}
		for i := range r.files {
			i = (w*len(r.files)/workers + i) % len(r.files)
			c := r.file(i)
			if c == nil {
				continue
			}
			if err := d.readFrom(ctx, c, &patch, buf, told); err != nil {
				return err
			}
			r.settle(i, c)
		}
		return patch.flush()
	})
}

// chunksOf guesses how many chunks the files to be read have.
func (d *Dir) chunksOf(p *plan) (n int) {
	for _, t := range p.todo {
		n += 1 + int(p.m.entries[t.entry].size/int64(d.opt.AverageCut))
	}
	return n
}

// readFrom keeps chunks of a file until it has no more.
func (d *Dir) readFrom(ctx context.Context, c *cutting, p *patcher, buf *[]byte, done *advance) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		piece, at, ok, err := c.take(d, *buf)
		*buf = piece
		if err != nil || !ok {
			return err
		}
		var extents []extent
		if at.hole {
			if extents, err = p.zeros(at.to - at.at); errors.Is(err, ErrTooLarge) {
				err = fmt.Errorf("%s: %w", c.content.path, err)
			}
		} else {
			extents, err = d.keepPiece(c, p, piece, at.at)
		}
		if err != nil {
			return err
		}
		if err := c.put(at.i, extents); err != nil {
			return err
		}
		done.add(at.to - at.at)
	}
}

// keepPiece keeps a chunk of a file: as it is, if the store has it or most of it
// is new; otherwise what differs from the previous checkpoint.
func (d *Dir) keepPiece(c *cutting, p *patcher, piece []byte, at int64) ([]extent, error) {
	h := d.codec.sum(piece)
	if p.b.knows(h) {
		c.found(h, at)
	} else if len(piece) >= fromPatch {
		for _, moved := range c.movements() {
			if at-moved < 0 || at-moved >= c.base.size() {
				continue
			}
			extents, ok, err := p.patch(c.base, piece, at-moved)
			if err != nil {
				return nil, err
			}
			if ok {
				c.patched(moved)
				return extents, nil
			}
		}
	}
	if err := p.b.keep(h, piece, int(at%splitPage), p.b.enc); err != nil {
		return nil, err
	}
	return []extent{whole(ref{h, uint32(len(piece))})}, nil
}

// movements returns by how much what is in the base may have moved, the likeliest
// first; none when comparing is not worth it. It counts the attempt.
func (c *cutting) movements() []int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.base.worth() {
		return nil
	}
	c.base.tries++
	out := []int64{c.base.moved}
	for _, m := range []int64{c.entry.size - c.base.size(), 0} {
		if !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	return out
}

// patched notes that a chunk was patched, from content that had moved.
func (c *cutting) patched(moved int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base.hits++
	c.base.moved = moved
}

// found notes that the store has the chunk at that place.
func (c *cutting) found(h hash, at int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.base == nil {
		return
	}
	if was, ok := c.base.places[h]; ok {
		c.base.moved = at - was
	}
}
