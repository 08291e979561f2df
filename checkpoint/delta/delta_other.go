//go:build !linux

package delta

import (
	"errors"
	"fmt"
	"runtime"
)

var errNotLinux = fmt.Errorf("%s: %w", runtime.GOOS, errors.ErrUnsupported)

func probeSoftDirty() error { return errNotLinux }

func openSoftDirty(int, []extent) (detector, error) { return nil, errNotLinux }

// copySelf copies plainly: outside Linux every region is hashed and stands
// still while it is read.
func copySelf(dst, src []byte) error {
	copy(dst, src)
	return nil
}
