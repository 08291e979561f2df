package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/checkpoint/delta"
)

// Manager takes checkpoints of a program's states. Its methods may be called at
// once from any goroutine.
type Manager struct {
	store *checkpoint.Dir
	cfg   Config

	turn   chan struct{} // holds the token while nobody takes or restores a checkpoint
	states map[string]tracked
	told   map[string]int // of each region, how many methods were told not to work
	base   string         // the checkpoint to which the states' increments refer; "": none

	mu   sync.Mutex
	last forestall.Checkpoint // the newest that Create made
}

// NewManager returns a manager that keeps its checkpoints in store.
func NewManager(store *checkpoint.Dir, cfg Config) (*Manager, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("live checkpoints: %w", err)
	}
	m := &Manager{store: store, cfg: cfg, turn: make(chan struct{}, 1), states: make(map[string]tracked), told: make(map[string]int)}
	m.turn <- struct{}{}
	return m, nil
}

// Register adds a state under a name that is a file's: no slash, unique. It is
// in every checkpoint that begins afterwards.
func (m *Manager) Register(name string, s State) error {
	return m.add(name, written{delta.NewStream(s.Snapshot), s})
}

// Track adds the Go value that ptr points to; see [delta.Value] for what of it
// is kept.
func (m *Manager) Track(name string, ptr any) error {
	v, err := delta.Track(ptr)
	if err != nil {
		return fmt.Errorf("state %q: %w", name, err)
	}
	return m.Register(name, v)
}

// Region adds a memory region, which the manager closes.
func (m *Manager) Region(name string, r *delta.Region) error { return m.add(name, region{r}) }

func (m *Manager) add(name string, t tracked) error {
	if err := forestall.CheckName(name); err != nil {
		return fmt.Errorf("state %q: %w", name, err)
	}
	<-m.turn
	defer m.pass()
	if m.states == nil {
		return fmt.Errorf("state %q: %w", name, checkpoint.ErrClosed)
	}
	if _, ok := m.states[name]; ok {
		return fmt.Errorf("state %q is registered already", name)
	}
	m.states[name] = t
	return nil
}

// take waits for the turn.
func (m *Manager) take(ctx context.Context) error {
	select {
	case <-m.turn:
	case <-ctx.Done():
		return fmt.Errorf("another checkpoint or restore is under way: %w", ctx.Err())
	}
	if m.states == nil {
		m.pass()
		return checkpoint.ErrClosed
	}
	return nil
}

func (m *Manager) pass() { m.turn <- struct{}{} }

// Last returns the newest checkpoint that this manager made; false: none yet.
func (m *Manager) Last() (forestall.Checkpoint, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last, m.last.ID != ""
}

// Create takes a checkpoint of all states and returns once it is durable, and
// pushed where Config says so: its ID, Size, bytes Added, how long it Took and
// the Pause. It is incremental over the one before. Errors are those of the
// hold, of the states, of [checkpoint.Dir.SaveRegions] and of the push; after
// one, the next checkpoint has everything that this one would have had.
func (m *Manager) Create(ctx context.Context, label string) (forestall.Checkpoint, error) {
	if err := m.take(ctx); err != nil {
		return forestall.Checkpoint{}, fmt.Errorf("checkpoint %s: %w", m.cfg.Workload, err)
	}
	defer m.pass()
	began := m.cfg.Now()
	cp, err := m.create(ctx, label)
	if m.base != "" && (errors.Is(err, checkpoint.ErrNotFound) || errors.Is(err, checkpoint.ErrCorrupt)) {
		m.cfg.Logger.Warn("the base of the increments is gone or damaged; a whole checkpoint follows", "base", m.base, "error", err)
		m.forget()
		cp, err = m.create(ctx, label)
	}
	if err != nil {
		return forestall.Checkpoint{}, fmt.Errorf("checkpoint %s: %w", m.cfg.Workload, err)
	}
	if m.cfg.Push != nil {
		if cp.Replicas, err = m.cfg.Push(ctx, cp.ID); err != nil {
			return forestall.Checkpoint{}, fmt.Errorf("checkpoint %s: %.12s is in this store alone: %w", m.cfg.Workload, cp.ID, err)
		}
	}
	cp.Took = m.cfg.Now().Sub(began)
	m.mu.Lock()
	m.last = cp
	m.mu.Unlock()
	return cp, nil
}

func (m *Manager) forget() {
	m.base = ""
	for _, t := range m.states {
		t.Forget()
	}
}

func (m *Manager) create(ctx context.Context, label string) (cp forestall.Checkpoint, err error) {
	names := slices.Sorted(maps.Keys(m.states))
	if len(names) == 0 {
		return cp, errors.New("no state is registered")
	}
	for _, name := range names {
		if err := m.states[name].precopy(ctx, m.cfg.Rounds); err != nil {
			return cp, fmt.Errorf("state %q: %w", name, err)
		}
	}
	regions, at, pause, err := m.capture(ctx, names)
	if err != nil {
		return cp, err
	}
	m.tellMethods()
	cp, err = m.store.SaveRegions(ctx, checkpoint.Regions{
		Workload: m.cfg.Workload, Epoch: m.cfg.Epoch, Label: label, Time: at, Pause: pause, Base: m.base, Regions: regions, Verify: m.cfg.Verify,
	})
	if err != nil {
		return cp, err
	}
	m.base = cp.ID
	for _, name := range names {
		if err := m.states[name].Settle(); err != nil {
			m.cfg.Logger.Warn("release the copy of a state", "state", name, "error", err)
		}
	}
	return cp, nil
}

// tellMethods says of which regions changes are found at a higher cost than could be,
// and why, once.
func (m *Manager) tellMethods() {
	for name, t := range m.states {
		r, ok := t.(region)
		if !ok {
			continue
		}
		for _, f := range r.Skipped()[m.told[name]:] {
			m.cfg.Logger.Info("a cheaper way to find what changed does not work", "state", name, "method", r.Method(), "skipped", f.Method, "reason", f.Err)
		}
		m.told[name] = len(r.Skipped())
	}
}

// capture holds the program and copies what changed. at is the moment of it.
func (m *Manager) capture(ctx context.Context, names []string) (regions []checkpoint.Region, at time.Time, pause time.Duration, err error) {
	release, err := m.hold(ctx)
	if err != nil {
		return nil, at, 0, fmt.Errorf("hold: %w", err)
	}
	at = m.cfg.Now()
	defer func() {
		release()
		pause = m.cfg.Now().Sub(at)
	}()
	for _, name := range names {
		inc, err := m.states[name].Capture(ctx)
		if err != nil {
			return nil, at, 0, fmt.Errorf("state %q: %w", name, err)
		}
		r := checkpoint.Region{Name: name, Size: inc.Size, Content: inc.Content, Sparse: true, Level: checkpoint.LevelOf(m.cfg.Compression[name])}
		for _, d := range inc.Dirty {
			r.Dirty = append(r.Dirty, checkpoint.PageRange(d))
		}
		regions = append(regions, r)
	}
	return regions, at, 0, nil
}

func (m *Manager) hold(ctx context.Context) (release func(), err error) {
	if m.cfg.Hold == nil {
		return func() {}, nil
	}
	return m.cfg.Hold(ctx)
}

// Close ends the following of changes, once what is under way has ended. The
// store stays open.
func (m *Manager) Close() error {
	<-m.turn
	defer m.pass()
	var failed error
	for name, t := range m.states {
		if err := t.Close(); err != nil {
			failed = cmp.Or(failed, fmt.Errorf("close state %q: %w", name, err))
		}
	}
	m.states = nil
	return failed
}
