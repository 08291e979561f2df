package s3

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/internal/parallel"
)

// The keys below the prefix.
const (
	formatKey  = "FORMAT"    // says that the prefix is a store
	planKey    = "gc"        // what GC is going to remove
	catalogDir = "catalogs/" // catalogs/WORKLOAD
	recordDir  = "records/"  // records/NAME
	packDir    = "packs/"    // packs/NAME
)

// Store keeps checkpoints in a bucket. Its methods may be called at once from
// any goroutine, and any number of processes may use one prefix.
type Store struct {
	cfg    Config
	bucket *bucket
	made   bool

	mu     sync.Mutex
	homes  map[string]string               // checkpoint ID -> workload, as last seen
	packs  map[string]map[string]knownPack // by workload and name: what its next checkpoint may rely on
	queues map[string]*sync.Mutex          // by workload: one Put at a time
}

var _ checkpoint.Store = (*Store)(nil)

// Open opens the store below the prefix, creating it where nothing is. It
// fails when the bucket does not exist, the keys are refused, the prefix holds
// something else ([ErrNotStore]), or the service ignores conditional writes
// ([ErrUnconditional]). There is nothing to close.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("s3: %w", err)
	}
	b, err := newBucket(cfg)
	if err != nil {
		return nil, err
	}
	s := &Store{
		cfg: cfg, bucket: b,
		homes: make(map[string]string), packs: make(map[string]map[string]knownPack), queues: make(map[string]*sync.Mutex),
	}
	if err := s.inspect(ctx); err != nil {
		return nil, fmt.Errorf("open %s: %w", s, err)
	}
	return s, nil
}

// String returns s3://BUCKET/PREFIX.
func (s *Store) String() string { return s.cfg.URL() }

// Made reports whether opening it has made the store. That is not undone where
// nothing comes into it: somebody else may have found it by then.
func (s *Store) Made() bool { return s.made }

// inspect reads or writes the marker, and finds out with it whether conditions
// are honoured.
func (s *Store) inspect(ctx context.Context) error {
	marker := head(kindFormat)
	_, err := s.bucket.get(ctx, formatKey, 1<<10, func(b []byte) error {
		if string(b) != string(marker) {
			return fmt.Errorf("is not the marker of a checkpoint store of version %d", version)
		}
		return nil
	})
	switch {
	case errors.Is(err, errDamaged):
		return fmt.Errorf("%w: %w", ErrNotStore, err)
	case err != nil && !errors.Is(err, errNoObject):
		return err
	case err != nil && s.cfg.ReadOnly:
		return fmt.Errorf("%w: s3://%s/%s%s does not exist", ErrNotStore, s.bucket.name, s.bucket.prefix, formatKey)
	case s.cfg.ReadOnly:
		return nil
	case err != nil:
		if err := s.vacant(ctx); err != nil {
			return err
		}
		err := s.bucket.put(ctx, formatKey, marker, absent)
		if err != nil && !errors.Is(err, errChanged) {
			return err
		}
		s.made = err == nil
	}
	for _, cond := range []condition{absent, unchanged(strings.Repeat("0", 32))} {
		err := s.bucket.put(ctx, formatKey, marker, cond)
		if err == nil {
			return fmt.Errorf("%w: %s was overwritten against its condition; use a service that has If-Match and If-None-Match on PUT", ErrUnconditional, formatKey)
		}
		if !errors.Is(err, errChanged) {
			return err
		}
	}
	return nil
}

// vacant refuses to make a store among other things.
func (s *Store) vacant(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	found := ""
	err := s.bucket.list(ctx, "", func(name string, _ int64) {
		found = name
		cancel()
	})
	if found != "" && found != formatKey {
		return fmt.Errorf("%w: %q is there and %s is not; give an empty prefix", ErrNotStore, found, formatKey)
	}
	if found == "" {
		return err
	}
	return nil
}

// newName returns a name that no object ever had: what GC is about to remove
// is never taken for what was just written.
func newName() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func isName(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 16 && strings.ToLower(s) == s
}

// Fence refuses checkpoints of workload below e.
func (s *Store) Fence(ctx context.Context, workload string, e forestall.Epoch) error {
	if err := forestall.CheckName(workload); err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	err := s.change(ctx, workload, func(c *catalog) (bool, error) {
		if err := c.admit(e); err != nil || e == c.Fence {
			return false, err
		}
		c.Fence = e
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("fence %s at epoch %s: %w", workload, e, err)
	}
	return nil
}

// Fenced returns the lowest epoch of workload that is accepted.
func (s *Store) Fenced(ctx context.Context, workload string) (forestall.Epoch, error) {
	if err := forestall.CheckName(workload); err != nil {
		return 0, fmt.Errorf("fence: %w", err)
	}
	c, _, err := s.loadCatalog(ctx, workload)
	if err != nil {
		return 0, err
	}
	return c.Fence, nil
}

// List returns what is held of workload, or of all when it is "": one request
// for each workload.
func (s *Store) List(ctx context.Context, workload string) ([]forestall.Checkpoint, error) {
	var all []*catalog
	if workload == "" {
		var err error
		if all, err = s.catalogs(ctx); err != nil {
			return nil, err
		}
	} else {
		if err := forestall.CheckName(workload); err != nil {
			return nil, fmt.Errorf("list checkpoints: %w", err)
		}
		c, _, err := s.loadCatalog(ctx, workload)
		if err != nil {
			return nil, err
		}
		all = []*catalog{c}
	}
	out := []forestall.Checkpoint{}
	for _, c := range all {
		out = append(out, c.list()...)
	}
	checkpoint.SortNewestFirst(out, workload == "")
	return out, nil
}

// catalogs reads them all.
func (s *Store) catalogs(ctx context.Context) ([]*catalog, error) {
	var names []string
	err := s.bucket.list(ctx, catalogDir, func(name string, _ int64) {
		if forestall.CheckName(name) == nil { // or it is another program's
			names = append(names, name)
		}
	})
	if err != nil {
		return nil, err
	}
	out := make([]*catalog, len(names))
	err = parallel.Do(ctx, s.cfg.Parallel, len(names), func(ctx context.Context, i int) (err error) {
		var etag string
		if out[i], etag, err = s.loadCatalog(ctx, names[i]); err == nil && etag == "" {
			err = fmt.Errorf("%s: catalog %q is listed and not there", s, names[i])
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range out {
		for _, e := range c.Checkpoints {
			s.homes[e.ID] = c.Workload
		}
	}
	return out, nil
}

// find returns the entry of a checkpoint; the error wraps ErrNotFound.
func (s *Store) find(ctx context.Context, id string) (entry, error) {
	none := fmt.Errorf("%w: no %.64q in %s", checkpoint.ErrNotFound, id, s)
	if _, err := checkpoint.ParseHash(id); err != nil {
		return entry{}, none
	}
	s.mu.Lock()
	home, known := s.homes[id]
	s.mu.Unlock()
	if known {
		c, _, err := s.loadCatalog(ctx, home)
		if err != nil {
			return entry{}, err
		}
		if i := c.index(id); i >= 0 {
			return c.Checkpoints[i], nil
		}
		return entry{}, none
	}
	all, err := s.catalogs(ctx)
	if err != nil {
		return entry{}, err
	}
	for _, c := range all {
		if i := c.index(id); i >= 0 {
			return c.Checkpoints[i], nil
		}
	}
	return entry{}, none
}
