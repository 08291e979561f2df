package checkpoint

import (
	"context"
	"errors"
)

// scrub verifies a share of the store, so that all of it has its turn within
// the configured time, and brings back from other nodes what was found lost.
func (m *Manager) scrub(ctx context.Context) {
	if m.cfg.Scrub == 0 || ctx.Err() != nil {
		return
	}
	s, err := m.store.Stats()
	if err == nil {
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
