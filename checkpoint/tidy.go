package checkpoint

import (
	"context"
	"time"

	"github.com/stratoswarm/forestall"
)

// How often Tidy collects.
const (
	collectOften  = time.Hour      // at most, when there is something
	collectSeldom = 24 * time.Hour // also when nothing is known of
	collectShare  = 1000           // GC takes no more than a thousandth of the time
)

// Tidy is [Dir.Retain] for a store in use, to be called often, such as after
// each checkpoint. Dropping what the retention lets go costs next to nothing,
// and is done each time. GC, which visits the trees of all checkpoints, is done
// once something was dropped or failed, at most once an hour, and so seldom that
// it takes no more than a thousandth of one core's time however many checkpoints
// there are; and once a day in any case. Only a store over its size limit is
// collected, and made smaller, each time.
func (d *Dir) Tidy(ctx context.Context, r Retention, now time.Time, keep func(forestall.Checkpoint) bool) (removed int, freedBytes int64, err error) {
	if err := r.Validate(); err != nil {
		return 0, 0, err
	}
	if r.MaxBytes > 0 {
		if s, err := d.Stats(); err != nil || s.PackBytes > r.MaxBytes {
			return d.Retain(ctx, r, now, keep)
		}
	}
	if removed, err = d.expire(ctx, r, now, keep); err != nil {
		return removed, 0, err
	}
	d.mu.Lock()
	due := d.collected.due(now, d.waste.Load() > 0)
	d.mu.Unlock()
	if due {
		freedBytes, err = d.GC(ctx)
	}
	return removed, freedBytes, err
}

// collected is when GC last ended, or the store was opened, and how long it took.
type collected struct {
	at    time.Time
	took  time.Duration
	known bool // took is that of a GC
}

// due decides whether another GC is worth while.
func (c collected) due(now time.Time, waste bool) bool {
	since := now.Sub(c.at)
	if waste {
		return !c.known || since >= max(collectOften, collectShare*c.took)
	}
	return since >= max(collectSeldom, collectShare*c.took)
}

// beginCollecting notes that GC begins; ended is for when it has.
func (d *Dir) beginCollecting() (ended func(error)) {
	began, waste := d.opt.Now(), d.waste.Swap(0)
	return func(err error) {
		now := d.opt.Now()
		d.mu.Lock()
		d.collected = collected{at: now, took: now.Sub(began), known: true}
		d.mu.Unlock()
		if err != nil {
			d.waste.Add(max(1, waste))
		}
	}
}
