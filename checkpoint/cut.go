package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	chunkers "github.com/PlakarKorp/go-cdc-chunkers"
	_ "github.com/PlakarKorp/go-cdc-chunkers/chunkers/fastcdc" // registers the algorithm
)

// Files are cut at places that their content decides, so that what is inserted
// into one moves the cuts along with it (FastCDC, Xia et al. 2016).
const cutAlgorithm = "fastcdc-v1.0.0"

// cutting is one file on its way into chunks, which several workers may take
// from at once.
type cutting struct {
	content content
	entry   *entry

	mu      sync.Mutex
	f       *os.File
	chunker *chunkers.Chunker // nil: the file is one chunk
	at      int64             // how far it has been cut
	busy    int               // workers that have a chunk of it
	ended   bool
	err     error
}

// take copies the next chunk into buf and reserves its place among the
// entry's extents. ok is false when there is none.
func (c *cutting) take(d *Dir, buf []byte) (piece []byte, i int, at int64, ok bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || c.err != nil {
		return buf, 0, 0, false, c.err
	}
	if c.f == nil {
		if err := c.open(d); err != nil {
			return buf, 0, 0, false, c.fail(err)
		}
	}
	if buf, err = c.next(buf); err != nil {
		return buf, 0, 0, false, c.fail(err)
	}
	i, at = len(c.entry.extents), c.at
	c.entry.extents = append(c.entry.extents, extent{})
	c.at += int64(len(buf))
	c.busy++
	c.ended = c.at == c.entry.size
	return buf, i, at, true, nil
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
	c.f = f
	if c.entry.size <= int64(d.opt.minCut()) {
		return nil
	}
	opt := &chunkers.ChunkerOpts{MinSize: d.opt.minCut(), NormalSize: d.opt.AverageCut, MaxSize: d.opt.maxCut()}
	if d.opt.Keys != nil {
		opt.Key = d.opt.Keys.CutKey()
	}
	c.chunker, err = chunkers.NewChunker(cutAlgorithm, io.LimitReader(f, c.entry.size), opt)
	return err
}

// next reads the chunk at c.at into buf.
func (c *cutting) next(buf []byte) ([]byte, error) {
	if c.chunker == nil {
		buf = sized(buf, int(c.entry.size))
		if n, err := c.f.ReadAt(buf, 0); n < len(buf) {
			return buf, c.short(err)
		}
		return buf, nil
	}
	piece, err := c.chunker.Next()
	if len(piece) == 0 || c.at+int64(len(piece)) < c.entry.size && errors.Is(err, io.EOF) {
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

// put says where the chunk with index i went. The last one looks whether the
// file is still what it was.
func (c *cutting) put(i int, f ref) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entry.extents[i] = whole(f)
	if c.busy--; c.busy > 0 || !c.ended || c.err != nil {
		return c.err
	}
	defer c.close()
	fi, err := c.f.Stat()
	if err != nil {
		return c.fail(fmt.Errorf("read state: %w", err))
	}
	if !c.content.unchanged(fi) {
		return c.fail(fmt.Errorf("%w: %s was written to; freeze the workload or let its hook write aside and rename", ErrChanged, c.entry.path))
	}
	return nil
}

// readAll fills in the extents of every file in p.todo. Each worker cuts a file
// of its own as long as there are any, and then helps with those that others
// have begun.
func (d *Dir) readAll(ctx context.Context, p *plan) error {
	files := make([]*cutting, len(p.todo))
	for i, t := range p.todo {
		files[i] = &cutting{content: t, entry: &p.m.entries[t.entry]}
	}
	defer func() {
		for _, c := range files {
			c.close()
		}
	}()
	workers := min(d.opt.Workers, d.chunksOf(p))
	return parallel(ctx, workers, workers, func(ctx context.Context, w int) error {
		buf := d.bufs.Get().(*[]byte)
		defer d.bufs.Put(buf)
		for i := range files {
			if err := d.readFrom(ctx, files[(w*len(files)/workers+i)%len(files)], p.batch, buf); err != nil {
				return err
			}
		}
		return nil
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
func (d *Dir) readFrom(ctx context.Context, c *cutting, b *batch, buf *[]byte) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		piece, i, at, ok, err := c.take(d, *buf)
		*buf = piece
		if err != nil || !ok {
			return err
		}
		h, err := b.addAt(piece, int(at%splitPage))
		if err != nil {
			return err
		}
		if err := c.put(i, ref{h, uint32(len(piece))}); err != nil {
			return err
		}
	}
}
