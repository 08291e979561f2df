//go:build !linux || !(amd64 || arm64)

package delta

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

var errNoWriteProtect = fmt.Errorf("asynchronous write protection is not known on %s/%s: %w", runtime.GOOS, runtime.GOARCH, errors.ErrUnsupported)

func probeWriteProtect() error { return errNoWriteProtect }

func openWriteProtect(int, *os.File, []Span) (detector, error) { return nil, errNoWriteProtect }
