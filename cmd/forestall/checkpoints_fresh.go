package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// freshStore is a directory that becomes a store by this command, which takes
// away what it made when nothing came into it.
type freshStore struct {
	path  string
	above []string // directories that were not there either, the lowest first
	was   bool     // the directory was there, empty
}

// newFreshStore looks at what is to become a store; nil: something is there.
func newFreshStore(path string) *freshStore {
	names, err := os.ReadDir(path)
	switch {
	case err == nil && len(names) == 0:
		return &freshStore{path: path, was: true}
	case !errors.Is(err, fs.ErrNotExist):
		return nil
	}
	f := &freshStore{path: path}
	for dir := filepath.Dir(filepath.Clean(path)); ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return f
		}
		f.above = append(f.above, dir)
	}
}

// remove takes away what was made: with [os.Remove] no more than empty
// directories and the lock. What cannot be removed is left as an empty store.
func (f *freshStore) remove(entry func(string) error) {
	if f == nil {
		return
	}
	names, err := os.ReadDir(f.path)
	if err != nil {
		return
	}
	for _, e := range names {
		_ = entry(filepath.Join(f.path, e.Name()))
	}
	if f.was {
		return
	}
	_ = os.Remove(f.path)
	for _, dir := range f.above {
		_ = os.Remove(dir)
	}
}
