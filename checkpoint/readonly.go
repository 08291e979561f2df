package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/internal/durable"
)

// ErrReadOnly says that the store was opened for reading.
var ErrReadOnly = errors.New("checkpoint store is open for reading only")

// OpenDirReadOnly opens the store at path for reading, also while an engine has
// it open; it neither locks nor changes anything there. What came since is not
// seen, and what the engine's GC removes meanwhile is an error that wraps
// [ErrCorrupt] and passes when the store is opened again. Whatever would write
// fails with [ErrReadOnly].
func OpenDirReadOnly(path string, opt Options) (*Dir, error) {
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open checkpoint store: %w", err)
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: there is no directory %s", ErrNotStore, path)
	}
	if err != nil {
		return nil, fmt.Errorf("open checkpoint store: %w", err)
	}
	version, damaged, err := inspect(path)
	if err == nil && version == 0 || errors.Is(err, ErrNotStore) {
		if _, merr := os.Lstat(filepath.Join(path, markerFile)); errors.Is(merr, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %s has no %s", ErrNotStore, path, markerFile)
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	if damaged {
		opt.Logger.Error("the file that says that this is a checkpoint store is damaged or missing; it is written anew when the store is next changed",
			"path", filepath.Join(path, markerFile))
	}
	d := newDir(readOnlyFS{}, path, opt)
	d.lock = f
	d.catalogue.f, d.catalogue.gone = readOnlyFile{}, make(map[hash]bool)
	if d.codec, err = newCodec(opt); err != nil {
		f.Close()
		return nil, err
	}
	if err := d.loadRead(version); err != nil {
		return nil, errors.Join(err, d.release())
	}
	return d, nil
}

// loadRead is load without what changes the store.
func (d *Dir) loadRead(version int) error {
	known, err := d.readCatalogue(version == 2)
	if err != nil {
		return err
	}
	if err := d.checkKeys(known.keyring); err != nil && !errors.Is(err, ErrReadOnly) {
		return err
	}
	d.recorded = known.fences
	var fences error
	if version == 2 { // those of version 1 are written anew as they are read
		fences = d.loadFences(version, known)
	}
	return errors.Join(fences, d.loadPacks(), d.loadLoose(), d.loadManifests(known))
}

// readOnlyFS refuses every change.
type readOnlyFS struct{}

var _ durable.FS = readOnlyFS{}

func (readOnlyFS) Create(string) (durable.File, error) { return nil, ErrReadOnly }
func (readOnlyFS) Open(string) (durable.File, error)   { return nil, ErrReadOnly }
func (readOnlyFS) OpenRead(path string) (durable.ReadFile, error) {
	return durable.OS{}.OpenRead(path)
}
func (readOnlyFS) Rename(string, string) error { return ErrReadOnly }
func (readOnlyFS) Remove(string) error         { return ErrReadOnly }
func (readOnlyFS) SyncDir(string) error        { return ErrReadOnly }

// readOnlyFile stands for the catalogue.
type readOnlyFile struct{}

var _ durable.File = readOnlyFile{}

func (readOnlyFile) WriteAt([]byte, int64) (int, error) { return 0, ErrReadOnly }
func (readOnlyFile) Sync() error                        { return ErrReadOnly }
func (readOnlyFile) Close() error                       { return nil }

// Difference is what one checkpoint has and another has not.
type Difference struct {
	From    forestall.Checkpoint `json:"from"`
	To      forestall.Checkpoint `json:"to"`
	Added   []string             `json:"added"`   // paths that only To has
	Changed []string             `json:"changed"` // other content, link target, kind or permissions
	Removed []string             `json:"removed"` // paths that only From has
	Same    int                  `json:"same"`
	Bytes   int64                `json:"new_bytes"` // of chunks that only To needs, before compression
}

// Diff compares the trees of two checkpoints by the chunks that they name; no
// content is read. Files of which the same bytes are stored in other pieces
// count as changed. Errors wrap [ErrNotFound] and [ErrCorrupt].
func (d *Dir) Diff(ctx context.Context, from, to string) (Difference, error) {
	diff := Difference{Added: []string{}, Changed: []string{}, Removed: []string{}}
	trees := make([]*manifest, 2)
	for i, id := range []string{from, to} {
		if err := ctx.Err(); err != nil {
			return diff, err
		}
		m, err := d.loadManifest(id)
		if err != nil {
			return diff, err
		}
		trees[i] = m
	}
	diff.From, diff.To = trees[0].checkpoint(from), trees[1].checkpoint(to)
	old := make(map[string]entry)
	had := make(map[hash]bool)
	for _, e := range trees[0].entries {
		old[e.path] = e
		for _, x := range e.extents {
			had[x.hash] = true
		}
	}
	for _, e := range trees[1].entries {
		was, ok := old[e.path]
		delete(old, e.path)
		switch {
		case !ok:
			diff.Added = append(diff.Added, e.path)
		case was.kind != e.kind || was.mode != e.mode || was.target != e.target || !slices.Equal(was.extents, e.extents):
			diff.Changed = append(diff.Changed, e.path)
		default:
			diff.Same++
		}
		for _, x := range e.extents {
			if !had[x.hash] {
				had[x.hash] = true
				diff.Bytes += int64(x.size)
			}
		}
	}
	for path := range old {
		diff.Removed = append(diff.Removed, path)
	}
	slices.Sort(diff.Added)
	slices.Sort(diff.Changed)
	slices.Sort(diff.Removed)
	return diff, nil
}
