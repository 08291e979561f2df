package s3

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
)

// CopierConfig says what a Copier copies and when it cleans up.
type CopierConfig struct {
	Local     *checkpoint.Dir
	Store     Config
	Retention time.Duration // of the copies; the newest of each workload stays
	Sweep     time.Duration // between two applications of the retention, each followed by a GC
	Parallel  int           // workloads at once
	// Heads returns the checkpoints that are to be in the store, asked at the
	// start and at each sweep: what was not copied before an engine ended. nil: none.
	Heads func() []string
	// Keep reports whether retention must leave a copy. nil: none but the newest.
	Keep       func(forestall.Checkpoint) bool
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time
	Logger     *slog.Logger
}

// Validate names the first field that cannot work. It asks nothing of the
// service, which may be away for a while when an engine starts.
func (c CopierConfig) Validate() error {
	switch {
	case c.Local == nil || c.Now == nil || c.Logger == nil:
		return errors.New("s3 copier: Local, Now and Logger are needed")
	case c.Retention <= 0 || c.Sweep <= 0:
		return fmt.Errorf("retention %v and sweep %v must be longer than 0", c.Retention, c.Sweep)
	case c.Parallel < 1:
		return fmt.Errorf("s3 copier: Parallel %d: at least 1 is needed", c.Parallel)
	}
	return c.Store.Validate()
}

// Copier keeps copies of a node's checkpoints in a bucket, behind the cluster's
// own replicas: nothing waits for it. Of a workload whose checkpoints come
// faster than they can be sent, the newest is sent. Its methods may be called
// at once from any goroutine.
type Copier struct {
	cfg     CopierConfig
	metrics *metrics
	wake    chan struct{}

	mu    sync.Mutex
	store *Store          // nil: not reached yet
	jobs  map[string]*job // by workload
}

// job is what is to be done for a workload.
type job struct {
	cp       forestall.Checkpoint // to be copied; no ID: none
	since    time.Time            // when the first that was not copied was added
	fence    forestall.Epoch      // to be raised; 0: none
	busy     bool
	failures int
	due      time.Time // after failures
}

