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
	entry int         // its index among the entries
	path  string      // where the bytes are
	info  fs.FileInfo // what the file looked like when scanned; nil for a private copy
	base  []extent    // what the previous checkpoint has of it
	aside *aside      // the copy of its pages; nil: path has the bytes
}

// scan lists the tree at source. Files whose ident, size and time are those of
// prev keep its extents; the others are returned to be read. still has every
// directory looked at once more: what is moved from one that is not listed yet into
// one that is would be in neither.
func scan(ctx context.Context, source string, now time.Time, prev map[string]entry, still bool) (entries []entry, todo []content, left forestall.LeftOut, err error) {
	trust := trustIn(source)
	var infos []fs.FileInfo
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
		if e.kind == kindFile {
			e.ident = trust.ident(fi, now)
		}
		entries, infos = append(entries, e), append(infos, fi)
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) && len(entries) > 0 {
		return nil, nil, left, fmt.Errorf("%w: %w", ErrChanged, err)
	}
	if err != nil {
		return nil, nil, left, fmt.Errorf("scan state: %w", err)
	}
	for i, e := range entries {
		if !still || e.kind != kindDir {
			continue
		}
		path := filepath.Join(source, filepath.FromSlash(e.path))
		if fi, err := os.Lstat(path); err != nil || !(content{info: infos[i]}).unchanged(fi) {
			return nil, nil, left, fmt.Errorf("%w: names in %s came or went; freeze the workload", ErrChanged, path)
		}
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
	return sorted, todo, left, nil
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
