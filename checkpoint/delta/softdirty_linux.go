package delta

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Bits of an entry of /proc/PID/pagemap, from Documentation/admin-guide/mm/pagemap.rst.
const (
	entrySoftDirty = 1 << 55
	entrySwapped   = 1 << 62
	entryPresent   = 1 << 63
	entryLen       = 8
)

// softDirty finds written pages by their soft-dirty bits.
type softDirty struct {
	pid     int
	pagemap io.ReaderAt
	clear   func() error // all bits of the process
	closers []io.Closer
	at      []Span
	marked  bool
	used    []bool // by page of the spans: whether it held anything at the last mark
}

func openSoftDirty(pid int, at []Span) (detector, error) {
	if err := privateMemory(pid, at); err != nil {
		return nil, err
	}
	if err := softDirtyKept(); err != nil {
		return nil, err
	}
	name, err := reserveSoftDirty(pid)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	pagemap, err := os.Open(filepath.Join(dir, "pagemap"))
	if err != nil {
		name.Close()
		return nil, err
	}
	return &softDirty{
		pid: pid, pagemap: pagemap, at: at, closers: []io.Closer{pagemap, name},
		clear: func() error { return os.WriteFile(filepath.Join(dir, "clear_refs"), []byte("4"), 0) },
	}, nil
}

// reserveSoftDirty makes sure that nobody else clears pid's bits: whoever reads
// them holds a name that the kernel gives once and takes back at exit.
func reserveSoftDirty(pid int) (io.Closer, error) {
	l, err := net.Listen("unix", fmt.Sprintf("@forestall-soft-dirty-%d", pid))
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("another region follows process %d by its soft-dirty bits, which are one set per process", pid)
	}
	return l, err
}

func (s *softDirty) method() Method { return SoftDirty }

func (s *softDirty) live() bool { return false }

func (s *softDirty) reset() { s.marked = false }

// start clears the bits, then copies: a write before is in the copy, one after
// has its bit.
func (s *softDirty) start(ctx context.Context, copyAll func() (memory, error)) (bool, error) {
	if s.marked {
		return false, nil
	}
	if _, err := s.mark(ctx); err != nil {
		return false, err
	}
	_, err := copyAll()
	return err == nil, err
}

func (s *softDirty) close() (err error) {
	for _, c := range s.closers {
		err = errors.Join(err, c.Close())
	}
	return err
}

func (s *softDirty) mark(ctx context.Context) (out []Range, err error) {
	first := !s.marked
	s.marked = false
	if s.pid != os.Getpid() {
		if err := privateMemory(s.pid, s.at); err != nil {
			return nil, err
		}
	}
	page := int64(os.Getpagesize())
	var size, pages int64
	for _, e := range s.at {
		size += e.length()
		pages += e.pages().length() / page
	}
	if first {
		s.used = make([]bool, pages)
	}
	buf := make([]byte, 64<<10)
	var base, n int64
	for _, e := range s.at {
		all := e.pages()
		for at := all.Start; at < all.End; {
			b := buf[:min(int64(len(buf)), int64(all.End-at)/page*entryLen)]
			if _, err := s.pagemap.ReadAt(b, int64(at)/page*entryLen); err != nil {
				return nil, fmt.Errorf("%w: read the page map at %x: %w", ErrRemapped, at, err)
			}
			for ; len(b) > 0; b, at, n = b[entryLen:], at+uint64(page), n+1 {
				entry := binary.LittleEndian.Uint64(b)
				used := entry&(entryPresent|entrySwapped) != 0
				// A discarded page reads as zeros and has no bit to say so.
				if entry&entrySoftDirty != 0 && used || used != s.used[n] {
					from, to := max(at, e.Start), min(at+uint64(page), e.End)
					out = appendRange(out, align(Range{base + int64(from-e.Start), int64(to - from)}, size))
				}
				s.used[n] = used
			}
		}
		if base += e.length(); ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	if err := s.clear(); err != nil {
		return nil, fmt.Errorf("clear the soft-dirty bits: %w", err)
	}
	s.marked = true
	if first {
		return whole(size), nil
	}
	return out, nil
}

// softDirtyKept looks whether a page that was just written has its bit, which
// only kernels that keep soft-dirty bits set.
func softDirtyKept() (err error) {
	page := os.Getpagesize()
	b, err := unix.Mmap(-1, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return fmt.Errorf("map memory to try it on: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Munmap(b)) }()
	b[0] = 1
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return err
	}
	defer f.Close()
	var entry [entryLen]byte
	at := int64(uintptr(unsafe.Pointer(&b[0]))) / int64(page) * entryLen
	if _, err := f.ReadAt(entry[:], at); err != nil {
		return err
	}
	if binary.LittleEndian.Uint64(entry[:])&entrySoftDirty == 0 {
		return errors.New("this kernel keeps no soft-dirty bits (built without CONFIG_MEM_SOFT_DIRTY)")
	}
	return nil
}

// probeSoftDirty writes, lets the kernel write, discards, and looks.
func probeSoftDirty() (err error) {
	if err := softDirtyKept(); err != nil {
		return err
	}
	page := os.Getpagesize()
	b, err := unix.Mmap(-1, 0, 16*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return fmt.Errorf("map memory to try it on: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Munmap(b)) }()
	from := uint64(uintptr(unsafe.Pointer(&b[0])))
	det, err := openSoftDirty(os.Getpid(), []Span{{from, from + uint64(len(b))}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, det.close()) }()
	return tryOut(det, b)
}
