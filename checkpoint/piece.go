package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
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
	f       *os.File // the copy, once something is written to it
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
	if err := errors.Join(do(p), p.close()); err != nil || !held || p.a.info == nil {
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
	if !(content{info: a.info}).unchanged(fi) {
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
	if a.mapping == nil || a.info == nil || a.size != int64(len(a.mapping)) {
		return false
	}
	now, then := identOf(a.info), a.mappedAs
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
	a, first, run := p.a, int(p.at/pageSize), -1 // run: where pages that differ begin
	for off := 0; off < len(p.buf); off += pageSize {
		i := first + off/pageSize
		if i < a.known && xxh3.Hash128Seed(p.content[off:min(off+pageSize, len(p.buf))], p.seed) == a.sums[i] {
			if run >= 0 {
				if err := p.write(p.buf[run:off], run); err != nil {
					return err
				}
			}
			run = -1
			continue
		}
		_, a.sums[i] = p.page(off)
		a.dirty[i] = true
		if run < 0 {
			run = off
		}
	}
	if run < 0 {
		return nil
	}
	return p.write(p.buf[run:], run)
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
		p.a.sums[i], p.a.dirty[i] = sum, true
	}
	return nil
}
