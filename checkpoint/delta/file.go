package delta

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// OpenFile follows changes of the file at path, which keeps its size and whose
// owner writes through a mapping or by write(2). It is read and hashed: the
// kernel keeps no bits for a file that work across all who have it mapped. It
// is read rather than mapped, because looking behind the end of a mapped file
// that became shorter kills the process.
func OpenFile(path string) (*Region, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("follow changes of a file: %w", err)
	}
	fi, err := f.Stat()
	if err == nil && (!fi.Mode().IsRegular() || fi.Size() == 0) {
		err = fmt.Errorf("%d bytes, mode %s: a regular file that is not empty is needed", fi.Size(), fi.Mode())
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("follow changes of %s: %w", path, err)
	}
	r := &Region{name: path, size: fi.Size(), src: file{f, fi.Size()}, release: f.Close}
	r.det = newHasher(r.src, r.size)
	return r, nil
}

// file is an open file as a source.
type file struct {
	f    *os.File
	size int64
}

func (s file) direct() bool { return false }

func (s file) view(buf []byte, off, n int64) ([]byte, error) {
	return buf[:n], s.copyOut(buf[:n], off)
}

// still refuses a file that is not the one that was opened, or has another size.
func (s file) still() error {
	now, err := os.Stat(s.f.Name())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRemapped, err)
	}
	opened, err := s.f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(now, opened) || now.Size() != s.size {
		return fmt.Errorf("%w: %s had %d bytes and has %d, or is another file now", ErrRemapped, s.f.Name(), s.size, now.Size())
	}
	return nil
}

func (s file) copyOut(p []byte, off int64) error {
	if err := s.still(); err != nil {
		return err
	}
	if _, err := s.f.ReadAt(p, off); errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %s became shorter", ErrRemapped, s.f.Name())
	} else if err != nil {
		return err
	}
	return nil
}

func (s file) copyRanges(img []byte, ranges []Range, _ bool) error {
	for _, r := range ranges {
		if err := s.copyOut(img[r.Offset:r.End()], r.Offset); err != nil {
			return err
		}
	}
	return nil
}

// open opens the file for writing.
func (s file) open() (*os.File, error) {
	if err := s.still(); err != nil {
		return nil, err
	}
	return os.OpenFile(s.f.Name(), os.O_RDWR, 0)
}

func (s file) mayOverwrite() error {
	f, err := s.open()
	if err != nil {
		return err
	}
	return f.Close()
}

// overwrite writes the pieces that differ.
func (s file) overwrite(from io.ReaderAt) (err error) {
	f, err := s.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	want, have := make([]byte, portion), make([]byte, portion)
	for at := int64(0); at < s.size; at += portion {
		n := min(portion, s.size-at)
		if got, err := from.ReadAt(want[:n], at); int64(got) < n {
			return fmt.Errorf("%d of %d bytes: %w", at+int64(got), s.size, err)
		}
		if got, err := f.ReadAt(have[:n], at); int64(got) < n {
			return err
		}
		if bytes.Equal(want[:n], have[:n]) {
			continue
		}
		if _, err := f.WriteAt(want[:n], at); err != nil {
			return err
		}
	}
	return f.Sync()
}
