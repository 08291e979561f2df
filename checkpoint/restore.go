package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/stratoswarm/forestall/internal/parallel"

	"github.com/stratoswarm/forestall/internal/durable"
)

// Restore makes target the tree that the checkpoint holds. The tree is built
// beside target, every chunk verified, made durable, and then exchanged for it
// in one step: target is the old state or the new at any moment, also across a
// crash. What target held before is removed. Errors wrap [ErrNotFound] and
// [ErrCorrupt] and leave target as it was.
func (d *Dir) Restore(ctx context.Context, id, target string) error {
	m, unpin, err := d.pinManifest(id)
	if err != nil {
		return fmt.Errorf("restore to %s: %w", target, err)
	}
	defer unpin()
	if err := d.restore(ctx, m, target); err != nil {
		return fmt.Errorf("restore checkpoint %.12s of %s to %s: %w", id, m.workload, target, err)
	}
	return nil
}

func (d *Dir) restore(ctx context.Context, m *manifest, target string) (err error) {
	target, err = filepath.Abs(target)
	if err != nil {
		return err
	}
	if err := d.apart(target); err != nil {
		return err
	}
	if err := mayReplace(target, "", kindDir); err != nil {
		return err
	}
	undo, err := durable.MakeDirs(d.aim, filepath.Dir(target), 0o755)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			undo()
		}
	}()
	if real, err := filepath.EvalSymlinks(target); err == nil {
		target = real
	}
	unlock, err := d.restoring.lock(ctx, target)
	if err != nil {
		return err
	}
	defer unlock()
	parent := filepath.Dir(target)
	build, err := newSite(parent, filepath.Base(target), target)
	if err != nil {
		return err
	}
	defer func() {
		if rerr := build.remove(); rerr != nil {
			d.opt.Logger.Warn("remove what a restore left", "path", build.dir, "error", rerr)
		}
	}()
	m.entries[0].keepOwn(target)
	if err := d.build(ctx, m, build.dir); err != nil {
		if errors.Is(err, syscall.ENOSPC) {
			return fmt.Errorf("%w: the state needs %d bytes beside %s: %w", ErrDiskFull, m.size, target, err)
		}
		return err
	}
	if err := swap(build.dir, target); err != nil {
		return err
	}
	return d.aim.SyncDir(parent)
}

// build makes the tree in the empty directory dir, durably.
func (d *Dir) build(ctx context.Context, m *manifest, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if err := makeEntries(root, m.entries); err != nil {
		return err
	}
	if err := d.fill(ctx, root, m.entries); err != nil {
		return err
	}
	early, err := openEarly(root, m.entries)
	defer early.close()
	if err != nil {
		return err
	}
	// Children before parents: a directory's time and mode come last.
	foreign := 0
	for _, e := range slices.Backward(m.entries) {
		owned, err := stamp(root, e)
		if err != nil {
			return err
		}
		if e.owner.known && !owned {
			foreign++
		}
	}
	if foreign > 0 {
		d.opt.Logger.Warn("owners are not restored: this user may not give files away", "entries", foreign)
	}
	return d.syncTree(dir, m.entries, early)
}

