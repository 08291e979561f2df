package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/recording"
)

// How far back windows are refilled: so many of the kind's longest windows,
// because a smoothed mean remembers e^-2 of what is one window old, and about so
// many samples, which take a few seconds.
const (
	refillWindows = 20
	refillSamples = 20 << 20
)

// refill is what a restarted engine knows from its recording.
type refill struct {
	mu         sync.Mutex
	components map[forestall.Component]time.Time // to the newest recorded scrape
	from       time.Time
	failed     error
}

// refill plays what was recorded into the windows, which are empty, as the
// engine filled them that recorded it. It is called before anything is scraped.
// Windows that cannot be refilled fill with time.
func (t *telemetry) refill(ctx context.Context, dir string) {
	start := t.now()
	samples, err := t.refilled.play(ctx, dir, start, t.lanes)
	switch {
	case ctx.Err() != nil || err == nil && samples == 0:
		return
	case err != nil:
		t.log.Warn("windows could not all be refilled from the recording; they fill with time", "dir", dir, "components", len(t.refilled.components), "error", err)
		return
	}
	t.log.Info("windows refilled from the recording", "components", len(t.refilled.components), "samples", samples, "since", t.refilled.from.Format(time.RFC3339), "took", t.now().Sub(start).Round(time.Millisecond))
}

func (r *refill) play(ctx context.Context, dir string, now time.Time, into *lanes) (samples int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.components = map[forestall.Component]time.Time{}
	defer func() { r.failed = err }()
	since, oldest := map[forestall.Kind]time.Time{}, now
	for _, kind := range laneKinds {
		if longest := into.longest(kind); longest > 0 {
			since[kind] = now.Add(-refillWindows * longest)
			if since[kind].Before(oldest) {
				oldest = since[kind]
			}
		}
	}
	recent, from, err := recording.Recent(dir, oldest, refillSamples)
	if errors.Is(err, recording.ErrEmpty) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	r.from = now
	for scrape, err := range recent.Scrapes(ctx) {
		if err != nil {
			return samples, err
		}
		c, at := scrape[0].Component, scrape[0].Time
		// Scrapes of the future are of a clock that was set back since: the next
		// ones would not follow on them.
		if begin, ok := since[c.Kind]; !ok || at.Before(begin) || at.Before(from) || !at.Before(now) {
			continue
		}
		if err := into.push(scrape, notMeasured); err != nil {
			return samples, err
		}
		if len(r.components) == 0 {
			r.from = at
		}
		r.components[c] = at
		samples += len(scrape)
	}
	maps.DeleteFunc(r.components, func(c forestall.Component, last time.Time) bool {
		if now.Sub(last) <= into.longest(c.Kind) {
			return false
		}
		into.forget(c) // its windows are empty by now
		return true
	})
	return samples, nil
}

// any reports whether a component was refilled.
func (r *refill) any() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.components) > 0
}

// unheard forgets the components that were refilled and have not been scraped
// since: their device or target went while the engine was down.
func (r *refill) unheard(all *lanes, log *slog.Logger) {
	r.mu.Lock()
	defer r.mu.Unlock()
	gone := 0
	for c, last := range r.components {
		heard := true
		all.with(c, func(w *features.Window) { heard = w.Last().After(last) })
		if !heard {
			all.forget(c)
			delete(r.components, c)
			gone++
		}
	}
	if gone > 0 {
		log.Info("recorded components that are scraped no longer are forgotten", "components", gone)
	}
}

// note says for a while what the windows were refilled from.
func (r *refill) note(started, now time.Time) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case now.Sub(started) > time.Hour:
		return ""
	case r.failed != nil:
		return fmt.Sprintf("the windows of %d components were refilled from the recording, the others fill with time: %v", len(r.components), r.failed)
	case len(r.components) > 0:
		return fmt.Sprintf("the windows of %d components were refilled from the recording since %s", len(r.components), r.from.Format("2006-01-02 15:04:05Z"))
	}
	return ""
}
