package checkpoint

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"unsafe"

	"github.com/zeebo/xxh3"
)

// piece is a piece of a file.
type piece struct {
	a       *aside
	at      int64
	buf     []byte // of its length
	content []byte // what the file has, in buf or mapped, where it may still change
	seed    uint64
	held    bool     // the workload stands still
	late    *late    // what is to be written when it goes on
	f       *os.File // the copy, once something is written to it
}

// late is what is written to copies only when the workload goes on. Its methods
// may be called by several goroutines at once.
type late struct {
	mu   sync.Mutex
	list []lateWrite
	room int // bytes that may still be kept
}

type lateWrite struct {
	path string
	at   int64
	b    []byte
}

// take keeps a copy of b, unless that would be too much.
func (l *late) take(path string, b []byte, at int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(b) > l.room {
		return false
	}
	l.room -= len(b)
	l.list = append(l.list, lateWrite{path, at, bytes.Clone(b)})
	return true
}

// write writes what was kept, which is then forgotten.
func (l *late) write() (err error) {
	slices.SortFunc(l.list, func(a, b lateWrite) int {
		return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.at, b.at))
	})
	var f *os.File
	for _, w := range l.list {
		if f == nil || f.Name() != w.path {
			if f != nil {
				err = f.Close()
			}
			if err == nil {
				f, err = os.OpenFile(w.path, os.O_WRONLY|os.O_CREATE, 0o600)
			}
			if err != nil {
				return err
			}
		}
		if _, err := f.WriteAt(w.b, w.at); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	l.list = nil
	if f == nil {
		return nil
	}
	return f.Close()
}

// page takes the page at off of the piece into buf, and returns it and its sum.
func (p *piece) page(off int) ([]byte, xxh3.Uint128) {
	page := p.buf[off:min(off+pageSize, len(p.buf))]
	copy(page, p.content[off:])
	return page, xxh3.Hash128Seed(page, p.seed)
}

// write writes to the copy, at a place of the piece.
func (p *piece) write(b []byte, off int) (err error) {
	if p.a.path == p.a.from {
		return nil // a clone: it is the copy
	}
	if p.held && p.late.take(p.a.path, b, p.at+int64(off)) {
		return nil
	}
	if p.f == nil {
		if p.f, err = os.OpenFile(p.a.path, os.O_WRONLY|os.O_CREATE, 0o600); err != nil {
			return err
		}
	}
	_, err = p.f.WriteAt(b, p.at+int64(off))
	return err
}

func (p *piece) close() error {
	if p.f == nil {
		return nil
	}
	return p.f.Close()
}

// visit reads the piece and calls do. held: the file must stay what it is.
func (p *piece) visit(held bool, do func(*piece) error) error {
	p.held = held
	if held && p.a.mapped() {
		if err := p.look(do); err != nil {
			return err
		}
		fi, err := os.Lstat(p.a.from)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrChanged, err)
		}
		return p.a.same(fi)
	}
	f, err := openState(p.a.from)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrChanged, err)
	}
	defer f.Close()
	if _, err := f.ReadAt(p.buf, p.at); errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %s became shorter", ErrChanged, p.a.from)
	} else if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	p.content = p.buf
	if err := errors.Join(do(p), p.close()); err != nil || !held || !p.a.seen.known {
		return err
	}
	fi, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	return p.a.same(fi)
}

// same refuses a file that is not what the scan saw.
func (a *aside) same(fi fs.FileInfo) error {
	if !a.seen.unchanged(fi) {
		return fmt.Errorf("%w: %s was written to; freeze the workload or let its hook write aside and rename", ErrChanged, a.from)
	}
	return nil
}

// look calls do with the piece as it is mapped. Where the file became shorter
// there is nothing to look at: the fault is an error.
func (p *piece) look(do func(*piece) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		if fault, ok := r.(interface{ Addr() uintptr }); !ok || !lies(fault.Addr(), p.a.mapping) {
			panic(r)
		}
		err = errors.Join(fmt.Errorf("%w: %s became shorter, or cannot be read", ErrChanged, p.a.from), p.close())
	}()
	p.content = p.a.mapping[p.at:][:len(p.buf)]
	return errors.Join(do(p), p.close())
}

// lies reports whether an address is within b.
func lies(addr uintptr, b []byte) bool {
	from := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return addr >= from && addr < from+uintptr(len(b))
}

// mapped reports whether the file, as the scan saw it, is the one that is mapped,
// so that it need not be read into a buffer.
func (a *aside) mapped() bool {
	if a.mapping == nil || !a.seen.known || a.size != int64(len(a.mapping)) {
		return false
	}
	now, then := a.seen.ident, a.mappedAs
	return now.dev == then.dev && now.ino == then.ino
}

// mapIn maps the file, pages and all.
func (a *aside) mapIn() {
	f, err := openState(a.from)
	if err != nil {
		return
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || fi.Size() != a.size || !fi.Mode().IsRegular() {
		return
	}
	if a.mapping, err = mapFile(f, a.size); err == nil {
		a.mappedAs = identOf(fi)
	}
}

// unmap undoes mapIn.
func (a *aside) unmap() {
	if a.mapping != nil {
		_ = unmapFile(a.mapping)
		a.mapping = nil
	}
}

// compare copies the pages of a piece that are not what base and copy have.
func (p *piece) compare() error {
	run := -1 // where pages that differ begin
	end := func(off int) (err error) {
		if run >= 0 {
			err = p.write(p.buf[run:off], run)
		}
		run = -1
		return err
	}
	for from := 0; from < len(p.buf); from += groupSize {
		to := min(from+groupSize, len(p.buf))
		g := &p.a.group[(p.at+int64(from))/groupSize]
		all := (p.at+int64(to)+pageSize-1)/pageSize <= int64(p.a.known) // the file may have been shorter meanwhile
		if g.known && all && xxh3.Hash128Seed(p.content[from:to], p.seed) == g.sum {
			if err := end(from); err != nil {
				return err
			}
			continue
		}
		for off := from; off < to; off += pageSize {
			switch same := p.same(off, min(off+pageSize, to)); {
			case same && run >= 0:
				if err := end(off); err != nil {
					return err
				}
			case !same && run < 0:
				run = off
			}
		}
		// What is mapped may still change, and while the workload stands still
		// there is no time.
		if g.known = !p.held; g.known {
			g.sum = xxh3.Hash128Seed(p.buf[from:to], p.seed)
		}
	}
	return end(len(p.buf))
}

// same compares a page with its sum. One that is not the same is in buf then, and
// has its sum.
func (p *piece) same(off, end int) bool {
	i := int(p.at+int64(off)) / pageSize
	if i < p.a.known && xxh3.Hash128Seed(p.content[off:end], p.seed) == p.a.sums[i] {
		return true
	}
	_, p.a.sums[i] = p.page(off)
	p.a.dirty[i] = true
	return false
}

// complete copies the pages of a piece that the copy lacks, as they are now.
func (p *piece) complete() error {
	for off := 0; off < len(p.buf); off += pageSize {
		i := int(p.at/pageSize) + off/pageSize
		if p.a.dirty[i] {
			continue
		}
		page, sum := p.page(off)
		if err := p.write(page, off); err != nil {
			return err
		}
		if sum != p.a.sums[i] {
			p.a.group[(p.at+int64(off))/groupSize].known = false
		}
		p.a.sums[i], p.a.dirty[i] = sum, true
	}
	return nil
}
