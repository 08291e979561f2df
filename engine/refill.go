package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/recording"
)

// refillWindows is how far back windows are refilled: so many of the kind's
// longest windows, because a smoothed mean remembers e^-2 of what is one window
// old. telemetry.refill_samples bounds it as well.
const refillWindows = 20

// refill is what a restarted engine knows from its recording.
type refill struct {
	mu         sync.Mutex
	components map[forestall.Component]time.Time // to the newest recorded scrape
	from       time.Time
	short      string // which windows the limit has left thin, and until when
	failed     error
	began      time.Time
	absent     map[forestall.Component]bool // recorded GPUs that no source has described since
}

// reach is what windows need of a recording.
type reach struct {
	now     time.Time
	longest map[forestall.Kind]time.Duration // window
	metrics map[forestall.Kind]map[string]bool
}

// reachOf is that of the windows of lanes; nil ones are passed over.
func reachOf(now time.Time, all ...*lane) reach {
	r := reach{now, map[forestall.Kind]time.Duration{}, map[forestall.Kind]map[string]bool{}}
	for _, l := range all {
		if l == nil {
			continue
		}
		windows := l.schema.Windows()
		r.longest[l.kind] = max(r.longest[l.kind], windows[len(windows)-1])
		if r.metrics[l.kind] == nil {
			r.metrics[l.kind] = map[string]bool{features.MetricScrapeLatency: true}
		}
		for _, m := range l.schema.Metrics() {
			r.metrics[l.kind][m.Name] = true
		}
	}
	return r
}

func (r reach) since(kind forestall.Kind) time.Time {
	return r.now.Add(-refillWindows * r.longest[kind])
}

func (r reach) part(limit int64) recording.Part {
	p := recording.Part{Since: map[forestall.Kind]time.Time{}, Limit: limit}
	for kind := range r.longest {
		p.Since[kind] = r.since(kind)
	}
	p.Metrics = func(kind forestall.Kind, metric string) bool { return r.metrics[kind][metric] }
	return p
}

// short says which windows a limit has left thin that begins the reading at a
// time, and when they will be whole; "": none.
func (r reach) short(from time.Time) string {
	var thin []string
	for _, kind := range laneKinds {
		if longest := r.longest[kind]; longest > 0 && from.After(r.now.Add(-longest)) {
			thin = append(thin, fmt.Sprintf("features of %s over more than %s are of less time until %s",
				kind, r.now.Sub(from).Round(time.Second), from.Add(longest).Format("2006-01-02 15:04Z")))
		}
	}
	return strings.Join(thin, "; ")
}

// played is what was played from a recording.
type played struct {
	components map[forestall.Component]time.Time // to the newest scrape
	samples    int
	from       time.Time // the first scrape
	short      string    // see reach.short
}

// play calls push with the recorded scrapes that windows need, in their order.
func (r reach) play(ctx context.Context, dir string, limit int64, push func([]forestall.Sample) error) (p played, err error) {
	p = played{components: map[forestall.Component]time.Time{}, from: r.now}
	recent, from, err := recording.Recent(dir, r.part(limit))
	if errors.Is(err, recording.ErrEmpty) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	for scrape, err := range recent.Scrapes(ctx) {
		if err != nil {
			return p, err
		}
		c, at := scrape[0].Component, scrape[0].Time
		// Scrapes of the future are of a clock that was set back since: the next
		// ones would not follow on them.
		if at.Before(r.since(c.Kind)) || at.Before(from) || !at.Before(r.now) {
			continue
		}
		if err := push(scrape); err != nil {
			return p, err
		}
		if len(p.components) == 0 {
			p.from = at
		}
		p.components[c] = at
		p.samples += len(scrape)
	}
	p.short = r.short(from)
	return p, nil
}

// takeUp takes up what the last engine has recorded, but of components that were taken
// out for good: they are known only if a source describes them again.
func (t *telemetry) takeUp(ctx context.Context, all *sync.WaitGroup) {
	t.refill(ctx, t.recorder.dir)
	t.rejoin(ctx, all)
	t.drop(t.forgotten)
}

