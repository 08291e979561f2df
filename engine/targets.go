package engine

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
)

// targets are the exposition pages that this engine scrapes: those of the
// configuration, which stay, and those that discovery finds, which come and go.
// What a target that is gone described is kept for a while, because it mostly
// comes back: a restarted service, an edited list.
type targets struct {
	groups []*targetGroup
	forget time.Duration
	log    *slog.Logger
	gone   func(p *page) // told of a page whose time is over

	changed chan struct{} // discovery has found something
	mu      sync.Mutex
}

// targetGroup is one [[features.target]].
type targetGroup struct {
	key      string // "features.target[0]"
	cfg      TargetConfig
	mapping  *features.Mapping
	client   *http.Client
	timeout  time.Duration
	forget   time.Duration
	node     string // this engine's
	buffers  *sync.Pool
	newest   features.Newest
	lastXIDs *features.LastXIDs

	pages map[string]*page // by URL; under targets.mu
	list  pageState        // of discovery, with targets in place of components; under targets.mu
}

// page is one exposition page.
type page struct {
	id      string // the group's key and the URL
	url     string
	scraper *features.Scraper
	away    time.Time // since when discovery does not know it; zero: it is scraped
	next    time.Time // when it is scraped; zero: it has no turn yet
	busy    bool      // it is being scraped
	state   pageState // under targets.mu
}

// openTargets makes the pages of the configuration; discovery has not been
// asked yet.
func openTargets(c FeaturesConfig, mappings *features.Mappings, node string, newest features.Newest, xids *features.LastXIDs, log *slog.Logger) (*targets, error) {
	t := &targets{forget: c.ForgetAfter.Duration, log: log, changed: make(chan struct{}, 1)}
	buffers := &sync.Pool{}
	for i, one := range c.Targets {
		g := &targetGroup{
			key: fmt.Sprintf("features.target[%d]", i), cfg: one, timeout: c.timeout(), forget: t.forget, node: node, pages: map[string]*page{}, buffers: buffers, newest: newest, lastXIDs: xids,
		}
		var err error
		if g.mapping, err = mappings.Get(one.Preset); err != nil {
			return nil, fmt.Errorf("%s.preset: %w", g.key, err)
		}
		if g.client, err = features.NewHTTPClient(one.http()); err != nil {
			return nil, fmt.Errorf("%s: %w", g.key, err)
		}
		if !one.discovered() {
			if err := g.open(one.page(node)); err != nil {
				return nil, fmt.Errorf("%s: %w", g.key, err)
			}
		}
		t.groups = append(t.groups, g)
	}
	return t, nil
}

// open adds a page to the group.
func (g *targetGroup) open(target features.Target, node string) error {
	s, err := features.NewScraper(features.ScrapeConfig{
		URL: target.URL, Mapping: g.mapping, Node: node, Labels: target.Labels, Timeout: g.timeout, MaxBytes: int64(g.cfg.MaxPage.N), Forget: g.forget, Buffers: g.buffers, Newest: g.newest, LastXIDs: g.lastXIDs,
	}, g.client)
	if err != nil {
		return err
	}
	g.pages[target.URL] = &page{id: g.key + " " + target.URL, url: target.URL, scraper: s}
	return nil
}

// list returns the pages to scrape now.
func (t *targets) list() []*page {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*page
	for _, g := range t.groups {
		for _, p := range g.pages {
			if p.away.IsZero() {
				all = append(all, p)
			}
		}
	}
	return all
}

// due returns the pages whose turn is now, each to be given back to done, and
// how long the next turn is away. Pages that have none yet get turns that are
// spread over the interval: together they would hinder each other, and all
// would seem slow.
func (t *targets) due(now time.Time, interval time.Duration) (pages []*page, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var fresh []*page
	for _, g := range t.groups {
		for _, p := range g.pages {
			if p.away.IsZero() && p.next.IsZero() {
				fresh = append(fresh, p)
			}
		}
	}
	slices.SortFunc(fresh, func(p, q *page) int { return strings.Compare(p.id, q.id) })
	for i, p := range fresh {
		p.next = now.Add(interval * time.Duration(i) / time.Duration(len(fresh)))
	}
	wait = interval
	for _, g := range t.groups {
		for _, p := range g.pages {
			if !p.away.IsZero() {
				continue
			}
			if !p.next.After(now) {
				if !p.busy {
					p.busy = true
					pages = append(pages, p)
				}
				p.next = p.next.Add(interval * (1 + now.Sub(p.next)/interval)) // missed turns are left out
			}
			wait = min(wait, p.next.Sub(now))
		}
	}
	const together = 10 * time.Millisecond // many pages need not wake the engine one by one
	return pages, max(wait, together)
}

func (t *targets) done(p *page) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p.busy = false
}

// scraped reports whether the page has not gone away.
func (t *targets) scraped(p *page) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return p.away.IsZero()
}

