package foreign

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/zeebo/blake3"

	"github.com/stratoswarm/forestall/checkpoint"
)

// inspect reads what a directory holds: names and sizes, the index whole, and
// every other file whole if hash is set.
func inspect(ctx context.Context, dir string, hash bool) (e Entry, err error) {
	e = Entry{Kind: Tree, Path: dir}
	err = filepath.WalkDir(dir, func(path string, de fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if de.IsDir() {
			return nil
		}
		fi, err := fileInfo(dir, path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f := File{Path: filepath.ToSlash(rel), Size: fi.Size()}
		if hash {
			if f.Hash, err = hashFile(ctx, path); err != nil {
				return err
			}
		}
		if f.Path == dcpIndex {
			e.Kind = DCP
			e.Time = fi.ModTime().UTC()
			if e.Index, err = hashFile(ctx, path); err != nil {
				return err
			}
		}
		if e.Kind == Tree && fi.ModTime().After(e.Time) {
			e.Time = fi.ModTime().UTC()
		}
		e.Size += f.Size
		e.Files = append(e.Files, f)
		return nil
	})
	if err != nil {
		return e, err
	}
	slices.SortFunc(e.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	switch {
	case len(e.Files) == 0:
		return e, fmt.Errorf("%s is empty", dir)
	case e.unfinished() != "":
		return e, fmt.Errorf("%s has shards of a PyTorch distributed checkpoint and no %s, which is written last: it is not finished", filepath.Join(dir, filepath.FromSlash(e.unfinished())), dcpIndex)
	case e.Kind == Tree:
		e.Index = listHash(e.Files)
	}
	return e, nil
}

// fileInfo describes a file of the directory, by a link too if that stays in it.
func fileInfo(dir, path string) (fs.FileInfo, error) {
	fi, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if fi.Mode()&fs.ModeSymlink != 0 {
		real, err := filepath.EvalSymlinks(path)
		if err != nil {
			return nil, errors.New(path + " is a link that leads to nothing: " + err.Error()) // the directory itself has not gone
		}
		root, err := filepath.EvalSymlinks(dir)
		if err != nil {
			return nil, err
		}
		if rel, err := filepath.Rel(root, real); err != nil || !filepath.IsLocal(rel) {
			return nil, fmt.Errorf("%s is not a regular file but a link to %s, outside of the directory: that would not be kept with it; put the file in its place", path, real)
		}
		if fi, err = os.Stat(real); err != nil {
			return nil, err
		}
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file; a foreign checkpoint is a directory of files", path)
	}
	return fi, nil
}

// unfinished returns the first directory that has shards of a PyTorch distributed
// checkpoint and no index; "": none. A tree may have such checkpoints in it.
func (e Entry) unfinished() string {
	indexed := make(map[string]bool)
	for _, f := range e.Files {
		if path.Base(f.Path) == dcpIndex {
			indexed[path.Dir(f.Path)] = true
		}
	}
	for _, f := range e.Files {
		if strings.HasSuffix(f.Path, ".distcp") && !indexed[path.Dir(f.Path)] && e.Kind == Tree {
			return path.Dir(f.Path)
		}
	}
	return ""
}

// listHash stands for a directory that has no index: its names and sizes.
func listHash(files []File) string {
	h := blake3.New()
	for _, f := range files {
		fmt.Fprintf(h, "%d:%s %d\n", len(f.Path), f.Path, f.Size)
	}
	return checkpoint.Hash(h.Sum(nil)).String()
}

func hashFile(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := blake3.New()
	buf := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := f.Read(buf)
		_, _ = h.Write(buf[:n]) // never fails
		if errors.Is(err, io.EOF) {
			return checkpoint.Hash(h.Sum(nil)).String(), nil
		}
		if err != nil {
			return "", err
		}
	}
}

// compare reports the first few differences between what was registered and
// what is there; content only where hashes were registered and contents is set.
func compare(ctx context.Context, e Entry, contents bool) error {
	there := make(map[string]int64)
	now, err := inspect(ctx, e.Path, false)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s has gone", ErrDamaged, e.Path)
	}
	if err != nil && now.Files == nil {
		return err
	}
	for _, f := range now.Files {
		there[f.Path] = f.Size
	}
	var wrong []error
	found := func(format string, args ...any) {
		if len(wrong) < 8 {
			wrong = append(wrong, fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...)))
		}
	}
	for _, f := range e.Files {
		path := filepath.Join(e.Path, filepath.FromSlash(f.Path))
		size, ok := there[f.Path]
		switch {
		case !ok:
			found("%s is missing", path)
		case size != f.Size:
			found("%s has %d bytes, %d were registered", path, size, f.Size)
		case contents && f.Hash != "":
			sum, err := hashFile(ctx, path)
			if err != nil {
				return err
			}
			if sum != f.Hash {
				found("the content of %s has changed", path)
			}
		}
		delete(there, f.Path)
	}
	if e.Kind == DCP && len(wrong) == 0 && now.Index != e.Index {
		found("%s has changed: another checkpoint was written over it", filepath.Join(e.Path, dcpIndex))
	}
	if e.Kind == Tree {
		for name := range there {
			found("%s was added", filepath.Join(e.Path, filepath.FromSlash(name)))
		}
	}
	return errors.Join(wrong...)
}

// rest is how old the newest file must be for a directory without an index to
// count as finished.
const rest = 10 * time.Second
