//go:build linux && (amd64 || arm64)

package delta

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel's interface, from include/uapi/linux/fs.h and userfaultfd.h.
const (
	uffdAPI          = 0xAA
	uffdUserMode     = 1       // UFFD_USER_MODE_ONLY
	uffdWPUnpop      = 1 << 13 // UFFD_FEATURE_WP_UNPOPULATED
	uffdWPAsync      = 1 << 15 // UFFD_FEATURE_WP_ASYNC
	uffdModeWP       = 1 << 1  // UFFDIO_REGISTER_MODE_WP
	uffdioAPI        = 0xC018AA3F
	uffdioRegister   = 0xC020AA00
	uffdioUnregister = 0x8010AA01

	pagemapScan   = 0xC0606610
	pageWritten   = 1 << 1 // PAGE_IS_WRITTEN
	pagePresent   = 1 << 3 // PAGE_IS_PRESENT
	pageSwapped   = 1 << 4 // PAGE_IS_SWAPPED
	pageHuge      = 1 << 6 // PAGE_IS_HUGE
	scanProtect   = 1 << 0 // PM_SCAN_WP_MATCHING
	scanMustAsync = 1 << 1 // PM_SCAN_CHECK_WPASYNC
)

// scanArg is struct pm_scan_arg.
type scanArg struct {
	size, flags, start, end, walkEnd     uint64
	vec, vecLen, maxPages                uint64
	inverted, mask, anyOf, returnedFlags uint64
}

// pageRegion is struct page_region.
type pageRegion struct{ start, end, categories uint64 }

func ioctl(f *os.File, request uintptr, arg unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(arg))
		switch {
		case errno == 0:
			return nil
		case errno != unix.EINTR && errno != unix.EAGAIN:
			return errno
		}
	}
}

// newUserfault opens a userfaultfd of this process that protects against
// writing and lets the kernel resolve the faults by itself.
func newUserfault() (*os.File, error) {
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|uffdUserMode, 0, 0)
	if errno != 0 {
		return nil, fmt.Errorf("userfaultfd: %w", errno)
	}
	f := os.NewFile(fd, "userfaultfd")
	if err := enableAsync(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func enableAsync(f *os.File) error {
	api := struct{ api, features, ioctls uint64 }{api: uffdAPI, features: uffdWPAsync | uffdWPUnpop}
	if err := ioctl(f, uffdioAPI, unsafe.Pointer(&api)); err != nil {
		return fmt.Errorf("userfaultfd has no asynchronous write protection (Linux 6.7 and later): %w", err)
	}
	return nil
}

// writeProtect finds written pages by their lost write protection.
type writeProtect struct {
	uffd    *os.File
	pagemap *os.File
	pid     int
	at      []Span // one after the other they are the region
	marked  bool
	vec     []pageRegion
}

// openWriteProtect follows pid's memory at the spans. uffd is a userfaultfd
// of pid; nil: one of this process is opened.
func openWriteProtect(pid int, uffd *os.File, at []Span) (_ detector, err error) {
	if uffd == nil {
		if err := privateMemory(pid, at); err != nil {
			return nil, err
		}
		if uffd, err = newUserfault(); err != nil {
			return nil, err
		}
	}
	w := &writeProtect{uffd: uffd, pid: pid, at: at, vec: make([]pageRegion, 4096)}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if w.pagemap, err = os.Open(fmt.Sprintf("/proc/%d/pagemap", pid)); err != nil {
		return nil, err
	}
	for _, e := range at {
		e = e.pages()
		reg := struct{ start, length, mode, ioctls uint64 }{e.Start, e.End - e.Start, uffdModeWP, 0}
		if err := ioctl(uffd, uffdioRegister, unsafe.Pointer(&reg)); err != nil {
			return nil, fmt.Errorf("register %x-%x with userfaultfd: %w", e.Start, e.End, err)
		}
	}
	return w, nil
}

func (w *writeProtect) method() Method { return WriteProtect }

func (w *writeProtect) live() bool { return true }

func (w *writeProtect) reset() { w.marked = false }

// close also ends the protection: the kernel drops it with the last reference.
func (w *writeProtect) close() error {
	err := w.uffd.Close()
	if w.pagemap != nil {
		err = errors.Join(err, w.pagemap.Close())
	}
	return err
}
