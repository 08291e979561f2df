package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/stratoswarm/forestall/internal/durable"
)

// readFile appends the content of the file at path to dst.
func readFile(fsys durable.FS, dst []byte, path string) ([]byte, error) {
	f, err := fsys.OpenRead(path)
	if err != nil {
		return dst, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return dst, err
	}
	n := len(dst)
	dst = append(dst, make([]byte, fi.Size())...)
	if got, err := f.ReadAt(dst[n:], 0); got < len(dst)-n {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return dst[:n], fmt.Errorf("read %s: %w", path, err)
	}
	return dst, nil
}

// read returns the content of one of the store's files.
func (d *Dir) read(path string) ([]byte, error) { return readFile(d.fs, nil, path) }

// sector is what a disk reads at once, or not at all.
const sector = 4 << 10

// readAround is read for a file of which the disk cannot read all: what it cannot is
// zeros, and there are holes.
func (d *Dir) readAround(path string) (b []byte, holes bool, err error) {
	b, err = d.read(path)
	if !errors.Is(err, syscall.EIO) {
		return b, false, err
	}
	f, err := d.fs.OpenRead(path)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	b = make([]byte, fi.Size())
	for at := 0; at < len(b); at += sector {
		part := b[at:min(at+sector, len(b))]
		if n, err := f.ReadAt(part, int64(at)); n < len(part) {
			if !errors.Is(err, syscall.EIO) {
				return nil, false, fmt.Errorf("read %s: %w", path, err)
			}
			clear(part)
			holes = true
		}
	}
	return b, holes, nil
}

// replace makes data the durable content of path in one step.
func (d *Dir) replace(path string, data []byte) error {
	return d.diskFull(durable.Replace(d.fs, path, d.tempName(), data))
}

// tempName returns a name in the store's directory for temporary files that
// no one else uses.
func (d *Dir) tempName() string {
	return filepath.Join(d.path, tmpDir, fmt.Sprintf("%d", d.temps.Add(1)))
}

// discard removes a file of which nothing is needed. What it cannot remove lies
// in tmp/, which is emptied at the next start, or is what GC takes.
func (d *Dir) discard(path string) {
	if err := d.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.opt.Logger.Debug("remove what is not needed", "error", err)
	}
}

// removeDurably removes a file and makes that durable.
func (d *Dir) removeDurably(path string) error {
	if err := d.fs.Remove(path); err != nil {
		return err
	}
	return d.fs.SyncDir(filepath.Dir(path))
}
