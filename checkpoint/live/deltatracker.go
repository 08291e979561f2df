package live

import (
	"context"
	"fmt"
	"sync"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/checkpoint/delta"
)

// DeltaTracker is a [Manager] whose caller says from which checkpoint each
// increment is: it follows the changes of values and memory since the one that
// it took last, and takes none by itself. Its methods may be called at once from
// any goroutine.
type DeltaTracker struct {
	mu sync.Mutex
	m  *Manager
	n  int // states that have been added
}

// NewDeltaTracker returns a tracker that keeps its checkpoints in store. Of cfg it
// uses what concerns a single checkpoint.
func NewDeltaTracker(store *checkpoint.Dir, cfg Config) (*DeltaTracker, error) {
	m, err := NewManager(store, cfg)
	return &DeltaTracker{m: m}, err
}

// Track follows the Go value that ptr points to: it is encoded in full for each
// checkpoint, and only pages of the encoding that differ are written. See
// [delta.Value] for what of it is kept. In checkpoints it is the file state-N, the
// Nth that the tracker was given.
func (t *DeltaTracker) Track(ptr any) error {
	return t.add(func(name string) error { return t.m.Track(name, ptr) })
}

// TrackRegion follows a memory region, a mapped file or another process's memory,
// which the tracker closes. In checkpoints it is the file state-N, as of Track.
func (t *DeltaTracker) TrackRegion(r *delta.Region) error {
	return t.add(func(name string) error { return t.m.Region(name, r) })
}

func (t *DeltaTracker) add(as func(name string) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := as(fmt.Sprint("state-", t.n+1)); err != nil {
		return err
	}
	t.n++
	return nil
}

// IncrementalCheckpoint takes a checkpoint of which only what changed since base
// is copied and written, and which is whole to restore: Size is what it holds, in
// bytes, and Added what it wrote. base is the ID of the checkpoint that the tracker
// took last, since which it knows what changed, or "" for one that reads and
// copies everything; any other is an error that wraps [checkpoint.ErrNotFound].
// A base that the store has lost meanwhile is taken for "". Other errors are those
// of [Manager.Create].
func (t *DeltaTracker) IncrementalCheckpoint(ctx context.Context, base string) (forestall.Checkpoint, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.from(ctx, base); err != nil {
		return forestall.Checkpoint{}, fmt.Errorf("checkpoint %s: %w", t.m.cfg.Workload, err)
	}
	return t.m.Create(ctx, "")
}

// from makes base what the next checkpoint is an increment over.
func (t *DeltaTracker) from(ctx context.Context, base string) error {
	if err := t.m.take(ctx); err != nil {
		return err
	}
	defer t.m.pass()
	switch {
	case base == "":
		t.m.forget()
	case base != t.m.base:
		return fmt.Errorf("%w: what changed since %.12q is not known, but since %.12q; \"\" takes a whole one", checkpoint.ErrNotFound, base, t.m.base)
	}
	return nil
}

// Restore makes the states what a checkpoint holds, as [Manager.Restore] does.
func (t *DeltaTracker) Restore(ctx context.Context, id string) error { return t.m.Restore(ctx, id) }

// Close ends the following of changes. The store stays open.
func (t *DeltaTracker) Close() error { return t.m.Close() }
