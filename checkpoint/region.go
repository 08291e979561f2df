package checkpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/internal/parallel"
)

// Regions says what to save of memory regions, or of large files rewritten in
// place, whose changes are known.
type Regions struct {
	Workload string
	Epoch    forestall.Epoch // of the run that wrote the state
	Sequence uint64          // 0: one more than the newest of the workload in this store
	Label    string          // at most 1 KiB
	Time     time.Time       // the moment whose state it holds; zero: now
	Pause    time.Duration   // how long the workload stood still for it
	Level    int             // as in [Snapshot]
	Base     string          // ID of the checkpoint that Region.Dirty refers to; "": every byte is read
	Verify   bool            // as [Snapshot.Verify]; of sparse regions with a base the error then wraps [ErrCorrupt]
	Regions  []Region
}

// Region is one of the regions. In the checkpoint it is a file.
type Region struct {
	Name  string // of the file: no slash; unique
	Size  int64  // bytes
	Dirty []PageRange
	Level int // as in [Snapshot]; 0: that of Regions
	// Content is read at the dirty ranges, from several goroutines at once. It
	// must stand still until SaveRegions returns.
	Content io.ReaderAt
	// Sparse says that Content has nothing but the dirty ranges, because the
	// region goes on changing. Where more is to be written, it is then taken from
	// the base; when chunks of that were lost, the error wraps [ErrCorrupt]: save
	// without a base, with all of the content.
	Sparse bool
}

// SaveRegions keeps regions as a checkpoint of their own, whole to restore like
// any other: of each region that Base has under the same name only the dirty
// ranges are read and written, packed densely, everything else is shared with
// it; what lies beyond the base's size is dirty without being listed. A base
// that is not in the store wraps [ErrNotFound]: save without one. Ranges whose
// chunks were lost or rotted are read again, unless the content is sparse.
// Other errors are those of [Dir.Save].
func (d *Dir) SaveRegions(ctx context.Context, r Regions) (forestall.Checkpoint, error) {
	cp, err := d.saveRegions(ctx, r)
	if err != nil {
		return forestall.Checkpoint{}, fmt.Errorf("checkpoint regions of %s: %w", r.Workload, err)
	}
	return cp, nil
}

func (d *Dir) saveRegions(ctx context.Context, r Regions) (cp forestall.Checkpoint, err error) {
	p, err := d.planCheckpoint(header{workload: r.Workload, epoch: r.Epoch, sequence: r.Sequence, label: r.Label, pause: max(0, r.Pause)}, r.Time, r.Level, r.Verify)
	if err != nil {
		return cp, err
	}
	defer p.end()
	base, err := d.baseRegions(ctx, r.Base, p.batch)
	if err != nil {
		return cp, err
	}
	p.m.entries = []entry{{path: ".", kind: kindDir, mode: 0o700, mtime: p.m.time}}
	for _, region := range sortedRegions(r.Regions) {
		if err := region.validate(); err != nil {
			return cp, err
		}
		if region.Name == p.m.entries[len(p.m.entries)-1].path {
			return cp, fmt.Errorf("two regions are named %q", region.Name)
		}
		e := entry{path: region.Name, kind: kindFile, mode: 0o600, mtime: p.m.time, size: region.Size}
		if e.extents, err = d.saveRegion(ctx, region, base, p.batch); err != nil {
			return cp, fmt.Errorf("region %q: %w", region.Name, err)
		}
		p.m.entries = append(p.m.entries, e)
		p.m.size += region.Size
	}
	return d.finish(ctx, p)
}

func (r Region) validate() error {
	switch {
	case checkEntryPath(r.Name) != nil || strings.Contains(r.Name, "/"):
		return fmt.Errorf("%w: region %.200q: its name must be that of a file, without a slash", ErrUnsafePath, r.Name)
	case r.Size < 0:
		return fmt.Errorf("region %q: size %d is negative", r.Name, r.Size)
	case r.Content == nil && r.Size > 0:
		return fmt.Errorf("region %q: Content is nil", r.Name)
	}
	return nil
}

// saveRegion returns the extents of a region, having written what base lacks.
func (d *Dir) saveRegion(ctx context.Context, r Region, base map[string]baseFile, b *batch) ([]extent, error) {
	old, ok := base[r.Name]
	if r.Sparse && len(old.lost) > 0 {
		return nil, corrupt(r.Name, "%d ranges of the base were lost, the first at %d; save without a base", len(old.lost), old.lost[0].Offset)
	}
	content, dirty := r.Content, []PageRange{{0, r.Size}}
	if ok {
		dirty = append(append([]PageRange{}, r.Dirty...), old.lost...)
		if grown := r.Size - old.size; grown > 0 {
			dirty = append(dirty, PageRange{old.size, grown})
		}
	}
	dirty, err := normalize(dirty, r.Size)
	if err != nil {
		return nil, err
	}
	kept := keep(old.extents, dirty, r.Size)
	if more := thin(kept); len(more) > 0 {
		if r.Sparse {
			if content, err = d.complete(ctx, content, kept, more); err != nil {
				return nil, err
			}
		}
		if dirty, err = normalize(append(dirty, more...), r.Size); err != nil {
			return nil, err
		}
		kept = keep(old.extents, dirty, r.Size)
	}
	enc := b.enc
	if r.Level != 0 {
		if enc, err = d.codec.encoder(r.Level); err != nil {
			return nil, err
		}
	}
	written, err := d.writeRanges(ctx, content, dirty, b, enc)
	if err != nil {
		return nil, err
	}
	return overlay(kept, written)
}

