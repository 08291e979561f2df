package s3

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/internal/parallel"
)

// plan is what GC is going to remove: key -> since when it is garbage, by the
// service's clock. Zero is when the plan itself was written.
type plan struct {
	Marked map[string]time.Time `json:"marked"`
}

func (p *plan) has(key string) bool {
	_, ok := p.Marked[key]
	return ok
}

func openPlan(b []byte) (*plan, error) {
	var p plan
	if err := openJSON(b, kindPlan, &p); err != nil {
		return nil, err
	}
	if p.Marked == nil {
		p.Marked = make(map[string]time.Time)
	}
	return &p, nil
}

// loadPlan reads the plan; marks without a time get that of its writing.
func (s *Store) loadPlan(ctx context.Context) (p *plan, etag string, err error) {
	o, err := s.bucket.get(ctx, planKey, maxObject, func(b []byte) (err error) {
		p, err = openPlan(b)
		return err
	})
	if errors.Is(err, errNoObject) {
		return &plan{Marked: make(map[string]time.Time)}, "", nil
	}
	if err != nil {
		return nil, "", s.gone(err)
	}
	for key, at := range p.Marked {
		if at.IsZero() {
			p.Marked[key] = o.modified
		}
	}
	return p, o.etag, nil
}

// Collected is what a GC did.
type Collected struct {
	Objects int   `json:"objects"`       // packs and records there are
	Bytes   int64 `json:"bytes"`         // of them
	Marked  int   `json:"marked"`        // are garbage and wait for the grace period
	Removed int   `json:"removed"`       // were removed
	Freed   int64 `json:"freed_bytes"`   // by removing them
	Aborted int   `json:"aborted_parts"` // multipart uploads that never ended
}

// GC removes what no checkpoint needs, in two steps: what is garbage is marked,
// and what a former GC has marked at least the grace period ago, and is garbage
// still, is removed. A Put does not rely on what is marked, and takes at most
// half the period; so what it relies on is not removed under it. Of two GCs at
// once one gives up. Nothing is removed while a catalog or record cannot be read, or
// when a catalog is found that the service did not list.
func (s *Store) GC(ctx context.Context) (Collected, error) {
	done, err := s.collect(ctx)
	if err != nil {
		return done, fmt.Errorf("collect garbage in %s: %w", s, err)
	}
	return done, nil
}

func (s *Store) collect(ctx context.Context) (done Collected, err error) {
	began := s.cfg.Now()
	old, etag, err := s.loadPlan(ctx)
	if err != nil {
		return done, err
	}
	// First what exists, then what is needed: what appears in between is not garbage.
	sizes, err := s.objects(ctx)
	if err != nil {
		return done, err
	}
	for _, size := range sizes {
		done.Objects++
		done.Bytes += size
	}
	needed, err := s.needed(ctx)
	if err != nil {
		return done, err
	}
	next := &plan{Marked: make(map[string]time.Time)}
	for key := range sizes {
		if !needed[key] {
			next.Marked[key] = old.Marked[key]
		}
	}
	done.Marked = len(next.Marked)
	now := time.Time{}
	if !maps.Equal(next.Marked, old.Marked) || len(next.Marked) > 0 {
		if now, err = s.writePlan(ctx, next, etag); err != nil {
			return done, err
		}
		now = now.Add(began.Sub(s.cfg.Now())) // when the catalogs had not been read yet
	}
	due := slices.DeleteFunc(slices.Sorted(maps.Keys(next.Marked)), func(key string) bool {
		since := next.Marked[key]
		return since.IsZero() || now.Sub(since) < s.cfg.Grace
	})
	if len(due) > 0 {
		// Of all records without a catalog: a pack may be due before the record that needs it.
		if err := s.unlisted(ctx, slices.Sorted(maps.Keys(next.Marked))); err != nil {
			return done, err
		}
	}
	for _, key := range due {
		if err := s.bucket.remove(ctx, key); err != nil {
			return done, err
		}
		done.Removed++
		done.Marked--
		done.Freed += sizes[key]
	}
	if now.IsZero() {
		now = s.cfg.Now()
	}
	done.Aborted, err = s.bucket.abandoned(ctx, packDir, now.Add(-s.cfg.Grace))
	return done, err
}

