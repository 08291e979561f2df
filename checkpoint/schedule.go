package checkpoint

import (
	"context"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
)

// look is how often Run looks for new workloads and checkpoints that are due.
const look = 500 * time.Millisecond

// appointment is when a run of a workload is next to be saved.
type appointment struct {
	epoch    forestall.Epoch
	due      time.Time
	failures int // since the last success
	running  bool
}

// schedule decides what is due. It holds no clock and starts nothing.
type schedule struct {
	every  func(Target) time.Duration
	jitter func() float64
	runs   map[string]*appointment
}

// due returns the targets to save at now and books them as running. A run that
// is new is due within one interval, so that workloads spread; one that has
// gone is forgotten.
func (s *schedule) due(now time.Time, targets []Target) (out []Target) {
	here := make(map[string]bool, len(targets))
	for _, t := range targets {
		here[t.Workload] = true
		a := s.runs[t.Workload]
		if a == nil || a.epoch != t.Epoch {
			first := time.Duration(s.jitter() * float64(s.every(t)))
			a = &appointment{epoch: t.Epoch, due: now.Add(first), running: a != nil && a.running}
			s.runs[t.Workload] = a
		}
		if !a.running && !now.Before(a.due) {
			a.running = true
			out = append(out, t)
		}
	}
	for w, a := range s.runs {
		if !here[w] && !a.running {
			delete(s.runs, w)
		}
	}
	return out
}

// ended books a checkpoint of t that began and ended then. The next begins up
// to a tenth of the interval early, never late, counted from where this one's
// state is; after a failure soon, and then ever later up to the interval.
func (s *schedule) ended(t Target, began, now time.Time, err error) {
	a := s.runs[t.Workload]
	if a == nil {
		return
	}
	a.running = false
	if a.epoch != t.Epoch {
		return
	}
	every := s.every(t)
	if err == nil {
		a.failures = 0
		a.due = began.Add(every - time.Duration(s.jitter()*float64(every)/10))
		return
	}
	a.failures++
	a.due = now.Add(min(every, time.Second<<min(a.failures-1, 16)))
}

// every returns the time between t's checkpoints.
func (m *Manager) every(t Target) time.Duration {
	p := Pace{Longest: m.cfg.Interval, Share: m.cfg.Share}
	if t.Interval > 0 {
		p.Longest = t.Interval
	}
	p.Shortest = min(m.cfg.Shortest, p.Longest)
	m.mu.Lock()
	cost := m.costs[t.Workload]
	m.mu.Unlock()
	every := p.Interval(cost, m.hooks.FailureRate(t.Workload))
	m.cfg.Metrics.paced(t.Workload, every)
	return every
}

// paid remembers what a workload's checkpoint cost.
func (m *Manager) paid(cp forestall.Checkpoint) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.costs[cp.Workload] = Pace{Share: m.cfg.Share}.Cost(cp)
}

// Run takes each workload's checkpoint when it falls due and applies the
// retention, until ctx ends and what is under way has ended. It returns nil.
func (m *Manager) Run(ctx context.Context) error {
	type result struct {
		t     Target
		began time.Time
		err   error
	}
	var (
		wg      sync.WaitGroup
		results = make(chan result)
		slots   = make(chan struct{}, m.cfg.Parallel)
		plan    = schedule{every: m.every, jitter: m.cfg.Jitter, runs: make(map[string]*appointment)}
	)
	defer wg.Wait()
	wg.Go(func() { m.sweep(ctx) })
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-results:
			plan.ended(r.t, r.began, m.cfg.Now(), r.err)
		case <-ticker.C:
			for _, t := range plan.due(m.cfg.Now(), m.hooks.Targets()) {
				wg.Go(func() {
					select {
					case slots <- struct{}{}:
					case <-ctx.Done():
						return
					}
					r := result{t: t, began: m.cfg.Now()}
					r.err = m.automatic(ctx, t)
					<-slots
					select {
					case results <- r:
					case <-ctx.Done():
					}
				})
			}
		}
	}
}

func (m *Manager) automatic(ctx context.Context, t Target) error {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	_, err := m.Create(ctx, t.Workload, "", false)
	if err != nil {
		m.cfg.Logger.Error("automatic checkpoint did not count", "workload", t.Workload, "error", err)
	}
	return err
}

// firstSweep is after how long at the latest a manager sweeps for the first time:
// one that is often started anew must come to it, and one that has just started
// has other things to do.
const firstSweep = time.Minute

// sweep applies the retention from time to time, and scrubs a share of the
// store.
func (m *Manager) sweep(ctx context.Context) {
	timer := time.NewTimer(min(m.cfg.Sweep, firstSweep))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		began := m.cfg.Now()
		r := Retention{All: m.cfg.Retention, Tiers: m.cfg.Tiers, MaxBytes: m.cfg.MaxBytes}
		removed, freed, err := m.store.Tidy(ctx, r, began, m.hooks.Keep)
		switch {
		case err != nil && ctx.Err() == nil:
			m.cfg.Logger.Error("retention", "error", err)
		case removed > 0 || freed > 0:
			m.cfg.Logger.Info("retention", "checkpoints_removed", removed, "bytes_freed", freed)
		}
		m.scrub(ctx)
		timer.Reset(max(0, m.cfg.Sweep-m.cfg.Now().Sub(began)))
	}
}
