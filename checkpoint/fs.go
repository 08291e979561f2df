package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

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
