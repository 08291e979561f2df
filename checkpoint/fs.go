package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// fileSystem is how a store changes its directory and reads the files in it;
// what lists and looks at names uses package os. Tests put one in its place that
// fails, lies, or forgets what was not synced.
type fileSystem interface {
	// Create makes a new file, and fails when there is one.
	Create(path string) (storeFile, error)
	// Open opens a file that exists.
	Open(path string) (storeFile, error)
	// OpenRead opens a file that exists for reading.
	OpenRead(path string) (readableFile, error)
	Rename(from, to string) error
	Remove(path string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(path string) error
}

// storeFile is a file that is being written.
type storeFile interface {
	WriteAt(b []byte, at int64) (int, error)
	Sync() error
	Close() error
}

// readableFile is a file that is being read.
type readableFile interface {
	io.ReaderAt
	io.Closer
	Stat() (fs.FileInfo, error)
}

// osFS is the operating system's.
type osFS struct{}

var _ fileSystem = osFS{}

func (osFS) Create(path string) (storeFile, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}
func (osFS) Open(path string) (storeFile, error) { return os.OpenFile(path, os.O_RDWR, 0) }
func (osFS) OpenRead(path string) (readableFile, error) {
	return os.Open(path)
}
func (osFS) Rename(from, to string) error { return os.Rename(from, to) }
func (osFS) Remove(path string) error     { return os.Remove(path) }
func (osFS) SyncDir(path string) error    { return syncDir(path) }

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync directory %s: %w", path, err)
	}
	return nil
}

// readFile appends the content of the file at path to dst.
func readFile(fsys fileSystem, dst []byte, path string) ([]byte, error) {
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

// makeDir makes a directory and the parents that it lacks, durably.
func makeDir(path string) error {
	var made []string
	for p := path; ; p = filepath.Dir(p) {
		if _, err := os.Lstat(p); !errors.Is(err, fs.ErrNotExist) || p == filepath.Dir(p) {
			break
		}
		made = append(made, p)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	for _, p := range made {
		if err := syncDir(filepath.Dir(p)); err != nil {
			return err
		}
	}
	return nil
}

// writeTemp writes a durable file under a temporary name. One that could not be
// written whole is removed.
func (d *Dir) writeTemp(data []byte) (path string, err error) {
	path = d.tempName()
	f, err := d.fs.Create(path)
	if err != nil {
		return "", err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		d.discard(path)
	}
	return path, err
}

// replace makes data the durable content of path in one step: temporary file,
// fsync, close, rename, fsync of the directory.
func (d *Dir) replace(path string, data []byte) error {
	tmp, err := d.writeTemp(data)
	if err != nil {
		return d.diskFull(fmt.Errorf("write %s: %w", path, err))
	}
	if err := d.fs.Rename(tmp, path); err != nil {
		d.discard(tmp)
		return d.diskFull(err)
	}
	return d.fs.SyncDir(filepath.Dir(path))
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
