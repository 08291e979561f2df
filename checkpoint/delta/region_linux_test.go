package delta

import (
	"context"
	"errors"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// mapping returns anonymous memory that the Go runtime knows nothing of.
func mapping(tb testing.TB, size int) []byte {
	tb.Helper()
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := unix.Munmap(b); err != nil {
			tb.Error(err)
		}
	})
	return b
}

// Memory that was never used is protected without being used, and what is given
// back counts as written: a whole page table of it, too.
func TestMarkOfSparseMemory(t *testing.T) {
	const size = 64 << 20
	b := mapping(t, size)
	methods(t, b, func(t *testing.T, r *Region) {
		mark(t, r)
		if got := mark(t, r); len(got) != 0 {
			t.Fatalf("untouched memory: %v is reported", got)
		}
		full := b[8<<20 : 16<<20]
		for i := 0; i < len(full); i += PageSize {
			full[i] = 1
		}
		want := []Range{{8 << 20, 8 << 20}}
		if diff := cmp.Diff(want, mark(t, r)); diff != "" {
			t.Fatalf("8 MiB written (-want +got):\n%s", diff)
		}
		if err := discard(full); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, mark(t, r)); diff != "" {
			t.Fatalf("8 MiB discarded (-want +got):\n%s", diff)
		}
		if got := mark(t, r); len(got) != 0 {
			t.Fatalf("nothing was written and %v is reported", got)
		}
	})
}

func TestMarkOfHugePages(t *testing.T) {
	const size = 32 << 20
	b := mapping(t, size)
	if err := unix.Madvise(b, unix.MADV_HUGEPAGE); err != nil {
		t.Skipf("no transparent huge pages: %v", err)
	}
	for i := 0; i < len(b); i += PageSize {
		b[i] = 1
	}
	methods(t, b, func(t *testing.T, r *Region) {
		mark(t, r)
		b[5<<20]++
		if diff := cmp.Diff([]Range{{5 << 20, PageSize}}, mark(t, r)); diff != "" {
			t.Fatalf("one page written (-want +got):\n%s", diff)
		}
	})
}

// The kernel may put small pages together into a huge one at any time. Nothing is
// missed then, and soon one write is one page again.
func TestMarkOfCollapsedPages(t *testing.T) {
	const size, huge = 16 << 20, 2 << 20
	b := mapping(t, size)
	for i := 0; i < len(b); i += PageSize {
		b[i] = 1
	}
	from := huge - int(uintptr(unsafe.Pointer(&b[0]))%huge) // of a huge page within b
	methods(t, b, func(t *testing.T, r *Region) {
		mark(t, r)
		for i := from; i < from+huge; i += PageSize {
			b[i]++
		}
		const collapse = 25 // MADV_COLLAPSE, Linux 6.1
		if err := unix.Madvise(b[from:from+huge], collapse); err != nil {
			t.Skipf("the kernel does not put pages together: %v", err)
		}
		want := []Range{{int64(from), huge}}
		if diff := cmp.Diff(want, mark(t, r)); diff != "" {
			t.Fatalf("all written, then put together (-want +got):\n%s", diff)
		}
		var got []Range
		for range 3 {
			b[from+9*PageSize]++
			got = mark(t, r)
			if !covers(got, int64(from+9*PageSize), 1) {
				t.Fatalf("page 9 was written, %v is reported", got)
			}
		}
		if diff := cmp.Diff([]Range{{int64(from + 9*PageSize), PageSize}}, got); diff != "" {
			t.Fatalf("at last (-want +got):\n%s", diff)
		}
	})
}

func TestSharedMemoryIsHashed(t *testing.T) {
	b, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(b) }()
	r, err := OpenMemory(b, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if r.Method() != Hash {
		t.Fatalf("shared memory is followed by %s", r.Method())
	}
}

func TestMarkOfRemappedMemory(t *testing.T) {
	if err := probeWriteProtect(); err != nil {
		t.Skipf("this kernel does not offer write protection: %v", err)
	}
	b := mapping(t, 1<<20)
	r, err := OpenMemory(b, Options{Method: WriteProtect})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	mark(t, r)
	at := unsafe.Pointer(&b[0])
	if _, err := unix.MmapPtr(-1, 0, at, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_FIXED); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Mark(context.Background()); !errors.Is(err, ErrRemapped) {
		t.Fatalf("ranges %v, error %v", got, err)
	}
}

// A second region over the same memory falls back and says why.
func TestTwoRegionsOverOneMemory(t *testing.T) {
	b := mapping(t, 1<<20)
	one, err := OpenMemory(b, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = one.Close() }()
	two, err := OpenMemory(b, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = two.Close() }()
	if one.Method() != Hash && two.Method() == one.Method() {
		t.Fatalf("both use %s", one.Method())
	}
	for _, r := range []*Region{one, two} {
		mark(t, r)
	}
	b[9*PageSize] = 1
	for _, r := range []*Region{one, two} {
		if diff := cmp.Diff([]Range{{9 * PageSize, PageSize}}, mark(t, r)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", r.Method(), diff)
		}
	}
}