// Run keeps asking discovery until ctx ends.
func (t *targets) Run(ctx context.Context, now func() time.Time) {
	var wg sync.WaitGroup
	for _, g := range t.groups {
		if g.cfg.discovered() {
			wg.Go(func() { t.follow(ctx, g, now) })
		}
	}
	wg.Wait()
}

func (t *targets) follow(ctx context.Context, g *targetGroup, now func() time.Time) {
	ticker := time.NewTicker(g.cfg.refresh())
	defer ticker.Stop()
	for {
		t.refresh(ctx, g, now())
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// refresh asks discovery once. While it cannot be read, or not all of it, the targets stay.
func (t *targets) refresh(ctx context.Context, g *targetGroup, now time.Time) {
	found, err := features.Discovery{
		Files: g.cfg.FileSD, URL: g.cfg.HTTPSD, Client: g.client, Scheme: g.cfg.Scheme, Path: g.cfg.Path, Labels: g.cfg.Labels,
	}.Find(ctx)
	if ctx.Err() != nil {
		return
	}
	if t.asked(g, now, len(found), err) {
		t.log.Warn("cannot find all targets; those known stay", "section", g.key, "error", err)
	}
	t.update(g, found, err == nil, now)
	t.sweep(g, now)
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// asked takes note of what discovery came to, and reports whether it has begun to
// fail.
func (t *targets) asked(g *targetGroup, now time.Time, found int, err error) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := g.list.err
	g.list.take(now, found, err)
	return was == "" && err != nil
}

// update makes the found targets those that are scraped; where they are not all,
// those that were known stay as they are.
func (t *targets) update(g *targetGroup, found []features.Target, all bool, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	present := map[string]bool{}
	for _, target := range found {
		present[target.URL] = true
		p := g.pages[target.URL]
		if p != nil && (maps.Equal(p.scraper.Labels(), target.Labels) || !all && p.away.IsZero()) {
			if !p.away.IsZero() {
				p.away, p.next = time.Time{}, time.Time{} // its readings go on where they ended
			}
			continue
		}
		if err := g.open(target, g.cfg.Node); err != nil {
			t.log.Warn("target left out", "section", g.key, "error", err)
			continue
		}
		if p == nil {
			t.log.Info("target found", "section", g.key, "url", target.URL)
			continue
		}
		// What it described under its old labels is another source's, which is gone.
		t.log.Info("target has other labels; what it described is kept for a while", "section", g.key, "url", target.URL, "forget_after", t.forget)
		g.pages[target.URL].id += " since " + now.Format(time.RFC3339Nano)
		g.pages[target.URL+" until "+now.Format(time.RFC3339Nano)] = p
		if p.away.IsZero() {
			p.away = now
		}
	}
	for url, p := range g.pages {
		if all && !present[url] && p.away.IsZero() {
			p.away = now
			t.log.Info("target gone; what it described is kept for a while", "section", g.key, "url", url, "forget_after", t.forget)
		}
	}
}

// sweep drops what has been away for too long.
func (t *targets) sweep(g *targetGroup, now time.Time) {
	t.mu.Lock()
	var over []*page
	for url, p := range g.pages {
		if !p.away.IsZero() && now.Sub(p.away) >= t.forget {
			over = append(over, p)
			delete(g.pages, url)
		}
	}
	t.mu.Unlock()
	for _, p := range over {
		t.gone(p)
	}
}

// owners says which source each component's telemetry comes from: two that
// push the same component would each make the other's metrics look missing.
type owners struct {
	mu sync.Mutex
	of map[forestall.Component]owner
}

type owner struct {
	source string
	alive  func() bool
}

// claim makes source the component's, unless another has it that is alive.
func (o *owners) claim(c forestall.Component, source string, alive func() bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if have, ok := o.of[c]; ok && have.source != source && have.alive() {
		return fmt.Errorf("%s is described by %s already, and a component has one source", c, have.source)
	}
	o.of[c] = owner{source, alive}
	return nil
}

// gpusOf reports whether a source describes GPUs of a node.
func (o *owners) gpusOf(node string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for c := range o.of {
		if c.Kind == forestall.KindGPU && c.NodeName() == node {
			return true
		}
	}
	return false
}

// refusals are the components of a source that another has: one line for all.
type refusals struct {
	first error
	more  int
}

func (r *refusals) add(err error) {
	switch {
	case r.first == nil:
		r.first = err
	case err != nil:
		r.more++
	}
}

func (r refusals) err() error {
	if r.more == 0 {
		return r.first
	}
	return fmt.Errorf("%w; likewise %d more", r.first, r.more)
}

// release returns the components that source had, which are no one's now.
func (o *owners) release(source string) []forestall.Component {
	o.mu.Lock()
	defer o.mu.Unlock()
	var list []forestall.Component
	for c, have := range o.of {
		if have.source == source {
			list = append(list, c)
			delete(o.of, c)
		}
	}
	slices.SortFunc(list, forestall.Component.Compare)
	return list
}
