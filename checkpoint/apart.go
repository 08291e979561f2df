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
