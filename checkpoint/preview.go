package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/stratoswarm/forestall/internal/parallel"
)

// Changes is what a restore would do to its target. Paths are relative to it
// and sorted.
type Changes struct {
	Added   []string `json:"added"`   // not there now
	Changed []string `json:"changed"` // other content, link target or kind
	Removed []string `json:"removed"` // there now, and not in the checkpoint
	Same    int      `json:"same"`    // entries that would stay as they are
	Size    int64    `json:"size_bytes"`
}

// Preview is the dry run of [Dir.Restore] or, when state is not "", of
// [Dir.RestoreState]: it reads and verifies every byte of the checkpoint that
// these would read, compares it with what the target holds, and writes nothing.
// Modes, owners and times are not compared. Errors are those of the restore.
func (d *Dir) Preview(ctx context.Context, id, state, target string) (Changes, error) {
	m, unpin, err := d.pinManifest(id)
	if err != nil {
		return Changes{}, fmt.Errorf("preview of restoring to %s: %w", target, err)
	}
	defer unpin()
	c, err := d.preview(ctx, m, state, target)
	if err != nil {
		return Changes{}, fmt.Errorf("preview of restoring checkpoint %.12s of %s to %s: %w", id, m.workload, target, err)
	}
	return c, nil
}

func (d *Dir) preview(ctx context.Context, m *manifest, state, target string) (c Changes, err error) {
	if err := d.apart(target); err != nil {
		return c, err
	}
	under := "."
	if err := mayReplace(target, "", kindDir); state == "" && err != nil {
		return c, err
	}
	if state != "" {
		if m, err = m.part(state); err != nil {
			return c, err
		}
		if err := mayReplace(target, state, m.entries[0].kind); err != nil {
			return c, err
		}
		under = state
		if root := &m.entries[0]; root.kind != kindDir {
			root.path = "."
		}
	}
	v := comparison{d: d, m: m, at: filepath.Join(target, under), verdicts: make([]verdict, len(m.entries))}
	if err := v.entries(); err != nil {
		return c, err
	}
	if err := v.contents(ctx); err != nil {
		return c, err
	}
	c.Size = m.size
	for i, e := range m.entries {
		name := filepath.ToSlash(filepath.Join(under, e.path))
		if name == "." {
			continue
		}
		switch v.verdicts[i] {
		case added:
			c.Added = append(c.Added, name)
		case changed:
			c.Changed = append(c.Changed, name)
		default:
			c.Same++
		}
	}
	c.Removed, err = v.removed(under)
	slices.Sort(c.Added)
	slices.Sort(c.Changed)
	return c, err
}

// verdict is what a restore would do to an entry.
type verdict int

const (
	same verdict = iota
	added
	changed
)

// comparison compares a tree with a directory.
type comparison struct {
	d  *Dir
	m  *manifest
	at string

	mu       sync.Mutex
	verdicts []verdict // by entry
}

// entries judges what needs no content.
func (v *comparison) entries() error {
	for i, e := range v.m.entries {
		p := v.path(e)
		fi, err := os.Lstat(p)
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
			v.verdicts[i] = added
		case err != nil:
			return err
		case e.kind == kindDir && !fi.IsDir() && i > 0,
			e.kind == kindFile && (!fi.Mode().IsRegular() || fi.Size() != e.size):
			v.verdicts[i] = changed
		case e.kind == kindSymlink:
			if to, err := os.Readlink(p); err != nil || to != e.target {
				v.verdicts[i] = changed
			}
		}
	}
	return nil
}

func (v *comparison) path(e entry) string { return filepath.Join(v.at, filepath.FromSlash(e.path)) }

// contents reads every chunk and compares it with the files of the same size.
func (v *comparison) contents(ctx context.Context) error {
	uses := usesOf(v.m.entries)
	return parallel.Do(ctx, v.d.opt.Workers, len(uses), func(ctx context.Context, i int) error {
		return v.d.writeUse(ctx, uses[i], v.compare)
	})
}

func (v *comparison) compare(i int, b []byte, at int64) error {
	v.mu.Lock()
	judged := v.verdicts[i] != same
	v.mu.Unlock()
	if judged {
		return nil
	}
	f, err := os.Open(v.path(v.m.entries[i]))
	if err != nil {
		return err
	}
	defer f.Close()
	buf := v.d.bufs.Get().(*[]byte)
	defer v.d.bufs.Put(buf)
	*buf = slices.Grow((*buf)[:0], len(b))[:len(b)]
	if n, err := f.ReadAt(*buf, at); err != nil && !errors.Is(err, io.EOF) {
		return err
	} else if !bytes.Equal((*buf)[:n], b) {
		v.mu.Lock()
		v.verdicts[i] = changed
		v.mu.Unlock()
	}
	return nil
}

// removed lists what the directory has and the tree has not.
func (v *comparison) removed(under string) (names []string, err error) {
	if v.m.entries[0].kind != kindDir {
		return nil, nil
	}
	kept := make(map[string]bool, len(v.m.entries))
	for _, e := range v.m.entries {
		kept[filepath.FromSlash(e.path)] = true
	}
	root := v.at
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	err = filepath.WalkDir(root, func(p string, _ fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err == nil && !kept[rel] {
			names = append(names, filepath.ToSlash(filepath.Join(under, rel)))
		}
		return err
	})
	slices.Sort(names)
	return names, err
}
