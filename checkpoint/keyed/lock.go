package keyed

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockFile waits for the advisory lock of f, which another process or another
// opening holds for the length of a commit at most.
func lockFile(f *os.File) (unlock func(), err error) {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EINTR) {
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
	return func() { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }, nil
}

// exclusively takes the lock and refuses when another opening has followed.
func (l *Log) exclusively() (unlock func(), err error) {
	unlock, err = lockFile(l.lock)
	if err != nil {
		return nil, err
	}
	if err := l.admitted(); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}
