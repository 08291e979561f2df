package delta

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// copySelf copies memory of this process that others may be writing to. The
// kernel does it, so that no Go code reads what another goroutine writes.
func copySelf(dst, src []byte) error {
	if len(src) == 0 {
		return nil
	}
	return copyProcess(os.Getpid(), dst, uint64(uintptr(unsafe.Pointer(unsafe.SliceData(src)))))
}

// copyProcess fills dst from the memory of pid at addr.
func copyProcess(pid int, dst []byte, addr uint64) error {
	for len(dst) > 0 {
		local := []unix.Iovec{{Base: unsafe.SliceData(dst)}}
		local[0].SetLen(len(dst))
		n, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: uintptr(addr), Len: len(dst)}}, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EFAULT) || errors.Is(err, unix.ESRCH):
			return fmt.Errorf("%w: read %d bytes at %x of process %d: %w", ErrRemapped, len(dst), addr, pid, err)
		case err != nil:
			return fmt.Errorf("read %d bytes at %x of process %d: %w", len(dst), addr, pid, err)
		case n == 0:
			return fmt.Errorf("%w: nothing to read at %x of process %d", ErrRemapped, addr, pid)
		}
		dst, addr = dst[n:], addr+uint64(n)
	}
	return nil
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
