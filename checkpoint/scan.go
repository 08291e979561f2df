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
)

// quiet is how long a file must have rested before a scan for its ident to be
// trusted at the next: longer than the kernel keeps a page dirty (30 s and 5 s
// by default), because writes through a mapping to a page that is dirty
// already move no ctime, and longer than any clock tick.
const quiet = time.Minute

// content is a file whose bytes must be read.
type content struct {
	entry int         // its index among the entries
	path  string      // where the bytes are
	info  fs.FileInfo // what the file looked like when scanned; nil for a private copy
	base  []extent    // what the previous checkpoint has of it
	aside *aside      // the copy of its pages; nil: path has the bytes
}

// scan lists the tree at source. Files whose ident, size and time are those of
// prev keep its extents; the others are returned to be read.
func scan(ctx context.Context, source string, now time.Time, prev map[string]entry) (entries []entry, todo []content, err error) {
	trust := stampsWrites(source)
	var infos []fs.FileInfo
	err = filepath.WalkDir(source, func(p string, de fs.DirEntry, err error) error {
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		if err != nil {
			return err
		}
		if t := de.Type(); !t.IsDir() && !t.IsRegular() && t != fs.ModeSymlink {
			return nil // a socket, pipe or device: the workload makes it anew
		}
		fi, err := de.Info()
		if err != nil {
			return err
		}
		e, err := newEntry(source, p, fi)
		if err != nil {
			return err
		}
		if e.kind == kindFile {
			if id := identOf(fi); trust && id.ctime < now.Add(-quiet).UnixNano() {
				e.ident = id
			}
		}
		entries, infos = append(entries, e), append(infos, fi)
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) && len(entries) > 0 {
		return nil, nil, fmt.Errorf("%w: %w", ErrChanged, err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("scan state: %w", err)
	}
	order := make([]int, len(entries))
	for i := range order {
		order[i] = i
	}
	// Every path after the root's, whatever '.' compares to.
	slices.SortFunc(order[1:], func(i, j int) int { return cmp.Compare(entries[i].path, entries[j].path) })
	sorted := make([]entry, len(entries))
	for i, from := range order {
		e := entries[from]
		if e.kind == kindFile && e.size > 0 {
			old, ok := prev[e.path]
			if ok && e.ident != (ident{}) && old.ident == e.ident && old.size == e.size && old.mtime == e.mtime {
				e.extents = old.extents
			} else {
				todo = append(todo, content{entry: i, path: filepath.Join(source, filepath.FromSlash(e.path)), info: infos[from], base: old.extents})
			}
		}
		sorted[i] = e
	}
	return sorted, todo, nil
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

// unchanged reports whether fi shows the file as the scan saw it.
func (c content) unchanged(fi fs.FileInfo) bool {
	return c.info == nil || fi.Mode() == c.info.Mode() && fi.Size() == c.info.Size() &&
		fi.ModTime().Equal(c.info.ModTime()) && identOf(fi) == identOf(c.info)
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
