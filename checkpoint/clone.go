package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// cloneTo makes aside share the file's blocks.
func (c *content) cloneTo(aside string, clone func(dst, src *os.File) error) error {
	src, err := openState(c.path)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(clone(dst, src), dst.Close())
}

// copyTo copies the whole file, as shared blocks where that is possible.
func (c *content) copyTo(aside string, clone func(dst, src *os.File) error) error {
	src, err := openState(c.path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrChanged, err)
	}
	defer src.Close()
	dst, err := os.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if clone(dst, src) != nil {
		err = copyData(dst, src, c.seen.size)
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: %s became shorter", ErrChanged, c.path)
		}
	}
	if err := errors.Join(err, dst.Close()); err != nil {
		return err
	}
	fi, err := src.Stat()
	if err != nil {
		return err
	}
	if !c.seen.unchanged(fi) {
		return fmt.Errorf("%w: %s was written to; freeze the workload or let its hook write aside and rename", ErrChanged, c.path)
	}
	return nil
}

// copyData copies a file of that size and leaves out its holes.
func copyData(dst, src *os.File, size int64) error {
	for _, r := range dataOf(src, size, holeSize) {
		for _, f := range []*os.File{dst, src} {
			if _, err := f.Seek(r.Offset, io.SeekStart); err != nil {
				return err
			}
		}
		if _, err := io.CopyN(dst, src, r.Length); err != nil {
			return err
		}
	}
	return dst.Truncate(size)
}
