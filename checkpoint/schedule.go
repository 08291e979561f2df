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
	due      time.Time // zero: it follows from the newest that counted
	every    time.Duration
	early    float64 // in [0,1): how much of a tenth of every the next is early
	failures int     // since the last success
	running  bool
	booked   time.Time     // when what is under way fell due
	lead     time.Duration // that a checkpoint took to count, as of late
	state    time.Time     // the moment of the newest that counted; before the first, when the run was seen
	told     bool          // that it is too long ago
}

// schedule decides what is due. It holds no clock and starts nothing.
type schedule struct {
	every   func(Target) time.Duration // between checkpoints
	longest func(Target) time.Duration // that may be lost: the recovery point objective, never below every
	jitter  func() float64
	runs    map[string]*appointment
	waited  time.Duration // that one that was due waited for its turn, at most, as of late
}

// due returns the targets to save at now and books them as running. A run that
// is new is due within half an interval, so that workloads spread; one that has
// gone is forgotten.
func (s *schedule) due(now time.Time, targets []Target) (out []Target) {
	here := make(map[string]bool, len(targets))
	for _, t := range targets {
		here[t.Workload] = true
		a := s.runs[t.Workload]
		if a == nil || a.epoch != t.Epoch {
			first := time.Duration(s.jitter() * float64(s.every(t)) / 2)
			a = &appointment{epoch: t.Epoch, due: now.Add(first), running: a != nil && a.running, state: now}
			s.runs[t.Workload] = a
		}
		if !a.running && !now.Before(s.dueAt(t, a)) {
			a.running, a.booked = true, now
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

// dueAt returns when the next checkpoint of t is to begin: up to a tenth of the
// interval early, counted from the moment of the one before, and so early that it
// counts, if it waits and takes as long as of late, before more than the longest
// interval could be lost.
func (s *schedule) dueAt(t Target, a *appointment) time.Time {
	if !a.due.IsZero() {
		return a.due
	}
	return a.state.Add(Pace{Longest: s.longest(t)}.Wait(a.every, a.lead+s.waited+look, a.early))
}

// ended books a checkpoint of t that had its turn at began, ended at now, and
// holds the state of that moment. After a failure the next is due soon, and then
// ever later up to the interval.
func (s *schedule) ended(t Target, began, state, now time.Time, err error) {
	a := s.runs[t.Workload]
	if a == nil {
		return
	}
	a.running = false
	s.waited = max(began.Sub(a.booked), s.waited-s.waited/16)
	if a.epoch != t.Epoch {
		return
	}
	if err == nil {
		a.failures, a.state, a.told = 0, state, false
		a.lead = max(now.Sub(began), a.lead/2)
		a.due, a.every, a.early = time.Time{}, s.every(t), s.jitter()
		return
	}
	a.failures++
	a.due = now.Add(min(s.every(t), time.Second<<min(a.failures-1, 16)))
}

// exceeded returns, once for each, those of the targets of which more than the
// longest interval would be lost now, and since when.
func (s *schedule) exceeded(now time.Time, targets []Target) (out []Target, since []time.Time) {
	for _, t := range targets {
		a := s.runs[t.Workload]
		if a != nil && !a.told && now.Sub(a.state) > s.longest(t) {
			a.told = true
			out, since = append(out, t), append(since, a.state)
		}
	}
	return out, since
}

// every returns the time between t's checkpoints.
func (m *Manager) every(t Target) time.Duration {
	p := Pace{Longest: m.longest(t), Share: m.cfg.Share}
	p.Shortest = min(m.cfg.Shortest, p.Longest)
	m.mu.Lock()
	cost := m.costs[t.Workload]
	m.mu.Unlock()
	every := p.Interval(cost, m.hooks.FailureRate(t.Workload))
	m.cfg.Metrics.paced(t.Workload, every)
	return every
}

// longest returns the longest time between t's checkpoints.
func (m *Manager) longest(t Target) time.Duration {
	if t.Interval > 0 {
		return t.Interval
	}
	return m.cfg.Interval
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
		state time.Time
		err   error
	}
	var (
		wg      sync.WaitGroup
		results = make(chan result)
		slots   = make(chan struct{}, m.cfg.Parallel)
		plan    = schedule{every: m.every, longest: m.longest, jitter: m.cfg.Jitter, runs: make(map[string]*appointment)}
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
			plan.ended(r.t, r.began, r.state, m.cfg.Now(), r.err)
		case <-ticker.C:
			now, targets := m.cfg.Now(), m.hooks.Targets()
			m.tellExceeded(plan.exceeded(now, targets))
			for _, t := range plan.due(now, targets) {
				wg.Go(func() {
					select {
					case slots <- struct{}{}:
					case <-ctx.Done():
						return
					}
					r := result{t: t, began: m.cfg.Now()}
					r.state, r.err = m.automatic(ctx, t)
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

// automatic takes a checkpoint and returns the moment of its state.
func (m *Manager) automatic(ctx context.Context, t Target) (state time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	cp, err := m.Create(ctx, Request{Workload: t.Workload})
	if err != nil {
		m.cfg.Logger.Error("automatic checkpoint did not count", "workload", t.Workload, "error", err)
	}
	return cp.Time, err
}

// tellExceeded says of which workloads too much would be lost.
func (m *Manager) tellExceeded(targets []Target, since []time.Time) {
	for i, t := range targets {
		m.cfg.Metrics.late(t.Workload)
		m.cfg.Logger.Warn("no checkpoint has counted for longer than checkpoint_interval: a failure now loses more than that",
			"workload", t.Workload, "since", since[i], "checkpoint_interval", m.longest(t))
	}
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
