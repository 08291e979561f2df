package live

import (
	"context"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
)

// Run takes a checkpoint whenever one falls due and applies the retention,
// until ctx ends; then it returns nil. The first falls due within half an
// interval, the next ones up to a tenth of an interval early, counted from the
// moment of the one before, and so early that one that takes as long as of late
// is done before the longest interval has passed. One that fails is tried again
// soon, then ever later up to the interval.
func (m *Manager) Run(ctx context.Context) error {
	every := m.interval()
	timer := time.NewTimer(time.Duration(m.cfg.Jitter() * float64(every) / 2))
	defer timer.Stop()
	var lead time.Duration
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		began := m.cfg.Now()
		cp, err := m.Create(ctx, "")
		if ctx.Err() != nil {
			return nil
		}
		every = m.interval()
		if err != nil {
			m.cfg.Logger.Error("automatic checkpoint failed", "workload", m.cfg.Workload, "error", err)
			timer.Reset(min(every, time.Second<<min(failures, 16)))
			failures++
			continue
		}
		failures = 0
		m.cfg.Logger.Debug("checkpoint", "workload", cp.Workload, "id", cp.ID, "size", cp.Size, "added", cp.Added, "pause", cp.Pause, "took", cp.Took)
		lead = max(m.cfg.Now().Sub(began), lead/2)
		m.retain(ctx)
		timer.Reset(max(0, m.cfg.Pace.Wait(every, lead, m.cfg.Jitter())-m.cfg.Now().Sub(cp.Time)))
	}
}

// interval returns the time between checkpoints, as the last one's cost and the
// failure rate make it.
func (m *Manager) interval() time.Duration {
	var rate checkpoint.FailureRate
	if m.cfg.FailureRate != nil {
		rate = m.cfg.FailureRate()
	}
	last, _ := m.Last()
	return m.cfg.Pace.Interval(m.cfg.Pace.Cost(last), rate)
}

// retain drops the workload's checkpoints that have become too old, and now and
// then what nothing needs any more.
func (m *Manager) retain(ctx context.Context) {
	others := func(cp forestall.Checkpoint) bool { return cp.Workload != m.cfg.Workload }
	removed, freed, err := m.store.Tidy(ctx, m.cfg.retention(), m.cfg.Now(), others)
	switch {
	case err != nil && ctx.Err() == nil:
		m.cfg.Logger.Error("retention", "error", err)
	case removed > 0:
		m.cfg.Logger.Info("retention", "checkpoints_removed", removed, "bytes_freed", freed)
	}
}
