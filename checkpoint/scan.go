package checkpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/stratoswarm/forestall"
)

// content is a file whose bytes must be read.
type content struct {
	entry int      // its index among the entries
	path  string   // where the bytes are
	seen  seen     // what the file looked like when scanned; none for a private copy
	base  []extent // what the previous checkpoint has of it
	aside *aside   // the copy of its pages; nil: path has the bytes
}

// seen is what a file looked like: one that is written to looks otherwise, as far as
// its file system tells.
type seen struct {
	known bool
	mode  fs.FileMode
	size  int64
	mtime int64 // ns since 1970
	ident ident
}

func seenAs(fi fs.FileInfo) seen {
	return seen{true, fi.Mode(), fi.Size(), fi.ModTime().UnixNano(), identOf(fi)}
}

// unchanged reports whether fi shows the file as it was.
func (s seen) unchanged(fi fs.FileInfo) bool { return !s.known || seenAs(fi) == s }

// leanable are the entries of the previous checkpoint, in order; those on which the
// next may not lean have no kind.
type leanable []entry

// file returns a file on which the next checkpoint may lean; none has no kind.
func (l leanable) file(path string) (none entry) {
	if len(l) == 0 {
		return none
	}
	below := l[1:] // the root, which may compare to the others in any way
	i, ok := slices.BinarySearchFunc(below, path, func(e entry, path string) int { return cmp.Compare(e.path, path) })
	if !ok || below[i].kind != kindFile {
		return none
	}
	return below[i]
}

// scan lists the tree at source. Files whose ident, size and time are those of
// prev keep its extents; the others are returned to be read, in the order of their
// paths. still has every
// directory looked at once more: what is moved from one that is not listed yet into
// one that is would be in neither.
func scan(ctx context.Context, source string, now time.Time, prev leanable, still bool) (entries []entry, todo []content, left forestall.LeftOut, err error) {
	trust := trustIn(source)
	var dirs []content
	err = filepath.WalkDir(source, func(p string, de fs.DirEntry, err error) error {
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		if err != nil {
			return err
		}
		if what := special(de.Type()); what != "" {
			leaveOut(&left, source, p, what)
			return nil
		}
		fi, err := de.Info()
		if err != nil {
			return err
		}
		e, err := newEntry(source, p, fi)
		if err != nil {
			return err
		}
		switch {
		case e.kind == kindDir && still:
			dirs = append(dirs, content{path: p, seen: seenAs(fi)})
		case e.kind == kindFile:
			e.ident = trust.ident(fi, now)
			if e.size == 0 {
				break
			}
			old := prev.file(e.path)
			if e.ident != (ident{}) && old.ident == e.ident && old.size == e.size && old.mtime == e.mtime {
				e.extents = old.extents
			} else {
				todo = append(todo, content{entry: len(entries), path: p, seen: seenAs(fi), base: old.extents})
			}
		}
		entries = append(entries, e)
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) && len(entries) > 0 {
		return nil, nil, left, fmt.Errorf("%w: %w", ErrChanged, err)
	}
	if err != nil {
		return nil, nil, left, fmt.Errorf("scan state: %w", err)
	}
	for _, c := range dirs {
		if fi, err := os.Lstat(c.path); err != nil || !c.seen.unchanged(fi) {
			return nil, nil, left, fmt.Errorf("%w: names in %s came or went; freeze the workload", ErrChanged, c.path)
		}
	}
	sortEntries(entries, todo)
	return entries, todo, left, nil
}

// sortEntries brings entries and the files to be read into the order of their
// paths, every path after the root's, whatever '.' compares to.
func sortEntries(entries []entry, todo []content) {
	slices.SortFunc(todo, func(a, b content) int { return cmp.Compare(entries[a.entry].path, entries[b.entry].path) })
	slices.SortFunc(entries[1:], func(a, b entry) int { return cmp.Compare(a.path, b.path) })
	n := 0
	for i, e := range entries {
		if e.kind == kindFile && e.size > 0 && len(e.extents) == 0 { // the next that is to be read
			todo[n].entry = i
			n++
		}
	}
}

// special names what a checkpoint cannot hold and the workload makes anew; ""
// for everything else.
func special(t fs.FileMode) string {
	switch {
	case t.IsDir(), t.IsRegular(), t&fs.ModeSymlink != 0:
		return ""
	case t&fs.ModeSocket != 0:
		return "socket"
	case t&fs.ModeNamedPipe != 0:
		return "pipe"
	case t&fs.ModeDevice != 0:
		return "device"
	}
	return "irregular file"
}

// firstLeftOut is how many names a result has of what was left out.
const firstLeftOut = 16

func leaveOut(left *forestall.LeftOut, source, path, what string) {
	left.Count++
	if len(left.First) == firstLeftOut {
		return
	}
	if rel, err := filepath.Rel(source, path); err == nil {
		path = filepath.ToSlash(rel)
	}
	left.First = append(left.First, fmt.Sprintf("%s (%s)", path, what))
}

func newEntry(source, p string, fi fs.FileInfo) (e entry, err error) {
	rel, err := filepath.Rel(source, p)
	if err != nil {
		return e, err
	}
	e.path = filepath.ToSlash(rel)
	if len(e.path) > maxPath {
		return e, fmt.Errorf("%w: %.200q is longer than %d bytes", ErrUnsafePath, e.path, maxPath)
	}
	e.owner = ownerOf(fi)
	switch {
	case fi.IsDir():
		e.kind = kindDir
	case fi.Mode().IsRegular():
		e.kind, e.size = kindFile, fi.Size()
	default:
		e.kind = kindSymlink
		if e.target, err = os.Readlink(p); err != nil {
			return e, err
		}
		return e, checkLink(e.path, e.target)
	}
	e.mode, e.mtime = unixMode(fi.Mode()), fi.ModTime().UnixNano()
	return e, nil
}

// The permission bits of stat(2) and of package fs.
var modeBits = []struct {
	unix uint32
	mode fs.FileMode
}{{0o4000, fs.ModeSetuid}, {0o2000, fs.ModeSetgid}, {0o1000, fs.ModeSticky}}

func unixMode(m fs.FileMode) uint32 {
	u := uint32(m.Perm())
	for _, b := range modeBits {
		if m&b.mode != 0 {
			u |= b.unix
		}
	}
	return u
}

func fileMode(u uint32) fs.FileMode {
	m := fs.FileMode(u & 0o777)
	for _, b := range modeBits {
		if u&b.unix != 0 {
			m |= b.mode
		}
	}
	return m
}
