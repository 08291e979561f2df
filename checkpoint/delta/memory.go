package delta

import (
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"
)

// OpenMemory follows changes of b by the cheapest method that it finds to work.
// b is memory of this process that is neither moved nor unmapped until Close: a
// Go slice (Go's collector does not move what it holds) or a mapping. b's
// beginning should be a page's: otherwise each changed page is reported as two.
// Memory that others can write too (a shared mapping) is always hashed, because
// the kernel's bits are those of this process alone.
func OpenMemory(b []byte, opt Options) (*Region, error) {
	if err := opt.check(); err != nil {
		return nil, err
	}
	if len(b) == 0 {
		return nil, errors.New("follow changes of memory: it is empty")
	}
	r := &Region{name: fmt.Sprintf("%d bytes of memory", len(b)), size: int64(len(b)), src: memory(b), pid: os.Getpid()}
	from := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b))))
	at := []Span{{from, from + uint64(len(b))}}
	err := r.choose(opt,
		candidate{WriteProtect, func() (detector, error) {
			if err := probeWriteProtect(); err != nil {
				return nil, err
			}
			return openWriteProtect(os.Getpid(), nil, at)
		}},
		candidate{SoftDirty, func() (detector, error) {
			if err := probeSoftDirty(); err != nil {
				return nil, err
			}
			return openSoftDirty(os.Getpid(), at)
		}},
		candidate{Hash, func() (detector, error) { return newHasher(r.src, r.size), nil }},
	)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// memory is a slice as a source.
type memory []byte

func (m memory) direct() bool { return true }

func (m memory) view(_ []byte, off, n int64) ([]byte, error) { return m[off : off+n], nil }

func (m memory) copyOut(p []byte, off int64) error {
	return copySelf(p, m, []Range{{off, int64(len(p))}}, off)
}

func (m memory) copyRanges(img []byte, ranges []Range, still bool) error {
	if !still {
		return copySelf(img, m, ranges, 0)
	}
	for _, r := range ranges {
		copy(img[r.Offset:r.End()], m[r.Offset:r.End()])
	}
	return nil
}

func (m memory) mayOverwrite() error { return nil }

func (m memory) overwrite(from io.ReaderAt) error {
	if n, err := from.ReadAt(m, 0); n < len(m) {
		return fmt.Errorf("%d of %d bytes: %w", n, len(m), err)
	}
	return nil
}
