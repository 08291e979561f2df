package foreign

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/internal/durable"
)

// Ledger is a directory of entries. Its methods may be called at once from any
// goroutine and process: each entry is a file that is replaced whole, and the
// last to write it wins.
type Ledger struct {
	dir string
	now func() time.Time
}

// Open opens the ledger in dir, which it creates. now is the clock.
func Open(dir string, now func() time.Time) (*Ledger, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if _, err := durable.MakeDirs(durable.OS{}, dir, 0o700); err != nil {
		return nil, fmt.Errorf("open ledger of foreign checkpoints: %w", err)
	}
	return &Ledger{dir, now}, nil
}

// Registration says what to enter.
type Registration struct {
	Workload string
	Path     string // of the directory
	Label    string
	Hash     bool // read every byte, so that Verify can tell changed content
}

// Register enters a directory that its writer has finished, and returns the
// entry. Registering what is entered already changes nothing but the label and
// adds hashes where there were none: content that has changed since, while index
// and sizes have not, is damage until the entry is forgotten. A DCP directory without its ".metadata" is not finished; neither
// is another directory of which a file was written within the last 10 s.
func (l *Ledger) Register(ctx context.Context, r Registration) (Entry, error) {
	path, err := filepath.Abs(r.Path)
	if err != nil {
		return Entry{}, err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return Entry{}, fmt.Errorf("register %s: %w", r.Path, err)
	}
	e, err := inspect(ctx, path, r.Hash)
	if err != nil {
		return Entry{}, fmt.Errorf("register: %w", err)
	}
	now := l.now().UTC()
	if e.Kind == Tree && now.Sub(e.Time) < rest {
		return Entry{}, fmt.Errorf("register: %s was written to %s ago, it may not be finished; wait %s", path, now.Sub(e.Time).Round(time.Second), rest)
	}
	e.Workload, e.Label, e.Registered = r.Workload, r.Label, now
	e.ID = e.identity()
	if old, err := l.Get(e.ID); err == nil {
		e.Registered, e.Pinned, e.Verified, e.Damaged = old.Registered, old.Pinned, old.Verified, old.Damaged
		e.Label = cmp.Or(r.Label, old.Label)
		if (!r.Hash || old.Hashed()) && slices.EqualFunc(e.Files, old.Files, func(a, b File) bool { return a.Path == b.Path && a.Size == b.Size }) {
			e.Files = old.Files // with hashes, if there are
		}
	}
	if err := e.validate(); err != nil {
		return Entry{}, fmt.Errorf("register %s: %w", path, err)
	}
	return e, l.write(e)
}

// List returns the entries of workload, of all when it is "", the newest first.
// The error names the files that are no entries; the others are returned.
func (l *Ledger) List(workload string) ([]Entry, error) {
	names, err := os.ReadDir(l.dir)
	if err != nil {
		return nil, fmt.Errorf("list foreign checkpoints: %w", err)
	}
	out := []Entry{}
	var bad []error
	for _, n := range names {
		if strings.HasPrefix(n.Name(), ".") {
			continue // on its way
		}
		e, err := l.Get(n.Name())
		switch {
		case errors.Is(err, checkpoint.ErrNotFound): // removed meanwhile
		case err != nil:
			bad = append(bad, err)
		case workload == "" || e.Workload == workload:
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b Entry) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.ID, b.ID))
	})
	return out, errors.Join(bad...)
}

// Get returns an entry; the error wraps [checkpoint.ErrNotFound] or
// [checkpoint.ErrCorrupt].
func (l *Ledger) Get(id string) (Entry, error) {
	if _, err := checkpoint.ParseHash(id); err != nil {
		return Entry{}, fmt.Errorf("%w: %s in %s: not an ID", checkpoint.ErrCorrupt, id, l.dir)
	}
	path := filepath.Join(l.dir, id)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Entry{}, fmt.Errorf("%w: no foreign one %.12s in %s", checkpoint.ErrNotFound, id, l.dir)
	}
	if err != nil {
		return Entry{}, err
	}
	if len(b) > maxEntry {
		return Entry{}, fmt.Errorf("%w: %s has %d bytes", checkpoint.ErrCorrupt, path, len(b))
	}
	e, err := decodeEntry(b)
	if err == nil && e.ID != id {
		err = errors.New("is of another entry")
	}
	if err != nil {
		return Entry{}, fmt.Errorf("%w: %s %w", checkpoint.ErrCorrupt, path, err)
	}
	return e, nil
}

// Verify compares a checkpoint with its entry: the index, and every file's
// presence and size; with contents also what each file holds, where Register
// has hashed it. The error wraps [ErrDamaged] and names the first few files.
// Damaged content is remembered, until reading it finds it whole.
func (l *Ledger) Verify(ctx context.Context, id string, contents bool) error {
	e, err := l.Get(id)
	if err != nil {
		return err
	}
	if contents && !e.Hashed() {
		return fmt.Errorf("verify foreign checkpoint %.12s: its content was not hashed when it was registered; register it again with hashes", id)
	}
	now := l.now().UTC()
	err = compare(ctx, e, contents)
	switch {
	case err == nil && (contents || e.Damaged == nil):
		e.Verified, e.Damaged = &now, nil
		return l.write(e)
	case err == nil:
		err = fmt.Errorf("%w: damaged content was read at %s, and it was not read again", ErrDamaged, e.Damaged.Format(time.RFC3339))
	case contents && errors.Is(err, ErrDamaged):
		e.Damaged = &now
		err = errors.Join(err, l.write(e))
	}
	return fmt.Errorf("verify foreign checkpoint %.12s of %s: %w", id, e.Workload, err)
}