// makeEntries creates directories, links and empty files.
func makeEntries(root *os.Root, entries []entry) (err error) {
	for _, e := range entries[1:] {
		name := filepath.FromSlash(e.path)
		switch e.kind {
		case kindDir:
			err = root.Mkdir(name, 0o700)
		case kindSymlink:
			err = root.Symlink(e.target, name)
		case kindFile:
			var f *os.File
			if f, err = root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
				err = errors.Join(f.Truncate(e.size), f.Close())
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// usesAtOnce is how many chunks, next to each other as a rule, a worker takes
// at once, so that it opens a file once for them.
const usesAtOnce = 8

// fill writes the content of the files.
func (d *Dir) fill(ctx context.Context, root *os.Root, entries []entry) error {
	groups := slices.Collect(slices.Chunk(usesOf(entries), usesAtOnce))
	return parallel.Do(ctx, d.opt.Workers, len(groups), func(ctx context.Context, i int) (err error) {
		to := target{root: root, entries: entries, open: -1}
		defer func() { err = errors.Join(err, to.close()) }()
		for _, u := range groups[i] {
			if err := d.writeUse(ctx, u, to.write); err != nil {
				return fmt.Errorf("file %q: %w", entries[u.places[0].entry].path, err)
			}
		}
		return nil
	})
}

// target writes to the files of a tree, of which it holds the last one open.
type target struct {
	root    *os.Root
	entries []entry
	open    int // index of f's entry; -1: none
	f       *os.File
	wrote   PageRange // since the disk was last set going
}

func (t *target) write(entry int, b []byte, at int64) (err error) {
	if entry != t.open {
		if err := t.close(); err != nil {
			return err
		}
		if t.f, err = t.root.OpenFile(filepath.FromSlash(t.entries[entry].path), os.O_WRONLY, 0); err != nil {
			return err
		}
		t.open = entry
	}
	return eachFilled(b, at, t.put)
}

// put writes to the file that is open, which is new and as long as it is to be.
func (t *target) put(b []byte, at int64) error {
	if _, err := t.f.WriteAt(b, at); err != nil {
		return err
	}
	if at != t.wrote.end() {
		t.flush()
		t.wrote.Offset = at
	}
	if t.wrote.Length += int64(len(b)); t.wrote.Length >= flushBytes {
		t.flush()
	}
	return nil
}

// flushBytes is how much is written to a file before the disk is set going with
// it, so that the sync at the end finds little left to do.
const flushBytes = 4 << 20

func (t *target) flush() {
	if t.wrote.Length >= flushBytes/4 {
		startWriting(t.f, t.wrote)
	}
	t.wrote = PageRange{Offset: t.wrote.end()}
}

func (t *target) close() error {
	if t.open < 0 {
		return nil
	}
	t.open = -1
	t.flush()
	return t.f.Close()
}

// stamp gives an entry its owner, and unless it is a link its mode and time.
// What does not get the owner that it had does not run as one either.
func stamp(root *os.Root, e entry) (owned bool, err error) {
	name := filepath.FromSlash(e.path)
	if owned, err = e.owner.give(root, name); err != nil || e.kind == kindSymlink {
		return owned, err
	}
	t := time.Unix(0, e.mtime)
	if err := root.Chtimes(name, t, t); err != nil {
		return owned, err
	}
	mode := e.mode
	if !owned {
		mode &^= setIDs
	}
	return owned, root.Chmod(name, fileMode(mode))
}

// setIDs are the bits that have a program run as its file's owner or group.
const setIDs = 0o6000

// give makes the entry the owner's; false where this user or the file system
// cannot, or there is none recorded.
func (o owner) give(root *os.Root, name string) (bool, error) {
	if !o.known {
		return false, nil
	}
	err := root.Lchown(name, int(o.uid), int(o.gid))
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return false, nil
	}
	return err == nil, err
}

// keepOwn gives an entry without an owner the owner and mode of what it replaces,
// if that is of its kind.
func (e *entry) keepOwn(path string) {
	fi, err := os.Lstat(path)
	if err != nil || e.owner.known || fi.IsDir() != (e.kind == kindDir) || fi.Mode().IsRegular() != (e.kind == kindFile) {
		return
	}
	if e.owner = ownerOf(fi); e.owner.known {
		e.mode = unixMode(fi.Mode())
		if e.kind == kindFile {
			e.mode &^= setIDs
		}
	}
}

// manyFiles is where one sync of the file system, which waits for what others
// have written too, is taken for cheaper than a sync of each file.
const manyFiles = 256

// early is what of a tree is opened before it gets its mode, by path: the root,
// and what its owner may not read.
type early map[string]*os.File

func openEarly(root *os.Root, entries []entry) (early, error) {
	open := make(early)
	for i, e := range entries {
		if i > 0 && (e.kind == kindSymlink || e.mode&0o400 != 0 || len(entries) > manyFiles) {
			continue
		}
		f, err := root.Open(filepath.FromSlash(e.path))
		if err != nil {
			return open, err
		}
		open[e.path] = f
	}
	return open, nil
}

func (o early) close() {
	for _, f := range o {
		_ = f.Close()
	}
}

// syncTree makes a new tree durable.
func (d *Dir) syncTree(dir string, entries []entry, open early) error {
	err := errors.ErrUnsupported
	if len(entries) > manyFiles {
		err = syncFileSystem(open[entries[0].path])
	}
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	for _, e := range slices.Backward(entries) {
		if e.kind == kindSymlink {
			continue
		}
		err := d.aim.SyncDir(filepath.Join(dir, filepath.FromSlash(e.path)))
		if f := open[e.path]; f != nil && errors.Is(err, fs.ErrPermission) {
			err = f.Sync()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// swap puts the new tree in target's place; the old one, if any, is afterwards
// at the path of the new.
func swap(build, target string) error {
	fi, err := os.Lstat(target)
	if errors.Is(err, fs.ErrNotExist) {
		return os.Rename(build, target)
	}
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return fmt.Errorf("%s is not a directory; remove it or give another target", target)
	}
	err = exchange(build, target)
	if errors.Is(err, errors.ErrUnsupported) {
		err = swapByRenaming(build, target)
	}
	if errors.Is(err, syscall.EBUSY) {
		return fmt.Errorf("%w: a mount point cannot be exchanged; keep the state in a directory below it", err)
	}
	return err
}

// swapByRenaming is for file systems that cannot exchange. A crash between its
// two renames leaves the old state under build's name with ".old" added.
func swapByRenaming(build, target string) error {
	old := build + ".old"
	if err := os.Rename(target, old); err != nil {
		return err
	}
	if err := os.Rename(build, target); err != nil {
		return errors.Join(err, os.Rename(old, target))
	}
	return os.Rename(old, build)
}

// removeTree removes a tree, also below directories that may not be written.
func removeTree(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	_ = filepath.WalkDir(dir, func(p string, de fs.DirEntry, _ error) error {
		if de != nil && de.IsDir() {
			_ = os.Chmod(p, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
