//go:build !linux

package delta

import (
	"errors"
	"fmt"
	"runtime"
)

var errNotLinux = fmt.Errorf("%s: %w", runtime.GOOS, errors.ErrUnsupported)

func probeSoftDirty() error { return errNotLinux }

func openSoftDirty(int, []Span) (detector, error) { return nil, errNotLinux }

// copySelf copies plainly: outside Linux every region is hashed and stands
// still while it is read.
func copySelf(dst []byte, src memory, ranges []Range, base int64) error {
	for _, r := range ranges {
		copy(dst[r.Offset-base:], src[r.Offset:r.End()])
	}
	return nil
}

func reserve(size int64) ([]byte, func() error, error) {
	return make([]byte, size), func() error { return nil }, nil
}

// OpenProcess follows changes of another process's memory: on Linux only.
func OpenProcess(int, []Span, Options) (*Region, error) {
	return nil, fmt.Errorf("follow changes of another process: %w", errNotLinux)
}
