package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// apart refuses to replace a directory that is a store, lies in this one or
// holds it: a restore would destroy what it reads from.
func (d *Dir) apart(target string) error {
	target, err := realPath(target)
	if err != nil {
		return err
	}
	store, err := realPath(d.path)
	if err != nil {
		return err
	}
	if within(target, store) || within(store, target) {
		return fmt.Errorf("%w: %s is what it reads from; restore into another directory", ErrStoreInTheWay, d.path)
	}
	if _, err := os.Lstat(filepath.Join(target, markerFile)); err == nil {
		return fmt.Errorf("%w: it is a checkpoint store; restore into another directory", ErrStoreInTheWay)
	}
	return nil
}

// outside refuses to save a directory that holds this store, which would save
// itself, or lies in it. source is without links.
func (d *Dir) outside(source string) error {
	store, err := realPath(d.path)
	if err != nil {
		return err
	}
	if within(store, source) || within(source, store) {
		return fmt.Errorf("%w: %s lies in what is saved, or holds it; keep the store elsewhere, or save another directory", ErrStoreInTheWay, d.path)
	}
	return nil
}

// mayReplace refuses a target that cannot become an entry of that kind, by the
// rules of Restore and RestoreState. A directory may be behind a link if it is the
// target itself, and not a state below it.
func mayReplace(target, state string, kind entryKind) error {
	if real, err := filepath.EvalSymlinks(target); err == nil {
		target = real
	}
	if state != "" {
		if fi, err := os.Stat(target); err == nil && !fi.IsDir() {
			return fmt.Errorf("%s is not a directory; remove it or give another target", target)
		}
		target = filepath.Join(target, state)
	}
	fi, err := os.Lstat(target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case kind == kindDir && !fi.IsDir():
		return fmt.Errorf("%s is not a directory; remove it or give another target", target)
	case kind != kindDir && fi.IsDir():
		return fmt.Errorf("%s is a directory, and in the checkpoint it is none; remove it or give another target", target)
	}
	return nil
}

// within reports whether path is dir or below it; both are clean and absolute.
func within(path, dir string) bool {
	return path == dir || dir == string(filepath.Separator) || strings.HasPrefix(path, dir+string(filepath.Separator))
}

// realPath resolves the links of as much of the path as there is.
func realPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	rest := ""
	for p := path; ; p = filepath.Dir(p) {
		real, err := filepath.EvalSymlinks(p)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		if !errors.Is(err, fs.ErrNotExist) || p == filepath.Dir(p) {
			return "", err
		}
		rest = filepath.Join(filepath.Base(p), rest)
	}
}
