package checkpoint

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sort"

	"github.com/stratoswarm/forestall/internal/parallel"
)

// completed is sparse content with the pieces of the base that it lacks.
type completed struct {
	io.ReaderAt
	pieces []basePiece // ascending and apart
}

// basePiece is a piece of a region, from its base.
type basePiece struct {
	at    int64
	bytes []byte
}

func (p basePiece) end() int64 { return p.at + int64(len(p.bytes)) }

// complete reads those of the kept extents that lie in the ranges from the
// store, each chunk once, and returns content with them.
func (d *Dir) complete(ctx context.Context, content io.ReaderAt, kept []placed, ranges []PageRange) (io.ReaderAt, error) {
	wanted := make(map[PageRange]bool, len(ranges))
	for _, r := range ranges {
		wanted[r] = true
	}
	c := &completed{ReaderAt: content}
	byChunk := make(map[hash][]int) // pieces, by the chunk that they are in
	var extents []extent
	for _, p := range kept {
		if !wanted[PageRange{p.at, int64(p.length)}] {
			continue
		}
		byChunk[p.hash] = append(byChunk[p.hash], len(c.pieces))
		c.pieces = append(c.pieces, basePiece{at: p.at})
		extents = append(extents, p.extent)
	}
	chunks := make([]hash, 0, len(byChunk))
	for h := range byChunk {
		chunks = append(chunks, h)
	}
	err := parallel.Do(ctx, d.opt.Workers, len(chunks), func(_ context.Context, i int) error {
		buf := d.bufs.Get().(*[]byte)
		defer d.bufs.Put(buf)
		chunk, err := d.readChunk((*buf)[:0], chunks[i])
		if err != nil {
			return fmt.Errorf("base: %w", err)
		}
		*buf = chunk
		for _, p := range byChunk[chunks[i]] {
			x := extents[p]
			if int64(x.offset)+int64(x.length) > int64(len(chunk)) {
				return corrupt(chunks[i].String(), "holds %d bytes, %d at %d are wanted", len(chunk), x.length, x.offset)
			}
			c.pieces[p].bytes = slices.Clone(chunk[x.offset : x.offset+x.length])
		}
		return nil
	})
	return c, err
}

// ReadAt reads pieces of the base where there are, content elsewhere.
func (c *completed) ReadAt(b []byte, off int64) (n int, err error) {
	i := sort.Search(len(c.pieces), func(i int) bool { return c.pieces[i].end() > off })
	for n < len(b) {
		at := off + int64(n)
		if i < len(c.pieces) && c.pieces[i].at <= at {
			n += copy(b[n:], c.pieces[i].bytes[at-c.pieces[i].at:])
			i++
			continue
		}
		end := len(b)
		if i < len(c.pieces) {
			end = int(min(int64(end), c.pieces[i].at-off))
		}
		m, err := c.ReaderAt.ReadAt(b[n:end], at)
		n += m
		if n < end {
			return n, err
		}
	}
	return n, nil
}
