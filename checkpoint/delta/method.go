package delta

import (
	"context"
	"errors"
	"fmt"
)

// Method is how changed pages are found.
type Method string

// The methods, cheapest first, as make bench-delta measures them; a region takes
// the first whose trial on this machine reports exactly what was written.
const (
	// WriteProtect asks the kernel (Linux 6.7 and later) which pages lost their
	// write protection: userfaultfd with asynchronous write protection, read by
	// the PAGEMAP_SCAN ioctl. The first write to a page after a mark costs the
	// writer a page fault, which the kernel resolves itself.
	WriteProtect Method = "write_protect"
	// SoftDirty reads the soft-dirty bits of /proc/PID/pagemap (kernels with
	// CONFIG_MEM_SOFT_DIRTY). The bits are one set per process and cannot be
	// read and cleared in one step, so the process must stand still at each mark.
	SoftDirty Method = "soft_dirty"
	// Hash reads all memory and compares hashes. It needs nothing of the kernel.
	Hash Method = "hash"
)

// ErrRemapped says that the memory under a region is not the one that was
// opened: it was unmapped, or something else was mapped there. Open it anew.
var ErrRemapped = errors.New("the region's memory was unmapped or replaced")

// Options says how a region is opened. The zero value is the default.
type Options struct {
	// Method forces one, also beside pinned memory (see the package's doc); "" takes
	// the first that works.
	Method Method
}

// Finding is what trying a method gave.
type Finding struct {
	Method Method
	Err    error // nil: it works
}

// Probe tries every method on a few pages of its own, by writing, discarding
// and letting the kernel write them, and looking whether exactly those are
// reported.
func Probe() []Finding {
	return []Finding{
		{WriteProtect, probeWriteProtect()},
		{SoftDirty, probeSoftDirty()},
		{Hash, nil},
	}
}

// source is where a region's bytes come from.
type source interface {
	// view returns n bytes from off, in buf or, when direct, where they are.
	view(buf []byte, off, n int64) ([]byte, error)
	// direct reports whether view needs no buffer.
	direct() bool
	// copyOut fills p from off and may be called while the memory is written to.
	copyOut(p []byte, off int64) error
	// copyRanges copies ranges to the same places of img. still: nobody writes.
	copyRanges(img []byte, ranges []Range, still bool) error
}

// detector is a method at work on one region.
type detector interface {
	method() Method
	// live reports whether mark may be called while the memory is written to and
	// misses no write then: what is written after a page was looked at is
	// reported by the next mark.
	live() bool
	// mark returns what was written since the last mark; everything the first
	// time, and after an error.
	mark(ctx context.Context) ([]Range, error)
	// reset makes the next mark a first one.
	reset()
	close() error
}

// starter is a detector that is not live but whose first mark can be: start
// makes it and calls copyAll, which copies all of the memory, in an order such
// that the next mark reports what was written since. It does nothing when there
// was a mark already.
type starter interface {
	start(ctx context.Context, copyAll func() (memory, error)) (started bool, err error)
}

// check refuses an unknown method.
func (o Options) check() error {
	switch o.Method {
	case "", WriteProtect, SoftDirty, Hash:
		return nil
	}
	return fmt.Errorf("delta method %q is not one of %s, %s, %s", o.Method, WriteProtect, SoftDirty, Hash)
}
