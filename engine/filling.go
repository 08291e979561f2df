package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/recording"
)

// maxKept bounds the samples that are kept while windows are filled.
const maxKept = 4 << 20

// filling keeps what is scraped while new windows are filled from the recording.
type filling struct {
	// gate is held for reading while a scrape goes to the windows and the recorder,
	// so that whoever holds it for writing finds each scrape in both or in none.
	gate sync.RWMutex

	mu      sync.Mutex
	kind    forestall.Kind // KindUnknown: nothing is filled
	scrapes []keptScrape
	samples int
}

type keptScrape struct {
	component forestall.Component
	at        time.Time
	samples   []forestall.Sample // none: the component reported nothing
	latency   time.Duration
}

func (f *filling) keep(samples []forestall.Sample, latency time.Duration) {
	f.add(keptScrape{samples[0].Component, samples[0].Time, samples, latency})
}

func (f *filling) keepMissing(c forestall.Component, at time.Time, latency time.Duration) {
	f.add(keptScrape{c, at, nil, latency})
}

func (f *filling) add(k keptScrape) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if k.component.Kind != f.kind || f.samples > maxKept {
		return // what is beyond is a gap in the new windows
	}
	k.samples = slices.Clone(k.samples)
	f.scrapes = append(f.scrapes, k)
	f.samples += len(k.samples)
}

// begin begins to keep scrapes of a kind.
func (f *filling) begin(kind forestall.Kind) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kind, f.scrapes, f.samples = kind, nil, 0
}

// end returns what was kept.
func (f *filling) end() []keptScrape {
	f.mu.Lock()
	defer f.mu.Unlock()
	kept := f.scrapes
	f.kind, f.scrapes, f.samples = forestall.KindUnknown, nil, 0
	return kept
}

// put has lanes judge a kind from now on. Windows that no lane at work has are
// filled from the recording first, as after a restart: a model that enters the
// shadow with a schema of its own need not wait for the length of its windows.
// What is scraped meanwhile follows. It is called by one goroutine.
func (t *telemetry) put(ctx context.Context, champion, shadow *lane) {
	kind := champion.kind
	running := t.lanes.stores(kind)
	var fresh []*lane
	for _, l := range []*lane{champion, shadow} {
		if l != nil && !slices.Contains(running, l.store) && !slices.ContainsFunc(fresh, func(o *lane) bool { return o.store == l.store }) {
			fresh = append(fresh, l)
		}
	}
	if len(fresh) == 0 || t.recorder == nil || t.refillLimit == 0 {
		t.lanes.set(champion, shadow)
		return
	}
	t.filling.gate.Lock()
	t.filling.begin(kind)
	t.filling.gate.Unlock()
	for _, l := range fresh {
		t.fill(ctx, l)
	}
	t.filling.gate.Lock()
	defer t.filling.gate.Unlock()
	for _, k := range t.filling.end() {
		for _, l := range fresh {
			if err := k.push(l.store); err != nil && !errors.Is(err, features.ErrOutOfOrder) { // that one was recorded before
				t.log.Warn("reading rejected", "component", k.component, "error", err)
			}
		}
	}
	t.lanes.set(champion, shadow)
}

func (k keptScrape) push(to *features.Store) error {
	if len(k.samples) == 0 {
		return to.PushMissing(k.component, k.at, k.latency)
	}
	return to.Push(k.samples, k.latency)
}

// fill plays what was recorded into the windows of a lane that is not at work.
func (t *telemetry) fill(ctx context.Context, l *lane) {
	start := t.now()
	if err := t.recorder.Flush(); err != nil {
		t.log.Warn("the newest scrapes are not on disk; they will be missing in new windows", "error", err)
	}
	p, err := reachOf(start.Add(time.Millisecond), l).play(ctx, t.recorder.dir, t.refillLimit, func(scrape []forestall.Sample) error {
		if t.takenOut(scrape) {
			return nil
		}
		return l.store.Push(scrape, notMeasured)
	})
	for c, last := range p.components {
		if known := t.lanes.with(c, func(*features.Window) {}); !known || start.Sub(last) > reachOf(start, l).longest[l.kind] {
			l.store.Forget(c) // it is scraped no longer
		}
	}
	switch {
	case ctx.Err() != nil:
	case err != nil:
		t.log.Warn("the windows of a model could not be filled from the recording; they fill with time", "kind", l.kind, "model", laneName(l), "error", err)
	default:
		t.log.Info("windows of a model filled from the recording", "kind", l.kind, "model", laneName(l), "components", len(p.components), "samples", p.samples, "thin", p.short, "took", t.now().Sub(start).Round(time.Millisecond))
	}
}

// rejoin has what is unusual go on where the last engine left off: by what it has
// remembered and the scrapes that were recorded since; or, where nothing is
// remembered, by the recording, beside all else.
func (t *telemetry) rejoin(ctx context.Context, all *sync.WaitGroup) {
	if t.unusual == nil {
		return
	}
	var newest time.Time
	for _, c := range t.unusual.watch.Components() {
		if s, ok := t.unusual.watch.Standing(c); ok && s.Last.After(newest) {
			newest = s.Last
		}
	}
	if newest.IsZero() {
		all.Go(func() { t.learnPast(ctx, t.recorder.dir) })
		return
	}
	err := replay(ctx, t.recorder.dir, newest, t.now(), t.refillLimit, func(scrape []forestall.Sample) {
		t.unusual.watch.Replay(scrape[0].Component, scrape[0].Time, scrape)
	})
	if err != nil && ctx.Err() == nil && !errors.Is(err, recording.ErrEmpty) {
		t.log.Warn("what was recorded since the record of predictions was saved is not known to the watch for what is unusual", "error", err)
	}
}