// writeRanges keeps the ranges of content in chunks: what fills an aligned
// chunk gets one of its own, the rest is packed together.
func (d *Dir) writeRanges(ctx context.Context, content io.ReaderAt, ranges []PageRange, b *batch, enc *zstd.Encoder) ([]placed, error) {
	jobs := packRanges(ranges, int64(d.opt.ChunkSize))
	done := make([][]placed, len(jobs))
	err := parallel.Do(ctx, d.opt.Workers, len(jobs), func(ctx context.Context, i int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		buf := d.bufs.Get().(*[]byte)
		defer d.bufs.Put(buf)
		*buf = (*buf)[:0]
		for _, r := range jobs[i] {
			var err error
			if *buf, err = appendAt(*buf, content, r); err != nil {
				return err
			}
		}
		h, err := b.addWith(enc, *buf)
		if err != nil {
			return err
		}
		f, offset := ref{h, uint32(len(*buf))}, uint32(0)
		for _, r := range jobs[i] {
			done[i] = append(done[i], placed{extent{f, offset, uint32(r.Length)}, r.Offset})
			offset += uint32(r.Length)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return inOrder(done), nil
}

// appendAt appends a range of content to buf.
func appendAt(buf []byte, content io.ReaderAt, r PageRange) ([]byte, error) {
	n := len(buf)
	buf = append(buf, make([]byte, r.Length)...)
	got, err := content.ReadAt(buf[n:], r.Offset)
	if got == int(r.Length) {
		return buf, nil
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: the region ended at %d", ErrChanged, r.Offset+int64(got))
	}
	return buf, fmt.Errorf("read %d bytes at %d: %w", r.Length, r.Offset, err)
}

// packRanges groups sorted ranges into the contents of chunks of at most size
// bytes.
func packRanges(ranges []PageRange, size int64) (chunks [][]PageRange) {
	var (
		open  []PageRange
		bytes int64
	)
	for _, r := range ranges {
		for r.Length > 0 {
			if r.Offset%size == 0 && r.Length >= size {
				chunks = append(chunks, []PageRange{{r.Offset, size}})
				r.Offset, r.Length = r.Offset+size, r.Length-size
				continue
			}
			n := min(r.Length, size-r.Offset%size, size-bytes)
			open, bytes = append(open, PageRange{r.Offset, n}), bytes+n
			r.Offset, r.Length = r.Offset+n, r.Length-n
			if bytes == size {
				chunks, open, bytes = append(chunks, open), nil, 0
			}
		}
	}
	if len(open) > 0 {
		chunks = append(chunks, open)
	}
	return chunks
}

// inOrder returns what the jobs wrote, by place.
func inOrder(done [][]placed) []placed {
	out := slices.Concat(done...)
	slices.SortFunc(out, func(a, b placed) int { return cmp.Compare(a.at, b.at) })
	return out
}

func sortedRegions(regions []Region) []Region {
	return slices.SortedFunc(slices.Values(regions), func(a, b Region) int { return cmp.Compare(a.Name, b.Name) })
}

// baseFile is a file of the checkpoint that a region is saved against.
type baseFile struct {
	size    int64
	extents []extent
	lost    []PageRange // whose chunks are not in the store
}

// baseRegions returns the files of a checkpoint, their chunks held by b.
func (d *Dir) baseRegions(ctx context.Context, id string, b *batch) (map[string]baseFile, error) {
	if id == "" {
		return nil, nil
	}
	m, err := d.holdManifest(id, b.hold)
	if err != nil {
		return nil, fmt.Errorf("base: %w", err)
	}
	if d.opt.Keys != nil && !m.sealed {
		return nil, fmt.Errorf("base: %w: checkpoint %.12s is not encrypted, and what is saved from now on must not lean on it", ErrNotFound, id)
	}
	if err := b.rely.all(ctx, m.hashes); err != nil {
		return nil, err
	}
	files := make(map[string]baseFile)
	for _, e := range m.entries {
		if e.kind != kindFile {
			continue
		}
		f := baseFile{size: e.size, extents: e.extents}
		var at int64
		for _, x := range e.extents {
			if ok, err := b.rely.on(x.hash); err != nil {
				return nil, err
			} else if !ok {
				f.lost = append(f.lost, PageRange{at, int64(x.length)})
			}
			at += int64(x.length)
		}
		files[e.path] = f
	}
	return files, nil
}

// ReadFile writes the content of one file or region of a checkpoint to w, from
// several goroutines at once, each byte verified before it is written, and
// returns its size. Errors wrap [ErrNotFound], also when the checkpoint has no
// such file, and [ErrCorrupt]; after one, what w holds is not defined.
func (d *Dir) ReadFile(ctx context.Context, id, name string, w io.WriterAt) (int64, error) {
	h := d.newHold()
	defer h.release()
	r, err := d.loadRoot(id)
	if err != nil {
		return 0, fmt.Errorf("read %q: %w", name, err)
	}
	if err := h.checkpoint(id, r); err != nil {
		return 0, fmt.Errorf("read %q: %w", name, err)
	}
	e, ok, err := r.findFile(name, d.readChunk)
	if err != nil {
		return 0, fmt.Errorf("read %q: manifest %s: %w", name, d.manifestPath(id), err)
	}
	if !ok {
		return 0, fmt.Errorf("%w: checkpoint %.12s of %s has no file %.200q", ErrNotFound, id, r.workload, name)
	}
	uses := usesOf([]entry{e})
	err = parallel.Do(ctx, d.opt.Workers, len(uses), func(ctx context.Context, i int) error {
		return d.writeUse(ctx, uses[i], func(_ int, b []byte, at int64) error {
			_, err := w.WriteAt(b, at)
			return err
		})
	})
	if err != nil {
		return 0, fmt.Errorf("read file %q of checkpoint %.12s of %s: %w", name, id, r.workload, err)
	}
	return e.size, nil
}