// NewCopier returns a copier that does nothing before Run. Errors are about
// the configuration, access keys that are not there included.
func NewCopier(cfg CopierConfig) (*Copier, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if _, err := newBucket(cfg.Store); err != nil {
		return nil, err
	}
	c := &Copier{cfg: cfg, wake: make(chan struct{}, 1), jobs: make(map[string]*job)}
	c.metrics = newMetrics()
	if cfg.Registerer != nil {
		for _, m := range []prometheus.Collector{c.metrics.copies, c.metrics.collected, c} {
			if err := cfg.Registerer.Register(m); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

// Add has a checkpoint of the local store copied, in place of an older one of
// its workload that still waits.
func (c *Copier) Add(cp forestall.Checkpoint) {
	c.edit(cp.Workload, func(j *job) {
		switch {
		case j.cp.ID == "":
			j.since = c.cfg.Now()
		case !cp.NewerThan(j.cp):
			return
		}
		j.cp = cp
	})
}

// Fence has the store refuse checkpoints of workload below e, soon.
func (c *Copier) Fence(workload string, e forestall.Epoch) {
	c.edit(workload, func(j *job) { j.fence = max(j.fence, e) })
}

func (c *Copier) edit(workload string, change func(*job)) {
	c.mu.Lock()
	j := c.jobs[workload]
	if j == nil {
		j = new(job)
		c.jobs[workload] = j
	}
	change(j)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Open returns the store, opening it if that has not succeeded yet.
func (c *Copier) Open(ctx context.Context) (*Store, error) {
	c.mu.Lock()
	s := c.store
	c.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := Open(ctx, c.cfg.Store)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.store == nil {
		c.store = s
		c.cfg.Logger.Info("off-site store opened", "store", s.String())
	}
	return c.store, nil
}

// Fetch brings a checkpoint into the local store.
func (c *Copier) Fetch(ctx context.Context, id string) error {
	s, err := c.Open(ctx)
	if err != nil {
		return err
	}
	p, err := s.Open(ctx, id)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := c.cfg.Local.TakeKnown(ctx, p); err != nil {
		return fmt.Errorf("fetch checkpoint %.12s from %s: %w", id, s, err)
	}
	return nil
}

// Run copies, raises fences and cleans up until ctx ends and what is under way
// has ended. It returns nil: an off-site store that is away is logged, and
// tried again.
func (c *Copier) Run(ctx context.Context) error {
	c.addHeads()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { c.sweep(ctx) })
	ended := make(chan struct{})
	running := 0
	for {
		for running < c.cfg.Parallel {
			workload, j, ok := c.take()
			if !ok {
				break
			}
			running++
			wg.Go(func() {
				c.done(workload, j, c.do(ctx, workload, j))
				select {
				case ended <- struct{}{}:
				case <-ctx.Done():
				}
			})
		}
		retry, stop := c.retry()
		select {
		case <-ctx.Done():
			stop()
			return nil
		case <-ended:
			running--
		case <-c.wake:
		case <-retry:
		}
		stop()
	}
}

// addHeads has what counts and is held here copied, if it is not yet.
func (c *Copier) addHeads() {
	if c.cfg.Heads == nil {
		return
	}
	for _, id := range c.cfg.Heads() {
		if cp, err := c.cfg.Local.Get(id); err == nil {
			c.Add(cp)
		}
	}
}

// take books a job that is due.
func (c *Copier) take() (workload string, _ job, ok bool) {
	now := c.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for w, j := range c.jobs {
		if !j.busy && (j.cp.ID != "" || j.fence != 0) && !now.Before(j.due) {
			j.busy = true
			return w, *j, true
		}
	}
	return "", job{}, false
}

// retry returns a channel that tells when the next job falls due.
func (c *Copier) retry() (<-chan time.Time, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var next time.Time
	for _, j := range c.jobs {
		if !j.busy && (j.cp.ID != "" || j.fence != 0) && (next.IsZero() || j.due.Before(next)) {
			next = j.due
		}
	}
	if next.IsZero() {
		return nil, func() {}
	}
	t := time.NewTimer(max(0, next.Sub(c.cfg.Now())))
	return t.C, func() { t.Stop() }
}

// do raises the fence, then copies.
func (c *Copier) do(ctx context.Context, workload string, j job) error {
	s, err := c.Open(ctx)
	if err != nil {
		return err
	}
	if j.fence != 0 {
		if err := s.Fence(ctx, workload, j.fence); err != nil && !errors.Is(err, forestall.ErrStaleEpoch) {
			return err
		}
	}
	if j.cp.ID == "" {
		return nil
	}
	return checkpoint.Copy(ctx, s, checkpoint.Local(c.cfg.Local), j.cp.ID)
}

// done books how a job ended: once more and ever later after a failure that
// may pass.
func (c *Copier) done(workload string, did job, err error) {
	now := c.cfg.Now()
	lost := errors.Is(err, checkpoint.ErrNotFound) || errors.Is(err, forestall.ErrStaleEpoch)
	c.mu.Lock()
	j := c.jobs[workload]
	j.busy = false
	if err == nil || lost {
		if j.cp.ID == did.cp.ID {
			j.cp = forestall.Checkpoint{}
		} else {
			j.since = now
		}
		if j.fence == did.fence {
			j.fence = 0
		}
		j.failures, j.due = 0, time.Time{}
	} else {
		j.due = now.Add(min(5*time.Minute, 5*time.Second<<min(j.failures, 8)))
		j.failures++
	}
	due := j.due
	c.mu.Unlock()
	switch {
	case err == nil && did.cp.ID != "":
		c.metrics.copies.WithLabelValues(workload, "ok").Inc()
	case lost:
		c.cfg.Logger.Warn("checkpoint is not copied off-site", "workload", workload, "checkpoint", did.cp.ID, "error", err)
		c.metrics.copies.WithLabelValues(workload, "lost").Inc()
	case err != nil && !errors.Is(err, context.Canceled):
		c.cfg.Logger.Error("off-site copy failed; it will be tried again", "workload", workload, "checkpoint", did.cp.ID, "again_in", due.Sub(now), "error", err)
		c.metrics.copies.WithLabelValues(workload, "failed").Inc()
	}
}

// firstSweep is after how long at the latest a copier sweeps for the first time: one
// that is often started anew must come to it.
const firstSweep = 10 * time.Minute

// sweep applies the retention and collects garbage from time to time.
func (c *Copier) sweep(ctx context.Context) {
	timer := time.NewTimer(min(c.cfg.Sweep, firstSweep))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(c.cfg.Sweep)
		c.addHeads()
		dropped, done, err := c.Clean(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			c.cfg.Logger.Warn("off-site retention", "error", err)
		case dropped > 0 || done.Removed > 0:
			c.cfg.Logger.Info("off-site retention", "checkpoints_removed", dropped, "objects_removed", done.Removed, "bytes_freed", done.Freed, "objects_marked", done.Marked)
		}
	}
}

// copyPins tells the bucket of the pins of this node's store that it does not
// know or that are later than its own.
func (c *Copier) copyPins(ctx context.Context, s *Store) error {
	there, err := s.Pins(ctx)
	if err != nil {
		return err
	}
	known := make(map[string]time.Time, len(there))
	for _, p := range there {
		known[p.ID] = p.At
	}
	for _, p := range c.cfg.Local.Pins() {
		if !p.At.After(known[p.ID]) {
			continue
		}
		if err := s.Pin(ctx, p, checkpoint.Claim{}); err != nil && !errors.Is(err, checkpoint.ErrNotFound) {
			return err
		}
	}
	return nil
}

// Clean drops the copies that are older than the retention and not pinned, and
// collects garbage.
func (c *Copier) Clean(ctx context.Context) (dropped int, done Collected, err error) {
	s, err := c.Open(ctx)
	if err != nil {
		return 0, done, err
	}
	if err := c.copyPins(ctx, s); err != nil {
		return 0, done, err
	}
	all, err := s.List(ctx, "")
	if err != nil {
		return 0, done, err
	}
	for _, cp := range checkpoint.Expired(all, c.cfg.Retention, c.cfg.Now(), c.cfg.Keep) {
		err := s.Delete(ctx, cp.ID, checkpoint.Claim{})
		if errors.Is(err, checkpoint.ErrNotFound) || errors.Is(err, checkpoint.ErrPinned) {
			continue // somebody else was faster
		}
		if err != nil {
			return dropped, done, err
		}
		dropped++
	}
	done, err = s.GC(ctx)
	c.metrics.collected.Add(float64(done.Freed))
	return dropped, done, err
}
