package delta

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// copySelf copies ranges of memory of this process that others may be writing
// to. The kernel does it, so that no Go code reads what another goroutine
// writes; where a sandbox forbids that, Go code does it. base is the offset of
// dst's beginning.
func copySelf(dst []byte, src memory, ranges []Range, base int64) error {
	from := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(src))))
	err := copyProcess(os.Getpid(), dst, base, ranges, func(off int64) uint64 { return from + uint64(off) })
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		for _, r := range ranges {
			copy(dst[r.Offset-base:], src[r.Offset:r.End()])
		}
		return nil
	}
	return err
}

// batch is how many ranges process_vm_readv is given at once: the most it takes.
const batch = 1024

// copyProcess copies ranges of the memory of pid to their places in dst, whose
// beginning is at offset base. A range lies at address addr(its offset), in one
// piece.
func copyProcess(pid int, dst []byte, base int64, ranges []Range, addr func(off int64) uint64) error {
	local, remote := make([]unix.Iovec, 0, batch), make([]unix.RemoteIovec, 0, batch)
	for some := range slices.Chunk(ranges, batch) {
		local, remote = local[:0], remote[:0]
		for _, r := range some {
			v := unix.Iovec{Base: &dst[r.Offset-base]}
			v.SetLen(int(r.Length))
			local, remote = append(local, v), append(remote, unix.RemoteIovec{Base: uintptr(addr(r.Offset)), Len: int(r.Length)})
		}
		if err := readvAll(pid, local, remote); err != nil {
			return err
		}
	}
	return nil
}

// readvAll reads until everything was read; the kernel stops at a page that is
// not there, and at 2 GiB.
func readvAll(pid int, local []unix.Iovec, remote []unix.RemoteIovec) error {
	for len(local) > 0 {
		n, err := unix.ProcessVMReadv(pid, local, remote, 0)
		at, length := remote[0].Base, remote[0].Len
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EFAULT) || errors.Is(err, unix.ESRCH) || err == nil && n == 0:
			return fmt.Errorf("%w: read %d bytes at %x of process %d: %w", ErrRemapped, length, at, pid, cmp.Or(err, io.ErrUnexpectedEOF))
		case err != nil:
			return fmt.Errorf("read %d bytes at %x of process %d: %w", length, at, pid, err)
		}
		for n > 0 && n >= remote[0].Len {
			n -= remote[0].Len
			local, remote = local[1:], remote[1:]
		}
		if n > 0 {
			local[0].Base = (*byte)(unsafe.Add(unsafe.Pointer(local[0].Base), n))
			local[0].SetLen(remote[0].Len - n)
			remote[0].Base, remote[0].Len = remote[0].Base+uintptr(n), remote[0].Len-n
		}
	}
	return nil
}

// reserve returns size bytes that take memory only where they are written to.
func reserve(size int64) ([]byte, func() error, error) {
	b, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, nil, err
	}
	return b, func() error { return unix.Munmap(b) }, nil
}

// kernelWrites has the kernel write into b, as read(2) does.
func kernelWrites(b []byte) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	defer w.Close()
	if _, err := w.Write(make([]byte, len(b))); err != nil {
		return err
	}
	_, err = r.Read(b)
	return err
}

// discard gives b's pages back; they read as zeros afterwards.
func discard(b []byte) error { return unix.Madvise(b, unix.MADV_DONTNEED) }
