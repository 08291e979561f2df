package checkpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/stratoswarm/forestall/internal/parallel"
	"github.com/zeebo/xxh3"
)

// A changed file is copied in two steps: once while the workload goes on, and
// then, while it stands still, only what has changed since. A file whose times
// show that it was left alone is not looked at a second time. Any other is read
// again, since no kernel says which pages of a file were written, but compared
// with the sums of the first copy, of groups of pages first, and only pages that
// differ are copied: into memory as long as the workload stands still.
//
// Where the sums of the previous checkpoint are known, pages that it has are not
// copied at all, and the file is saved as that checkpoint's with the others laid
// over, as a region is.

const (
	fromPages  = 1 << 20 // shorter files are copied and cut whole
	pieceSize  = 1 << 20 // of a file, which one worker compares
	pageSize   = splitPage
	groupSize  = 64 << 10 // of pages, which are compared at once first: each call of the hash costs as much as 2 KiB
	lateBytes  = 32 << 20 // of pages that are kept in memory while the workload stands still
	mostMapped = 4 << 10  // files that are mapped at once: a process has 65,530 mappings as a rule, and the runtime cannot do without more
	mostPages  = 4 << 20  // that have sums, 64 MiB of them for 16 GiB of files; what is beyond is copied whole
	// tick is longer than the steps in which file systems count time.
	tick = 100 * time.Millisecond
)

// aside is the copy of a changed file, or of its pages.
type aside struct {
	name  string // of the file, in the tree
	from  string // where it is
	path  string // of the copy
	seen  seen
	size  int64
	sums  []xxh3.Uint128 // by page, what base and copy together have
	known int            // pages that have one
	group []groupSum     // by group of pages, from Precopy to Freeze
	dirty []bool         // by page: the copy has it
	based bool           // pages that are not dirty are the previous checkpoint's
	saved bool           // the checkpoint has it
	torn  atomic.Bool    // a piece could not be read while the workload went on

	mapping  []byte // the file, from Precopy to Freeze
	mappedAs ident

	rested bool // the copy is complete, and writes since have moved the file's times
	ident  ident
	mtime  int64
}

// asideOf returns the aside of a file that changed; nil when there are too many
// pages: such a file is copied whole.
func (s *Staged) asideOf(c *content) *aside {
	name, size := s.plan.m.entries[c.entry].path, c.seen.size
	a, had := s.asides[name], 0
	if a == nil {
		a = &aside{name: name, from: c.path, path: s.nextCopy(), seen: c.seen}
		was := s.prev.file(name)
		if k, ok := s.known[name]; ok && len(was.extents) > 0 && was.size == k.size {
			a.sums, a.known, a.based = slices.Clone(k.pages), len(k.pages), true
			a.dirty = make([]bool, len(k.pages))
		}
	} else {
		had = len(a.sums)
		if a.from == c.path {
			a.name, a.from = name, c.path // equal strings, but those of the scan that is kept
		}
	}
	n := int((size + pageSize - 1) / pageSize)
	if s.pages-had+n > mostPages {
		s.pages -= had
		a.unmap()
		delete(s.asides, name)
		return nil
	}
	s.pages += n - had
	s.asides[name] = a
	if size != a.size {
		a.size, a.rested = size, false
		a.sums, a.dirty = resized(a.sums, n), resized(a.dirty, n)
		a.group = resized(a.group, int((size+groupSize-1)/groupSize))
		a.known = min(a.known, n)
	}
	return a
}

// largest returns the n largest of those that are worth comparing page by page.
func largest(asides map[string]*aside, n int) (out []*aside) {
	for _, a := range asides {
		if a.size >= fromPages {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b *aside) int { return cmp.Or(cmp.Compare(b.size, a.size), cmp.Compare(a.name, b.name)) })
	return out[:min(n, len(out))]
}

// groupSum is that of what base and copy together have of a group.
type groupSum struct {
	sum   xxh3.Uint128
	known bool
}

func resized[T any](s []T, n int) []T {
	if n <= len(s) {
		return s[:n]
	}
	return append(s, make([]T, n-len(s))...)
}

// still reports whether the file is what it was when it was copied.
func (a *aside) still(l seen) bool {
	return a.rested && l.size == a.size && l.mtime == a.mtime && l.ident == a.ident
}

// copyPages brings asides up to date. held: the workload stands still, and a file
// that is written to nevertheless is an error.
func (s *Staged) copyPages(ctx context.Context, list []*aside, workers int, held bool) error {
	if !held {
		for _, a := range list {
			a.settle(s.d.opt.Now(), s.trust)
		}
	}
	if err := s.eachPiece(ctx, list, workers, held, (*piece).compare); err != nil {
		return err
	}
	var rest []*aside
	for _, a := range list {
		a.known = len(a.sums)
		if !s.inPlace(a) && slices.Contains(a.dirty, false) {
			rest = append(rest, a)
		}
	}
	if err := s.eachPiece(ctx, rest, workers, held, (*piece).complete); err != nil {
		return err
	}
	for _, a := range list {
		if a.torn.Swap(false) {
			a.rested = false
		}
	}
	return nil
}

