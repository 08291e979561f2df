// Package durable makes changes to files that a power failure does not undo.
//
//   - An [FS] is how they are made; [OS] is the operating system's. Tests put one
//     in its place that fails, lies, or forgets what was not synced.
//   - [Create] makes a file with its content, [Replace] gives one its content in one
//     step, [MakeDirs] makes a directory and what is missing above it.
//
// It lists and looks at nothing: who uses it does that with package os.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FS changes and reads files. Its methods may be called by several goroutines at
// once.
type FS interface {
	// Create makes a new file, and fails when there is one.
	Create(path string) (File, error)
	// Open opens a file that exists.
	Open(path string) (File, error)
	// OpenRead opens a file that exists for reading.
	OpenRead(path string) (ReadFile, error)
	Rename(from, to string) error
	Remove(path string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(path string) error
}

// File is a file that is being written.
type File interface {
	WriteAt(b []byte, at int64) (int, error)
	Sync() error
	Close() error
}

// ReadFile is a file that is being read.
type ReadFile interface {
	io.ReaderAt
	io.Closer
	Stat() (fs.FileInfo, error)
}

// OS is the operating system's.
type OS struct{}

var _ FS = OS{}

// Create implements [FS].
func (OS) Create(path string) (File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}

// Open implements [FS].
func (OS) Open(path string) (File, error) { return os.OpenFile(path, os.O_RDWR, 0) }

// OpenRead implements [FS].
func (OS) OpenRead(path string) (ReadFile, error) { return os.Open(path) }

// Rename implements [FS].
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements [FS].
func (OS) Remove(path string) error { return os.Remove(path) }

// SyncDir implements [FS].
func (OS) SyncDir(path string) error {
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

// Replace makes b the content of the file at path in one step: it is written at
// tmp, where nothing may be, synced, closed, renamed, and the directory synced. Of
// a file that could not be written nothing is left at tmp; when the error is that
// of the last step the file has its new content or, after a crash, maybe the old.
func Replace(fsys FS, path, tmp string, b []byte) error {
	if err := write(fsys, tmp, b); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := fsys.Rename(tmp, path); err != nil {
		_ = fsys.Remove(tmp)
		return fmt.Errorf("write %s: %w", path, err)
	}
	return fsys.SyncDir(filepath.Dir(path))
}

// Create makes a file with content b, and fails when there is one. A file that
// could not be written whole is removed.
func Create(fsys FS, path string, b []byte) error {
	if err := write(fsys, path, b); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(path))
}

// write makes a file whose content is durable, and whose name is not yet.
func write(fsys FS, path string, b []byte) error {
	f, err := fsys.Create(path)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = fsys.Remove(path)
	}
	return err
}

// MakeDirs makes a directory and the parents that it lacks. undo takes those away
// again that were not there, as long as they are empty.
func MakeDirs(fsys FS, path string, perm fs.FileMode) (undo func(), err error) {
	var made []string // the lowest first
	for dir := filepath.Clean(path); ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			break
		}
		made = append(made, dir)
	}
	undo = func() {
		for _, dir := range made {
			_ = os.Remove(dir)
		}
	}
	err = os.MkdirAll(path, perm)
	for i := len(made) - 1; i >= 0 && err == nil; i-- {
		err = fsys.SyncDir(filepath.Dir(made[i]))
	}
	if err != nil {
		undo()
		return func() {}, err
	}
	return undo, nil
}
