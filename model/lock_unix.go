//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package model

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockDir waits for the advisory lock of a directory. Some file systems, such as NFS,
// have none of directories; there it does without, and it is not held.
func lockDir(dir string) (unlock func(), held bool, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, false, err
	}
	for err = syscall.EINTR; errors.Is(err, syscall.EINTR); {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}
	switch {
	case err == nil:
		held = true
	case errors.Is(err, syscall.EBADF), errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOLCK), errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOSYS):
	default:
		f.Close()
		return nil, false, fmt.Errorf("lock %s: %w", dir, err)
	}
	return func() { f.Close() }, held, nil
}
