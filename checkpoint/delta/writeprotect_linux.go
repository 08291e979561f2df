//go:build linux && (amd64 || arm64)

package delta

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

func (w *writeProtect) mark(ctx context.Context) (out []Range, err error) {
	first := !w.marked
	w.marked = false
	if w.pid != os.Getpid() {
		if err := privateMemory(w.pid, w.at); err != nil {
			return nil, err
		}
	}
	var base, size int64
	for _, e := range w.at {
		size += e.length()
	}
	for _, e := range w.at {
		if first || w.huge {
			if err := w.splitHuge(e.pages()); err != nil {
				return nil, err
			}
		}
		err := w.scan(e.pages(), pageWritten|pagePresent, pagePresent, scanProtect|scanMustAsync, func(p pageRegion) {
			w.huge = w.huge || p.categories&pageHuge != 0
			// A page that is neither here nor written was swapped out or protected
			// before it was ever used.
			if p.categories&pageWritten == 0 && p.categories&pageSwapped != 0 {
				return
			}
			from, to := max(p.start, e.Start), min(p.end, e.End)
			out = append(out, align(Range{base + int64(from-e.Start), int64(to - from)}, size))
		})
		if err != nil {
			return nil, err
		}
		if base += e.length(); ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	w.marked = true
	if first {
		return whole(size), nil
	}
	return Union(out, nil), nil // the scan may go back a little: see there
}

// scan visits the pages of e that have any of the categories, after flipping
// those in inverted. They come in ascending order within one call of the
// kernel. The kernel says where a call ended that ran out of room, and when a
// later part of the same call did not, it says so still: then a stretch is
// looked at twice, and what was written to it in between comes behind its place.
func (w *writeProtect) scan(e Span, anyOf, inverted, flags uint64, visit func(pageRegion)) error {
	for at := e.Start; at < e.End; {
		arg := scanArg{
			flags: flags, start: at, end: e.End, inverted: inverted, anyOf: anyOf,
			vec: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(w.vec)))), vecLen: uint64(len(w.vec)),
			returnedFlags: pageWritten | pagePresent | pageSwapped | pageHuge,
		}
		arg.size = uint64(unsafe.Sizeof(arg))
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, w.pagemap.Fd(), pagemapScan, uintptr(unsafe.Pointer(&arg)))
		runtime.KeepAlive(w.vec)
		switch {
		case errno == unix.EPERM || errno == unix.ESRCH || errno == unix.ENOMEM:
			return fmt.Errorf("%w: PAGEMAP_SCAN of %x-%x: %w", ErrRemapped, at, e.End, errno)
		case errno != 0:
			return fmt.Errorf("PAGEMAP_SCAN of %x-%x: %w", at, e.End, errno)
		}
		for _, p := range w.vec[:n] {
			visit(p)
		}
		if arg.walkEnd <= at {
			return fmt.Errorf("PAGEMAP_SCAN of %x-%x stands still", at, e.End)
		}
		at = arg.walkEnd
	}
	return nil
}

// splitHuge makes the kernel map huge pages by their small ones, so that one
// write does not report 2 MiB: protecting a part of a huge page splits it. The
// kernel may make new ones of pages that were all written since a mark; they
// are split at the mark after the one that meets them.
func (w *writeProtect) splitHuge(e Span) error {
	var huge []Span
	err := w.scan(e, pageHuge, 0, scanMustAsync, func(p pageRegion) { huge = append(huge, Span{p.start, p.end}) })
	if err != nil || len(huge) == 0 {
		return err
	}
	w.huge = true
	size, err := hugePageSize()
	if err != nil {
		return err
	}
	page := uint64(os.Getpagesize())
	for _, h := range huge {
		for at := h.Start &^ (size - 1); at < h.End; at += size {
			first := max(at, h.Start)
			if err := w.scan(Span{first, first + page}, pageWritten|pagePresent, pagePresent, scanProtect, func(pageRegion) {}); err != nil {
				return err
			}
		}
	}
	return nil
}

func hugePageSize() (uint64, error) {
	b, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || n == 0 || n&(n-1) != 0 {
		return 0, fmt.Errorf("size of a huge page %q is not a power of two", b)
	}
	return n, nil
}

// probeWriteProtect writes, lets the kernel write, discards, and looks.
func probeWriteProtect() (err error) {
	page := os.Getpagesize()
	b, err := unix.Mmap(-1, 0, 16*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return fmt.Errorf("map memory to try it on: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Munmap(b)) }()
	from := uint64(uintptr(unsafe.Pointer(&b[0])))
	det, err := openWriteProtect(os.Getpid(), nil, []Span{{from, from + uint64(len(b))}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, det.close()) }()
	return tryOut(det, b)
}
