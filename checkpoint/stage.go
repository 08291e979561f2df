package checkpoint

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/internal/parallel"
)

// Staged is a snapshot on its way to be independent of the workload: what
// changed since its last checkpoint is copied aside, as shared blocks where the
// file system can. Its methods are for one goroutine at a time.
type Staged struct {
	d      *Dir
	s      Snapshot
	plan   *plan
	source string
	prev   leanable        // files of the previous checkpoint on which this one may lean
	known  map[string]sums // of their pages
	trust  trust
	dir    string
	clones bool // the file system shares blocks between the source and dir
	copies int  // files made in dir
	pages  int  // that asides have sums of
	asides map[string]*aside
	late   late
	once   sync.Once
}

// Stage takes the frozen copy from which [Staged.Save] makes the checkpoint, so
// that the workload may go on in between: it is Precopy and Freeze. The caller
// ends it with Save or Discard. Errors are those of [Dir.Save].
func (d *Dir) Stage(ctx context.Context, s Snapshot) (*Staged, error) {
	st, err := d.prepareStage(ctx, s)
	if err != nil {
		return nil, err
	}
	return st, st.freeze(ctx)
}

// Precopy copies what changed since the last checkpoint while the workload goes
// on, so that less is left for [Staged.Freeze] to do while it stands still. The
// caller ends it with Save or Discard. Errors are those of [Dir.Save].
func (d *Dir) Precopy(ctx context.Context, s Snapshot) (*Staged, error) {
	st, err := d.prepareStage(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := st.precopy(ctx); err != nil {
		st.Discard()
		return nil, s.wrap(d.diskFull(err))
	}
	return st, nil
}

func (d *Dir) prepareStage(ctx context.Context, s Snapshot) (*Staged, error) {
	p, source, prev, err := d.prepare(ctx, s)
	if err != nil {
		return nil, s.wrap(err)
	}
	st := &Staged{
		d: d, s: s, plan: p, source: source, prev: prev, trust: trustIn(source), asides: make(map[string]*aside),
		known: d.pages.of(s.Workload, p.base),
		dir:   filepath.Join(d.path, stageDir, strconv.FormatUint(d.temps.Add(1), 10)),
	}
	if err := os.Mkdir(st.dir, 0o700); err != nil {
		p.end()
		return nil, s.wrap(d.diskFull(err))
	}
	return st, nil
}

// rounds is how often Precopy looks at what changed: a second time for what was
// written while the first copy was taken.
const rounds = 2

func (s *Staged) precopy(ctx context.Context) error {
	s.late.room = lateBytes
	defer func() {
		for _, a := range largest(s.asides, mostMapped) {
			a.mapIn() // comparing is quickest where the file is in memory anyhow
		}
	}()
	for range rounds {
		err := s.plan.scan(ctx, s.source, s.prev, s.d.opt.Now(), false)
		if errors.Is(err, ErrChanged) {
			return nil // the workload removes files; Freeze does without a first copy
		}
		if err != nil {
			return err
		}
		if s.clones = s.canClone(); s.clones {
			return s.flush(ctx)
		}
		var todo []*aside
		for i := range s.plan.todo {
			if a := s.asideOf(&s.plan.todo[i]); a != nil && !a.still(s.plan.todo[i].seen) {
				todo = append(todo, a)
			}
		}
		if len(todo) == 0 {
			return nil
		}
		if err := s.copyPages(ctx, todo, s.d.opt.Workers, false); err != nil {
			return err
		}
	}
	return nil
}

// canClone tries whether a file that changed can be cloned.
func (s *Staged) canClone() bool {
	if len(s.plan.todo) == 0 {
		return false
	}
	probe := s.nextCopy()
	defer func() { _ = os.Remove(probe) }()
	return s.plan.todo[0].cloneTo(probe, s.d.clone) == nil
}

// flush writes the files that changed to the disk, as cloning them would while
// the workload stands still.
func (s *Staged) flush(ctx context.Context) error {
	for _, c := range s.plan.todo {
		if err := ctx.Err(); err != nil {
			return err
		}
		f, err := openState(c.path)
		if err != nil {
			continue // Freeze sees what there is
		}
		_ = f.Sync()
		f.Close()
	}
	return nil
}

// Freeze completes the copy, while the workload stands still: the checkpoint
// has what is in the source now. at is the moment; zero: that of Precopy. Errors
// are those of [Dir.Save]; after one, the caller discards the copy.
func (s *Staged) Freeze(ctx context.Context, at time.Time) error {
	if !at.IsZero() {
		s.plan.m.time = at.UnixNano()
	}
	return s.freeze(ctx)
}

func (s *Staged) freeze(ctx context.Context) error {
	if err := s.copyAside(ctx); err != nil {
		s.Discard()
		return s.s.wrap(s.d.diskFull(err))
	}
	return nil
}

// copyAside makes every file that is to be read independent of the source. It
// uses all processors: the workload stands still.
func (s *Staged) copyAside(ctx context.Context) error {
	if err := s.plan.scan(ctx, s.source, s.prev, s.d.opt.Now(), false); err != nil {
		return err
	}
	var (
		pages []*aside
		files []*content
	)
	for i := range s.plan.todo {
		c := &s.plan.todo[i]
		if s.clones {
			files = append(files, c)
		} else if c.aside = s.asideOf(c); c.aside == nil {
			files = append(files, c)
		} else if !c.aside.still(c.seen) {
			c.aside.seen = c.seen
			pages = append(pages, c.aside)
		}
	}
	workers := runtime.GOMAXPROCS(0)
	if err := s.copyPages(ctx, pages, workers, true); err != nil {
		return err
	}
	names := make([]string, len(files))
	for i := range names {
		names[i] = s.nextCopy()
	}
	return parallel.Do(ctx, workers, len(files), func(ctx context.Context, i int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := files[i].copyTo(names[i], s.d.clone); err != nil {
			return err
		}
		files[i].path, files[i].seen = names[i], seen{}
		return nil
	})
}

// nextCopy returns a name in the stage that no one else uses.
func (s *Staged) nextCopy() string {
	s.copies++
	return filepath.Join(s.dir, strconv.Itoa(s.copies))
}

// Save makes the checkpoint, records how long the workload stood still for it,
// and removes the copy, also when it fails. Errors are those of [Dir.Save].
func (s *Staged) Save(ctx context.Context, pause time.Duration) (forestall.Checkpoint, error) {
	defer s.Discard()
	s.unmap()
	s.plan.m.pause = max(0, pause)
	cp, err := s.save(ctx)
	if err != nil {
		s.d.pages.forget(s.s.Workload)
		return cp, s.s.wrap(err)
	}
	s.d.pages.remember(s.s.Workload, cp.ID, s.sums())
	return cp, nil
}

func (s *Staged) save(ctx context.Context) (cp forestall.Checkpoint, err error) {
	if err := s.late.write(); err != nil {
		return cp, s.d.diskFull(err)
	}
	whole := s.plan.todo[:0] // which is read faster than it is written
	for _, c := range s.plan.todo {
		if c.aside == nil && s.clones {
			if err := s.lookIn(ctx, &c); err != nil {
				return cp, err
			}
		}
		if c.aside != nil {
			c.path, c.seen, c.aside.saved = c.aside.path, seen{}, true
			if s.inPlace(c.aside) {
				if err := s.savePages(ctx, c); err != nil {
					return cp, err
				}
				continue
			}
			if c.aside.size < fromPages { // nobody asks for its sums
				delete(s.asides, c.aside.name)
			}
			c.aside = nil
		}
		whole = append(whole, c)
	}
	s.plan.todo = whole
	return s.d.execute(ctx, s.plan)
}

// sums returns those of the pages of the files that were saved.
func (s *Staged) sums() map[string]sums {
	out := make(map[string]sums)
	for _, e := range s.plan.m.entries {
		if e.kind != kindFile || e.size < fromPages {
			continue
		}
		a := s.asides[e.path]
		old, unread := s.known[e.path]
		switch {
		case a != nil && a.saved:
			out[e.path] = sums{e.size, a.sums}
		case unread && old.size == e.size && s.unread(e):
			out[e.path] = old
		}
	}
	return out
}

// unread reports whether the entry has what the previous checkpoint has.
func (s *Staged) unread(e entry) bool {
	was := s.prev.file(e.path)
	return len(was.extents) > 0 && len(e.extents) > 0 && &was.extents[0] == &e.extents[0]
}

// Discard removes the copy. It may be called after Save and more than once.
func (s *Staged) Discard() {
	s.once.Do(func() {
		s.unmap()
		s.plan.end()
		if err := os.RemoveAll(s.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.d.opt.Logger.Warn("remove stage", "error", err)
		}
	})
}

func (s *Staged) unmap() {
	for _, a := range s.asides {
		a.unmap()
	}
}
