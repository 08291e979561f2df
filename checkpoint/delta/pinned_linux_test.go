package delta

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestPinnedOf(t *testing.T) {
	for status, want := range map[string]int64{
		"VmLck:\t       8 kB\nVmPin:\t    1024 kB\nVmHWM:\t 5 kB\n": 1024, "VmPin:\t       0 kB\n": 0, "Name:\tx\n": 0, "": 0,
	} {
		if got := pinnedOf(status); got != want {
			t.Errorf("%q: %d", status, got)
		}
	}
}

// What io_uring writes into a registered buffer goes past the page tables: a region
// is hashed while there is one.
func TestPinnedMemoryIsHashed(t *testing.T) {
	ctx := context.Background()
	b := mapping(t, 1<<20)
	for i := range b {
		b[i] = 1
	}
	r, err := OpenMemory(b, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	img := make([]byte, len(b))
	capture := func() {
		t.Helper()
		if err := r.Precopy(ctx, DefaultRounds()); err != nil {
			t.Fatal(err)
		}
		inc, err := r.Capture(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range inc.Dirty {
			if _, err := inc.Content.ReadAt(img[d.Offset:d.End()], d.Offset); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(img, b) {
			t.Fatalf("by %s: the increments do not add up to the memory", r.Method())
		}
		if err := r.Settle(); err != nil {
			t.Fatal(err)
		}
	}
	capture()
	capture()
	before := r.Method()
	read := register(t, b)
	capture()
	read()
	capture()
	b[5] = 9
	capture()
	if r.Method() != Hash {
		t.Errorf("by %s", r.Method())
	}
	if before != Hash && (len(r.Skipped()) == 0 || !strings.Contains(r.Skipped()[len(r.Skipped())-1].Err.Error(), "pinned")) {
		t.Errorf("skipped: %v", r.Skipped())
	}
	again, err := OpenMemory(b, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	if again.Method() != Hash {
		t.Errorf("opened beside a pin: by %s", again.Method())
	}
}

// register registers b as a buffer of an io_uring, until the test ends. read has the
// kernel read a file of 7s into it.
func register(t *testing.T, b []byte) (read func()) {
	t.Helper()
	type offsets struct {
		sq struct {
			head, tail, mask, entries, flags, dropped, array, resv uint32
			userAddr                                               uint64
		}
		cq [10]uint32
	}
	var p struct {
		sqEntries, cqEntries, flags, cpu, idle, features, wq uint32
		resv                                                 [3]uint32
		at                                                   offsets
	}
	ring, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		t.Skip("no io_uring here: ", errno)
	}
	t.Cleanup(func() { _ = unix.Close(int(ring)) })
	vec := unix.Iovec{Base: &b[0], Len: uint64(len(b))}
	if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, ring, 0, uintptr(unsafe.Pointer(&vec)), 1, 0, 0); errno != 0 {
		t.Skip("a buffer cannot be registered: ", errno)
	}
	t.Cleanup(func() {
		if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, ring, 1, 0, 0, 0, 0); errno != 0 {
			t.Error("unregister: ", errno)
		}
		for end := time.Now().Add(time.Minute); pinned(os.Getpid()) != ""; runtime.Gosched() { // of later tests
			if time.Now().After(end) {
				t.Fatal("the pin does not go")
			}
		}
	})
	if pinned(os.Getpid()) == "" {
		t.Skip("this kernel does not count the pin")
	}
	sq, err := unix.Mmap(int(ring), 0, int(p.at.sq.array+4*p.sqEntries), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := unix.Mmap(int(ring), 0x10000000, int(p.sqEntries)*64, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = unix.Munmap(sq), unix.Munmap(entries) })
	name := filepath.Join(t.TempDir(), "sevens")
	if err := os.WriteFile(name, bytes.Repeat([]byte{7}, len(b)), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return func() {
		const readFixed, getEvents = 4, 1
		*(*struct {
			op, flags uint8
			prio      uint16
			fd        int32
			off, addr uint64
			length    uint32
			rest      [36]byte
		})(unsafe.Pointer(&entries[0])) = struct {
			op, flags uint8
			prio      uint16
			fd        int32
			off, addr uint64
			length    uint32
			rest      [36]byte
		}{op: readFixed, fd: int32(f.Fd()), addr: uint64(uintptr(unsafe.Pointer(&b[0]))), length: uint32(len(b))}
		*(*uint32)(unsafe.Pointer(&sq[p.at.sq.array])) = 0
		*(*uint32)(unsafe.Pointer(&sq[p.at.sq.tail])) = 1
		if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, ring, 1, 1, getEvents, 0, 0); errno != 0 {
			t.Fatal(errno)
		}
		if b[0] != 7 || b[len(b)-1] != 7 {
			t.Fatal("the kernel has not read into the buffer")
		}
	}
}
