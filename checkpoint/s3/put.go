package s3

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/internal/parallel"
)

// Put takes in a checkpoint. Chunks that packs of the workload's newest
// checkpoint hold are not asked for, unless little else in their pack is still
// needed: those are written anew, so that what a checkpoint keeps alive stays
// below twice what it needs. What an upload that failed has already brought is
// used by the next one of this process.
func (s *Store) Put(ctx context.Context, p *checkpoint.Parcel) error {
	if err := forestall.CheckName(p.Workload); err != nil {
		return fmt.Errorf("put checkpoint: %w", err)
	}
	if s.cfg.ReadOnly {
		return fmt.Errorf("put checkpoint into %s: %w", s, ErrReadOnly)
	}
	if p.Chunks == nil {
		return fmt.Errorf("put checkpoint %.12s into %s: which chunks it needs is not known; take it into a directory store first", p.ID, s)
	}
	queue := s.queue(p.Workload)
	queue.Lock()
	defer queue.Unlock()
	if err := s.put(ctx, p); err != nil {
		return fmt.Errorf("put checkpoint %.12s of %s into %s: %w", p.ID, p.Workload, s, err)
	}
	return nil
}

func (s *Store) queue(workload string) *sync.Mutex {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[workload]
	if q == nil {
		q = new(sync.Mutex)
		s.queues[workload] = q
	}
	return q
}

