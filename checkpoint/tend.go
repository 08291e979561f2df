package checkpoint

import (
	"context"
	"errors"
	"time"
)

// scrub verifies a share of the store, so that all of it has its turn within
// the configured time, and brings back from other nodes what was found lost.
func (m *Manager) scrub(ctx context.Context) {
	if m.cfg.Scrub == 0 || ctx.Err() != nil {
		return
	}
	s, err := m.store.Stats()
	if err == nil {
		m.warnOfSlowScrub(s.PackBytes)
		var r ScrubReport
		share := float64(m.cfg.Sweep) / float64(m.cfg.Scrub)
		r, err = m.store.Scrub(ctx, 1+int64(share*float64(s.PackBytes)))
		m.cfg.Metrics.scrubbed(r)
		if r.Bad > 0 {
			m.cfg.Logger.Error("the checkpoint store is damaged", "found", r.Bad, "first", r.First)
			m.mend(ctx)
		}
	}
	if err != nil && ctx.Err() == nil {
		m.cfg.Logger.Error("scrub", "error", err)
	}
}

// warnOfSlowScrub says so when the store cannot be verified in time at the rate
// that work in the background may have.
func (m *Manager) warnOfSlowScrub(packBytes int64) {
	rate := m.store.opt.BackgroundRate
	if rate <= 0 || float64(packBytes) <= float64(rate)*m.cfg.Scrub.Seconds() {
		return
	}
	m.cfg.Logger.Warn("the store is too large to be verified in time at its background rate: raise the rate or allow more time",
		"pack_bytes", packBytes, "bytes_per_second", rate, "within", m.cfg.Scrub,
		"takes", time.Duration(float64(packBytes)/float64(rate)*float64(time.Second)).Round(time.Minute))
}

// mend fetches the checkpoints that are not whole.
func (m *Manager) mend(ctx context.Context) {
	ids, err := m.store.wanting(ctx)
	if err != nil && ctx.Err() == nil {
		m.cfg.Logger.Error("look for checkpoints that are not whole", "error", err)
	}
	for _, id := range ids {
		err := m.repl.Fetch(ctx, id, nil)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			m.cfg.Logger.Error("checkpoint cannot be made whole again", "checkpoint", id, "error", err)
		default:
			m.cfg.Logger.Info("checkpoint is whole again", "checkpoint", id)
		}
	}
}

// wanting returns the checkpoints whose manifest or chunks are lost.
func (d *Dir) wanting(ctx context.Context) (ids []string, err error) {
	d.mu.Lock()
	for id := range d.damaged {
		ids = append(ids, id)
	}
	d.mu.Unlock()
	cps, err := d.List("")
	if err != nil {
		return ids, err
	}
	for _, cp := range cps {
		if err := ctx.Err(); err != nil {
			return ids, err
		}
		if !d.whole(cp.ID) {
			if _, err := d.Get(cp.ID); !errors.Is(err, ErrNotFound) {
				ids = append(ids, cp.ID)
			}
		}
	}
	return ids, nil
}
