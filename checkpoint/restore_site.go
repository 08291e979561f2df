package checkpoint

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// site is a directory in which a restore builds, beside what it replaces. It is
// locked while that goes on, so that another process's restore does not take it
// for the rest of one that was killed.
type site struct {
	dir  string
	lock *os.File
}

// newSite makes one in parent for what is called name there, and first clears up.
func newSite(parent, name, target string) (p site, err error) {
	prefix := sitePrefix(name)
	sweep(parent, prefix, target)
	if p.dir, err = os.MkdirTemp(parent, prefix); err != nil {
		return p, err
	}
	if p.lock, err = os.Open(p.dir); err == nil {
		err = lockFile(p.lock)
	}
	if err != nil {
		return p, errors.Join(err, p.remove())
	}
	return p, nil
}

// longestName is that of a file; to a prefix ten digits are added, and ".old".
const longestName = 255 - 14

// sitePrefix is how the names of sites begin for what is called name.
func sitePrefix(name string) string {
	const end = ".restore-"
	if len(name)+1+len(end) > longestName {
		name = nameHash(name).String()
	}
	return "." + name + end
}

// isSite reports whether a name is that of a site with the prefix, or of what
// swapByRenaming puts beside one.
func isSite(name, prefix string) bool {
	digits, ok := strings.CutPrefix(strings.TrimSuffix(name, ".old"), prefix)
	return ok && digits != "" && strings.Trim(digits, "0123456789") == ""
}

// remove removes what is there by now: what was built, or what that has replaced.
func (p site) remove() error {
	err := removeTree(p.dir)
	if p.lock != nil {
		err = errors.Join(err, p.lock.Close())
	}
	return err
}

// sweep removes what restores that were killed have left, and puts the old
// state back if one was killed between the two renames of swapByRenaming.
func sweep(parent, prefix, target string) {
	names, _ := os.ReadDir(parent)
	for _, e := range names {
		if !isSite(e.Name(), prefix) {
			continue
		}
		left := filepath.Join(parent, e.Name())
		if _, err := os.Lstat(target); errors.Is(err, fs.ErrNotExist) && strings.HasSuffix(left, ".old") {
			_ = os.Rename(left, target)
			continue
		}
		f, err := os.Open(left)
		if err != nil {
			continue
		}
		if lockFile(f) == nil { // nobody builds in it
			_ = removeTree(left)
		}
		f.Close()
	}
}