func (s *Store) put(ctx context.Context, p *checkpoint.Parcel) error {
	began := s.cfg.Now()
	c, _, err := s.loadCatalog(ctx, p.Workload)
	if err != nil {
		return err
	}
	if err := c.admit(p.Epoch); err != nil {
		return err
	}
	if c.index(p.ID) >= 0 {
		return nil
	}
	// Read after the moment from which the time is counted: what is not doomed
	// here is not removed for a whole grace period.
	doomed, _, err := s.loadPlan(ctx)
	if err != nil {
		return err
	}
	candidates, err := s.candidates(ctx, c, doomed)
	if err != nil {
		return err
	}
	used, missing := choose(candidates, p.Chunks, s.cfg.PackSize)
	fresh, err := s.upload(ctx, p, missing)
	s.remember(p.Workload, used, fresh)
	if err != nil {
		return err
	}
	used = append(used, fresh...)

	e := entry{Checkpoint: p.Checkpoint, Record: newName()}
	e.Replicas, e.Pinned = nil, false // of the cluster, not of this store
	if err := s.writeRecord(ctx, e, used, p.Manifest); err != nil {
		return err
	}
	err = s.change(ctx, p.Workload, func(c *catalog) (bool, error) {
		if c.index(p.ID) >= 0 {
			return false, nil // an attempt whose reply was lost, or another process
		}
		if err := c.admit(p.Epoch); err != nil {
			return false, err
		}
		if took := s.cfg.Now().Sub(began); took > s.cfg.Grace/2 {
			return false, fmt.Errorf("%w: %s, and gc_grace is %s; it will be tried again with what has been sent", ErrTooSlow, took.Round(time.Second), s.cfg.Grace)
		}
		c.Checkpoints = append(c.Checkpoints, e)
		return true, nil
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.homes[p.ID] = p.Workload
	return nil
}

func (s *Store) writeRecord(ctx context.Context, e entry, packs []*pack, manifest []byte) error {
	r := record{ID: e.ID}
	for _, p := range packs {
		r.Packs = append(r.Packs, p.packRef)
	}
	b, err := sealRecord(r, manifest)
	if err != nil {
		return err
	}
	err = s.bucket.put(ctx, recordDir+e.Record, b, absent)
	if errors.Is(err, errChanged) {
		return nil // the name is ours alone: an attempt whose reply was lost
	}
	return err
}

// knownPack is a pack whose index is in memory.
type knownPack struct {
	*pack
	sent time.Time // by this process, and no checkpoint relied on it then; zero: not known to be
}

// candidates returns the packs whose chunks a new checkpoint of the workload
// may rely on: those of its newest checkpoint, and those that this process has
// sent so lately that GC cannot have removed them, but none that it is about to.
func (s *Store) candidates(ctx context.Context, c *catalog, doomed *plan) (out []*pack, err error) {
	s.mu.Lock()
	known := s.packs[c.Workload]
	s.mu.Unlock()
	var refs []packRef
	if newest, ok := c.newest(); ok {
		if refs, err = s.packsOf(ctx, newest); err != nil {
			if err = s.noBase(c.Workload, err); err != nil {
				return nil, err
			}
		}
	}
	listed := make(map[string]bool)
	var unread []packRef
	for _, ref := range refs {
		listed[ref.Name] = true
		switch k, ok := known[ref.Name]; {
		case doomed.has(ref.key()):
		case ok:
			out = append(out, k.pack)
		default:
			unread = append(unread, ref)
		}
	}
	for name, k := range known {
		if !listed[name] && !k.sent.IsZero() && s.cfg.Now().Sub(k.sent) < s.cfg.Grace/4 && !doomed.has(k.key()) {
			out = append(out, k.pack)
		}
	}
	var mu sync.Mutex
	err = parallel.Do(ctx, s.cfg.Parallel, len(unread), func(ctx context.Context, i int) error {
		p, err := s.index(ctx, unread[i])
		if err != nil {
			return s.noBase(c.Workload, err)
		}
		mu.Lock()
		defer mu.Unlock()
		out = append(out, p)
		return nil
	})
	return out, err
}

// noBase lets what is damaged pass: its chunks are sent again.
func (s *Store) noBase(workload string, err error) error {
	if !errors.Is(err, checkpoint.ErrCorrupt) {
		return err
	}
	s.cfg.Logger.Error("the previous checkpoint is damaged: what it shares with the new one is sent again", "store", s.String(), "workload", workload, "error", err)
	return nil
}

func (c *catalog) newest() (newest entry, ok bool) {
	for _, e := range c.Checkpoints {
		if !ok || e.NewerThan(newest.Checkpoint) {
			newest, ok = e, true
		}
	}
	return newest, ok
}

// remember keeps the indices of packs for the next Put of the workload.
func (s *Store) remember(workload string, used, sent []*pack) {
	now := s.cfg.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.packs[workload]
	known := make(map[string]knownPack)
	for _, p := range used {
		known[p.Name] = knownPack{p, before[p.Name].sent}
	}
	for _, p := range sent {
		known[p.Name] = knownPack{p, now}
	}
	s.packs[workload] = known
}

// Of a workload's packs, at most manySmall may be smaller than a quarter of
// the usual size; more are merged.
const manySmall = 16

// choose decides which packs a checkpoint of these chunks relies on, and which
// chunks must be sent. A pack of which less than half is needed is given up,
// and so are small ones when there are many.
func choose(candidates []*pack, chunks []checkpoint.Hash, packSize int) (used []*pack, missing []checkpoint.Hash) {
	type place struct {
		pack   int
		length int64
	}
	places := make(map[checkpoint.Hash]place)
	for i, p := range candidates {
		for _, f := range p.frames {
			if _, ok := places[f.hash]; !ok {
				places[f.hash] = place{i, int64(f.length)}
			}
		}
	}
	needed := make([]int64, len(candidates))
	for _, h := range chunks {
		if at, ok := places[h]; ok {
			needed[at.pack] += at.length
		}
	}
	keep := make([]bool, len(candidates))
	small := 0
	for i, p := range candidates {
		keep[i] = needed[i] > 0 && 2*needed[i] >= p.Size-p.Index-int64(headLen)
		if keep[i] && p.Size < int64(packSize)/4 {
			small++
		}
	}
	for i, p := range candidates {
		if small > manySmall && p.Size < int64(packSize)/4 {
			keep[i] = false
		}
		if keep[i] {
			used = append(used, p)
		}
	}
	for _, h := range chunks {
		if at, ok := places[h]; !ok || !keep[at.pack] {
			missing = append(missing, h)
		}
	}
	return used, missing
}

// upload sends chunks in packs. What was sent before an error is returned with it.
func (s *Store) upload(ctx context.Context, p *checkpoint.Parcel, chunks []checkpoint.Hash) ([]*pack, error) {
	if len(chunks) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	u := &uploader{s: s, ctx: ctx, fail: cancel, slots: make(chan struct{}, 1)}
	err := p.Fetch(ctx, chunks, u.add)
	if err == nil && u.chunks != len(chunks) {
		err = fmt.Errorf("%w: the source gave %d of %d chunks", checkpoint.ErrCorrupt, u.chunks, len(chunks))
	}
	if err == nil {
		u.mu.Lock()
		u.flush()
		u.mu.Unlock()
	}
	u.wg.Wait()
	if err == nil {
		err = context.Cause(ctx)
	}
	return u.done, err
}

// uploader fills one pack while another is being sent.
type uploader struct {
	s     *Store
	ctx   context.Context // of the upload that it is a part of
	fail  context.CancelCauseFunc
	slots chan struct{}
	wg    sync.WaitGroup

	mu     sync.Mutex
	filled *builder
	chunks int

	doneMu sync.Mutex
	done   []*pack
}

func (u *uploader) add(h checkpoint.Hash, file []byte) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.filled != nil && len(u.filled.body)+len(file) > u.s.cfg.PackSize {
		u.flush()
	}
	if err := context.Cause(u.ctx); err != nil {
		return err
	}
	if u.filled == nil {
		u.filled = newBuilder(u.s.cfg.PackSize)
	}
	u.filled.add(h, file)
	u.chunks++
	return nil
}

// flush sends what has been collected, having waited for the pack before. The
// caller holds u.mu.
func (u *uploader) flush() {
	select {
	case u.slots <- struct{}{}:
	case <-u.ctx.Done():
		return
	}
	b := u.filled
	u.filled = nil
	u.wg.Go(func() {
		defer func() { <-u.slots }()
		p, body := b.seal(newName())
		if err := u.s.bucket.put(u.ctx, p.key(), body, always); err != nil {
			u.fail(err)
			return
		}
		u.doneMu.Lock()
		defer u.doneMu.Unlock()
		u.done = append(u.done, p)
	})
}