// eachPiece visits the pieces of the files and calls do for each.
func (s *Staged) eachPiece(ctx context.Context, list []*aside, workers int, held bool, do func(*piece) error) error {
	type place struct {
		a  *aside
		at int64
	}
	var pieces []place
	for _, a := range list {
		for at := int64(0); at < a.size; at += pieceSize {
			pieces = append(pieces, place{a, at})
		}
	}
	return parallel.Do(ctx, workers, len(pieces), func(ctx context.Context, i int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		buf := s.d.bufs.Get().(*[]byte)
		defer s.d.bufs.Put(buf)
		a := pieces[i].a
		*buf = sized(*buf, int(min(pieceSize, a.size-pieces[i].at)))
		p := piece{a: a, at: pieces[i].at, buf: *buf, seed: s.d.pages.seed, late: &s.late}
		err := p.visit(held, do)
		if err != nil && !held && errors.Is(err, ErrChanged) {
			a.torn.Store(true) // Freeze looks again
			return nil
		}
		return err
	})
}

// settle notes what the file looks like, and whether every write from now on will
// show in its times. A write through a mapping shows only when its page is
// clean: what is dirty is written to the disk first, and nothing must have been
// dirtied since. Short files are not worth that: they must have rested.
func (a *aside) settle(now time.Time, t trust) {
	a.rested = false
	f, err := openState(a.from)
	if err != nil {
		return
	}
	defer f.Close()
	before := now.Add(-t.quiet)
	if a.size >= fromPages {
		if f.Sync() != nil {
			return
		}
		before = now.Add(-tick)
	}
	fi, err := f.Stat()
	if err != nil {
		return
	}
	a.ident, a.mtime = identOf(fi), fi.ModTime().UnixNano()
	a.rested = t.of(a.ident) && a.ident.ctime < before.UnixNano() && fi.Size() == a.size
}

// inPlace reports whether the file was rewritten in place, so that laying its
// dirty pages over the previous checkpoint's file is best. Where something was
// inserted, cutting it by content finds what has moved.
func (s *Staged) inPlace(a *aside) bool {
	if !a.based || a.size < fromPages {
		return false
	}
	n := 0
	for _, d := range a.dirty {
		if d {
			n++
		}
	}
	was := s.prev.file(a.name).size
	common := int(min(a.size, was)/pageSize) - 1
	return n*4 <= len(a.dirty) && (a.size == was || common >= 0 && !a.dirty[common])
}

// lookIn finds the dirty pages of a clone.
func (s *Staged) lookIn(ctx context.Context, c *content) error {
	fi, err := os.Lstat(c.path)
	if err != nil {
		return err
	}
	if fi.Size() < fromPages {
		return nil
	}
	a := s.asideOf(&content{entry: c.entry, path: c.path, seen: seenAs(fi)})
	if a == nil {
		return nil
	}
	a.from, a.path, a.seen = c.path, c.path, seen{}
	c.aside = a
	return s.copyPages(ctx, []*aside{a}, s.d.opt.Workers, true)
}

// savePages saves a file as the previous checkpoint's with the dirty pages laid
// over.
func (s *Staged) savePages(ctx context.Context, c content) error {
	a, e, was := c.aside, &s.plan.m.entries[c.entry], s.prev.file(c.aside.name)
	dirty := a.ranges()
	f, err := os.Open(a.path)
	if err != nil && (len(dirty) > 0 || !errors.Is(err, fs.ErrNotExist)) {
		return err
	}
	defer f.Close()
	base := map[string]baseFile{"f": {size: was.size, extents: was.extents}}
	r := Region{Name: "f", Size: a.size, Dirty: dirty, Content: asidePages{f, dirty}, Sparse: true}
	if e.extents, err = s.d.saveRegion(ctx, r, base, s.plan.batch); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(s.source, a.name), err)
	}
	return nil
}

// ranges returns the dirty pages, ascending and apart.
func (a *aside) ranges() (out []PageRange) {
	for i, d := range a.dirty {
		if d {
			at := int64(i) * pageSize
			out = append(out, PageRange{at, min(pageSize, a.size-at)})
		}
	}
	return joined(out)
}

// asidePages reads the dirty pages of a copy, and nothing else: it has holes.
type asidePages struct {
	io.ReaderAt
	dirty []PageRange
}

func (p asidePages) ReadAt(b []byte, off int64) (int, error) {
	i := sort.Search(len(p.dirty), func(i int) bool { return p.dirty[i].end() > off })
	if i == len(p.dirty) || off < p.dirty[i].Offset || off+int64(len(b)) > p.dirty[i].end() {
		return 0, fmt.Errorf("%d bytes at %d were not copied", len(b), off)
	}
	return p.ReaderAt.ReadAt(b, off)
}

// openState opens a file of the source for reading.
func openState(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}