// unlisted asks the workloads of the records that nothing seems to need whether they do
// without: the service may have left a catalog out when it was asked for all.
func (s *Store) unlisted(ctx context.Context, keys []string) error {
	catalogs := make(map[string]*catalog)
	for _, key := range keys {
		name, ok := strings.CutPrefix(key, recordDir)
		if !ok {
			continue
		}
		var of forestall.Checkpoint
		_, err := s.bucket.get(ctx, key, maxObject, func(b []byte) error {
			r, manifest, err := openRecord(b)
			if err == nil {
				of, err = checkpoint.ReadHeader(r.ID, manifest)
			}
			return err
		})
		if errors.Is(err, errNoObject) || errors.Is(err, errDamaged) {
			continue
		}
		if err != nil {
			return err
		}
		c := catalogs[of.Workload]
		if c == nil {
			if c, _, err = s.loadCatalog(ctx, of.Workload); err != nil {
				return err
			}
			catalogs[of.Workload] = c
		}
		if slices.ContainsFunc(c.Checkpoints, func(e entry) bool { return e.Record == name }) {
			return fmt.Errorf("the service left the catalog of %q out when it listed all: nothing is removed, what it lists cannot be relied on", of.Workload)
		}
	}
	return nil
}

// Garbage counts what a GC would find, and changes nothing.
func (s *Store) Garbage(ctx context.Context) (found Collected, err error) {
	sizes, err := s.objects(ctx)
	if err != nil {
		return found, err
	}
	needed, err := s.needed(ctx)
	if err != nil {
		return found, err
	}
	for key, size := range sizes {
		found.Objects++
		found.Bytes += size
		if !needed[key] {
			found.Marked++
		}
	}
	return found, nil
}

// objects lists the packs and records there are, with their sizes.
func (s *Store) objects(ctx context.Context) (map[string]int64, error) {
	sizes := make(map[string]int64)
	for _, dir := range []string{packDir, recordDir} {
		err := s.bucket.list(ctx, dir, func(name string, size int64) {
			if isName(name) { // or it is another program's
				sizes[dir+name] = size
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return sizes, nil
}

// writePlan replaces the plan that was read, and returns the time by the
// service's clock.
func (s *Store) writePlan(ctx context.Context, p *plan, etag string) (time.Time, error) {
	b, err := sealJSON(kindPlan, p)
	if err != nil {
		return time.Time{}, err
	}
	cond := absent
	if etag != "" {
		cond = unchanged(etag)
	}
	err = s.bucket.put(ctx, planKey, b, cond)
	if errors.Is(err, errChanged) {
		return time.Time{}, fmt.Errorf("another one is under way: %w", err)
	}
	if err != nil {
		return time.Time{}, err
	}
	return s.bucket.modified(ctx, planKey)
}

// needed returns the keys of all records and packs that catalogs lead to.
func (s *Store) needed(ctx context.Context) (map[string]bool, error) {
	all, err := s.catalogs(ctx)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for _, c := range all {
		entries = append(entries, c.Checkpoints...)
	}
	var mu sync.Mutex
	needed := make(map[string]bool)
	err = parallel.Do(ctx, s.cfg.Parallel, len(entries), func(ctx context.Context, i int) error {
		refs, err := s.packsOf(ctx, entries[i])
		if err != nil {
			return fmt.Errorf("checkpoint %.12s of %s: %w; delete it, or put its objects back", entries[i].ID, entries[i].Workload, err)
		}
		mu.Lock()
		defer mu.Unlock()
		needed[recordDir+entries[i].Record] = true
		for _, p := range refs {
			needed[p.key()] = true
		}
		return nil
	})
	return needed, err
}