// takenOut reports whether a recorded scrape is of what was taken out for good before
// this engine started.
func (t *telemetry) takenOut(scrape []forestall.Sample) bool {
	return slices.Contains(t.forgotten, scrape[0].Component) && scrape[0].Time.Before(t.refilled.start())
}

// refill plays what was recorded into the windows, which are empty, as the
// engine filled them that recorded it. It is called before anything is scraped.
// Windows that cannot be refilled fill with time.
func (t *telemetry) refill(ctx context.Context, dir string) {
	start := t.now()
	p, err := t.refilled.play(ctx, dir, t.refillLimit, start, t.lanes)
	switch {
	case ctx.Err() != nil || err == nil && p.samples == 0:
		return
	case err != nil:
		t.log.Warn("windows could not all be refilled from the recording; they fill with time", "dir", dir, "components", len(t.refilled.components), "error", err)
		return
	}
	t.log.Info("windows refilled from the recording", "components", len(t.refilled.components), "samples", p.samples, "since", t.refilled.from.Format(time.RFC3339), "took", t.now().Sub(start).Round(time.Millisecond))
	if p.short != "" {
		t.log.Warn("telemetry.refill_samples does not reach back for the length of the longest windows", "telemetry.refill_samples", t.refillLimit, "thin", p.short)
	}
}

func (r *refill) play(ctx context.Context, dir string, limit int64, now time.Time, into *lanes) (p played, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, err = reachOf(now, into.all()...).play(ctx, dir, limit, func(scrape []forestall.Sample) error { return into.push(scrape, notMeasured) })
	r.components, r.from, r.short, r.failed = p.components, p.from, p.short, err
	r.began, r.absent = now, map[forestall.Component]bool{}
	for c := range r.components {
		if c.Kind == forestall.KindGPU {
			r.absent[c] = true
		}
	}
	maps.DeleteFunc(r.components, func(c forestall.Component, last time.Time) bool {
		if now.Sub(last) <= into.longest(c.Kind) {
			return false
		}
		into.forget(c) // its windows are empty by now
		return true
	})
	return p, err
}

// start returns when what was recorded was taken up.
func (r *refill) start() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.began
}

// any reports whether a component was refilled.
func (r *refill) any() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.components) > 0
}

// missing takes what a source has described and returns the recorded GPUs beside
// those, on their nodes, that no source has described since the engine started: a
// GPU that was dead or died meanwhile is as silent as without a restart. None before
// every source has had its turn, by grace after the start.
func (r *refill) missing(described []forestall.Component, now time.Time, grace time.Duration) (gone []forestall.Component) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.absent) == 0 {
		return nil
	}
	answer := map[string]bool{}
	for _, c := range described {
		delete(r.absent, c)
		if c.Kind == forestall.KindGPU {
			answer[c.NodeName()] = true
		}
	}
	for c := range r.absent {
		if answer[c.NodeName()] && now.Sub(r.began) >= grace {
			gone = append(gone, c)
		}
	}
	slices.SortFunc(gone, forestall.Component.Compare)
	return gone
}

// forget drops components that are no more.
func (r *refill) forget(components []forestall.Component) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range components {
		delete(r.absent, c)
		delete(r.components, c)
	}
}

// unheard forgets the components that were refilled and have not been scraped
// since: their target went while the engine was down.
func (r *refill) unheard(all *lanes, also *unusual, log *slog.Logger) {
	r.mu.Lock()
	defer r.mu.Unlock()
	gone := 0
	for c, last := range r.components {
		heard := true
		all.with(c, func(w *features.Window) { heard = w.Last().After(last) })
		if !heard {
			all.forget(c)
			also.forget(c)
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
		note := fmt.Sprintf("the windows of %d components were refilled from the recording since %s", len(r.components), r.from.Format("2006-01-02 15:04:05Z"))
		if r.short != "" {
			note += " (telemetry.refill_samples): " + r.short
		}
		return note
	}
	return ""
}
