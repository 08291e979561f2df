package checkpoint

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/stratoswarm/forestall"
)

// Get returns the checkpoint with that ID; the error wraps [ErrNotFound], and
// [ErrCorrupt] too when the store had it and its manifest is lost or damaged.
func (d *Dir) Get(id string) (forestall.Checkpoint, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	cp, ok := d.checkpoints[id]
	if err := d.damaged[id]; err != nil && !ok {
		return cp, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if !ok {
		return cp, fmt.Errorf("%w: no %.64q in %s", ErrNotFound, id, d.path)
	}
	cp.Pinned = d.pins[id].On
	return cp, nil
}

// List returns what this store holds of workload, newest state first, or, of
// all workloads when it is "", latest first. Whether each counts, the ledger
// knows.
func (d *Dir) List(workload string) ([]forestall.Checkpoint, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, fmt.Errorf("list checkpoints of %s: %w", d.path, ErrClosed)
	}
	out := []forestall.Checkpoint{}
	for _, cp := range d.checkpoints {
		if workload == "" || cp.Workload == workload {
			cp.Pinned = d.pins[cp.ID].On
			out = append(out, cp)
		}
	}
	SortNewestFirst(out, workload == "")
	return out, nil
}

// SortNewestFirst orders checkpoints as listings do: those of one workload
// newest state first, those of several latest first.
func SortNewestFirst(cps []forestall.Checkpoint, several bool) {
	slices.SortFunc(cps, func(a, b forestall.Checkpoint) int {
		byTime := 0
		if several {
			byTime = cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.Workload, b.Workload))
		}
		return cmp.Or(byTime, newestFirst(a, b), cmp.Compare(a.ID, b.ID))
	})
}

// newest returns the workload's latest state in this store.
func (d *Dir) newest(workload string) (newest forestall.Checkpoint, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, cp := range d.checkpoints {
		if cp.Workload == workload && (!ok || cp.NewerThan(newest)) {
			newest, ok = cp, true
		}
	}
	return newest, ok
}

// Timeline is the checkpoints of one workload, by the moments of their states; of
// one moment, the oldest first.
type Timeline []forestall.Checkpoint

// Timeline returns what this store holds of workload.
func (d *Dir) Timeline(workload string) (Timeline, error) {
	cps, err := d.List(workload)
	slices.SortStableFunc(cps, func(a, b forestall.Checkpoint) int { return cmp.Or(a.Time.Compare(b.Time), newestFirst(b, a)) })
	return cps, err
}

// NewestBefore returns the newest checkpoint of those whose states are from t or
// before. Which of them is the newest their epochs and sequences say: the clocks of
// the nodes that a workload ran on may differ.
func (l Timeline) NewestBefore(t time.Time) (cp forestall.Checkpoint, ok bool) {
	i, _ := slices.BinarySearchFunc(l, t, func(cp forestall.Checkpoint, t time.Time) int {
		if cp.Time.After(t) {
			return 1
		}
		return -1
	})
	if i == 0 {
		return cp, false
	}
	cp = l[i-1]
	for _, other := range l[:i-1] {
		if other.Workload == cp.Workload && other.NewerThan(cp) {
			cp = other
		}
	}
	return cp, true
}

// Stats is what a store holds.
type Stats struct {
	Path        string `json:"path"`
	Checkpoints int    `json:"checkpoints"`
	Workloads   int    `json:"workloads"`
	Chunks      int    `json:"chunks"`
	ChunkBytes  int64  `json:"chunk_bytes"` // of the chunks as they are stored, compressed
	Packs       int    `json:"packs"`
	PackBytes   int64  `json:"pack_bytes"`  // of the pack files, with what GC has not yet reclaimed
	StateBytes  int64  `json:"state_bytes"` // of all states that could be restored
	FreeBytes   int64  `json:"free_bytes"`  // of the file system; -1: unknown
}

// Stats counts what the store holds.
func (d *Dir) Stats() (Stats, error) {
	s := Stats{Path: d.path, FreeBytes: -1}
	cps, err := d.List("")
	if err != nil {
		return s, err
	}
	workloads := make(map[string]struct{})
	for _, cp := range cps {
		s.StateBytes += cp.Size
		workloads[cp.Workload] = struct{}{}
	}
	s.Checkpoints, s.Workloads = len(cps), len(workloads)
	d.index.sweep(func(c *slot) bool {
		s.Chunks++
		s.ChunkBytes += c.size()
		return true
	})
	for _, n := range d.packs.numbers() {
		if p, ok := d.packs.get(n); ok {
			s.Packs++
			s.PackBytes += p.size
		}
	}
	if free, ferr := freeBytes(d.path); ferr == nil {
		s.FreeBytes = free
	}
	return s, nil
}
