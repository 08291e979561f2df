//go:build linux && !amd64

package delta

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

func userfaultOf(int) (*os.File, error) {
	return nil, fmt.Errorf("opening a userfaultfd in another process on %s: %w", runtime.GOARCH, errors.ErrUnsupported)
}
