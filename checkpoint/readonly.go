package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/internal/durable"
)

// ErrReadOnly says that the store was opened for reading.
var ErrReadOnly = errors.New("checkpoint store is open for reading only")

// OpenDirReadOnly opens the store at path for reading, also while an engine has
// it open; it neither locks nor changes anything there. Checkpoints that came since
// are not seen, and what one needs that was dropped since may be missing: an error
// that wraps [ErrCorrupt]. Whatever would write fails with [ErrReadOnly].
func OpenDirReadOnly(path string, opt Options) (*Dir, error) {
	return openDirReadOnlyOn(durable.OS{}, path, opt)
}

func openDirReadOnlyOn(fsys durable.FS, path string, opt Options) (*Dir, error) {
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
	d := newDir(readOnlyFS{fsys}, path, opt)
	d.lock, d.reader = f, new(onlooker)
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
	// What a manifest needs is there before it is, and may go after it.
	err = errors.Join(fences, d.loadManifests(known), d.loadLoose())
	_, lerr := d.lookAgain(0)
	return errors.Join(err, lerr)
}

// onlooker is what a store that another process changes was seen to have.
type onlooker struct {
	looks atomic.Uint64 // at the packs, that found others and have ended

	mu    sync.Mutex
	packs []string // names of the files
}

// looked returns how often the packs were looked at.
func (d *Dir) looked() uint64 {
	if d.reader == nil {
		return 0
	}
	return d.reader.looks.Load()
}

// lookAgain reads the indexes of the packs anew if there are others than at the last
// look, since the engine's GC moves chunks. It reports whether the index has become
// another after the caller asked looked.
func (d *Dir) lookAgain(since uint64) (bool, error) {
	if d.reader == nil {
		return false, nil
	}
	d.reader.mu.Lock()
	defer d.reader.mu.Unlock()
	if d.reader.looks.Load() != since {
		return true, nil
	}
	list, err := os.ReadDir(d.packs.dir)
	if err != nil {
		return false, fmt.Errorf("list packs: %w", err)
	}
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = e.Name()
	}
	if slices.Equal(names, d.reader.packs) {
		return false, nil
	}
	for _, n := range d.packs.numbers() {
		d.packs.remove(n)
	}
	d.index.sweep(func(s *slot) bool { return s.pack == looseChunk })
	d.reader.packs = nil // until they are read: an error is met again, not taken for packs without chunks
	defer d.reader.looks.Add(1)
	if err := d.loadPacks(); err != nil {
		return true, err
	}
	d.reader.packs = names
	return true, nil
}

// forgetDropped leaves out those of the manifests that the catalogue says by now were
// dropped.
func (d *Dir) forgetDropped(manifests map[hash]bool) error {
	if d.reader == nil || len(manifests) == 0 {
		return nil
	}
	now, err := d.readCatalogue(false)
	for id, kept := range now.manifests {
		if !kept {
			delete(manifests, id)
		}
	}
	return err
}

// readOnlyFS refuses every change.
type readOnlyFS struct{ durable.FS }

var _ durable.FS = readOnlyFS{}

func (readOnlyFS) Create(string) (durable.File, error) { return nil, ErrReadOnly }
func (readOnlyFS) Open(string) (durable.File, error)   { return nil, ErrReadOnly }
func (readOnlyFS) Rename(string, string) error         { return ErrReadOnly }
func (readOnlyFS) Remove(string) error                 { return ErrReadOnly }
func (readOnlyFS) SyncDir(string) error                { return ErrReadOnly }

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