// Pin keeps a checkpoint from Prune, or lets it go again.
func (l *Ledger) Pin(id string, pinned bool) error {
	e, err := l.Get(id)
	if err != nil {
		return err
	}
	e.Pinned = pinned
	return l.write(e)
}

// Forget removes an entry and leaves the data.
func (l *Ledger) Forget(id string) error {
	if _, err := l.Get(id); errors.Is(err, checkpoint.ErrNotFound) {
		return err
	}
	return os.Remove(filepath.Join(l.dir, id))
}

// Retention says what Prune lets go.
type Retention struct {
	Age  time.Duration // entries older than this; 0: of any age
	Keep int           // the newest of each workload that stay whatever their age; at least 1
	Data bool          // remove the directories too, not the entries alone
}

// Prune drops entries, and their data if told to, and returns them, the oldest
// last. Pinned ones stay, and so do the newest of each workload that are whole, as
// far as sizes and what Verify found last tell. Data that is not what was
// registered is left alone: somebody else uses the place now. With Data an entry
// whose data is its own also stays where another one that does has its path at the
// same place, inside or above. With dry nothing is changed.
func (l *Ledger) Prune(ctx context.Context, r Retention, dry bool) (dropped []Entry, err error) {
	if r.Keep < 1 || r.Age < 0 {
		return nil, fmt.Errorf("prune foreign checkpoints: Keep %d must be at least 1, Age %v not negative", r.Keep, r.Age)
	}
	all, err := l.List("")
	if err != nil {
		return nil, err
	}
	var stay, may []Entry
	damage := make(map[string]error)
	kept := make(map[string]int)
	now := l.now()
	for _, e := range all {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if damage[e.ID] = compare(ctx, e, false); damage[e.ID] == nil && e.Damaged != nil {
			damage[e.ID] = ErrDamaged
		}
		switch {
		case e.Pinned || kept[e.Workload] < r.Keep && damage[e.ID] == nil:
			kept[e.Workload]++
			stay = append(stay, e)
		case kept[e.Workload] == 0 || now.Sub(e.Time) <= r.Age: // nothing newer is whole, or it is too young
			stay = append(stay, e)
		default:
			may = append(may, e)
		}
	}
	if r.Data {
		may = apart(may, stay, func(e Entry) bool { return damage[e.ID] == nil })
	}
	for _, e := range may {
		if err := ctx.Err(); err != nil {
			return dropped, err
		}
		if !dry {
			if r.Data && damage[e.ID] == nil {
				if err := removeData(e); err != nil {
					return dropped, fmt.Errorf("prune foreign checkpoints: %w", err)
				}
			}
			if err := l.Forget(e.ID); err != nil {
				return dropped, err
			}
		}
		dropped = append(dropped, e)
	}
	return dropped, nil
}

// apart returns those of may whose data shares no directory with any of stay, nor
// with others that do, and those whose data is not theirs any more.
func apart(may, stay []Entry, own func(Entry) bool) []Entry {
	for {
		var out []Entry
		for _, e := range may {
			if own(e) && slices.ContainsFunc(stay, func(s Entry) bool { return within(s.Path, e.Path) || within(e.Path, s.Path) }) {
				stay = append(stay, e)
			} else {
				out = append(out, e)
			}
		}
		if len(out) == len(may) {
			return out
		}
		may = out
	}
}

// within reports whether a clean path is dir or inside it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+string(filepath.Separator))
}

// removeData removes the files of an entry, the index first: what is left half
// is then seen to be no checkpoint.
func removeData(e Entry) error {
	files := slices.Clone(e.Files)
	slices.SortStableFunc(files, func(a, b File) int {
		isIndex := func(f File) int {
			if f.Path == dcpIndex {
				return 0
			}
			return 1
		}
		return isIndex(a) - isIndex(b)
	})
	for _, f := range files {
		if err := os.Remove(filepath.Join(e.Path, filepath.FromSlash(f.Path))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	dirs := map[string]bool{e.Path: true}
	for _, f := range files {
		for d := filepath.Dir(filepath.Join(e.Path, filepath.FromSlash(f.Path))); len(d) > len(e.Path); d = filepath.Dir(d) {
			dirs[d] = true
		}
	}
	deepest := make([]string, 0, len(dirs))
	for d := range dirs {
		deepest = append(deepest, d)
	}
	slices.SortFunc(deepest, func(a, b string) int { return len(b) - len(a) })
	for _, d := range deepest {
		_ = os.Remove(d) // only what is empty goes
	}
	return nil
}

// write replaces an entry's file, durably.
func (l *Ledger) write(e Entry) error {
	b, err := e.encode()
	if err != nil {
		return err
	}
	tmp := filepath.Join(l.dir, fmt.Sprintf(".%s.%016x", e.ID, rand.Uint64())) // several may write at once
	return durable.Replace(durable.OS{}, filepath.Join(l.dir, e.ID), tmp, b)
}
