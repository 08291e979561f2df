package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratoswarm/forestall/api"
)

// pageState is what came of reading a page.
type pageState struct {
	read       time.Time // the last good reading; zero: none yet
	tried      time.Time
	components int // that the last good reading described
	err        string
}

// read takes note of what a reading of a page came to. One of which only a part was
// taken has both components and an error.
func (t *targets) read(p *page, at time.Time, components int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p.state.take(at, components, err)
}

func (s *pageState) take(at time.Time, components int, err error) {
	s.tried, s.err = at, ""
	if err == nil || components > 0 {
		s.read, s.components = at, components
	}
	if err != nil {
		s.err = err.Error()
	}
}

// states returns every page that is scraped, and every list that they are found in, by
// section and URL.
func (t *targets) states() (all []api.Target) {
	t.mu.Lock()
	defer t.mu.Unlock()
	state := func(g *targetGroup, url string, s pageState) api.Target {
		return api.Target{
			Section: g.key, URL: url, Preset: g.cfg.Preset, Up: s.err == "" && !s.read.IsZero(),
			Read: s.read, Tried: s.tried, Components: s.components, Error: s.err,
		}
	}
	for _, g := range t.groups {
		if g.cfg.discovered() {
			list := state(g, orElse(g.cfg.HTTPSD, strings.Join(g.cfg.FileSD, ", ")), g.list)
			list.List, list.Targets, list.Components = true, list.Components, 0
			all = append(all, list)
		}
		for _, p := range g.pages {
			if p.away.IsZero() {
				all = append(all, state(g, p.url, p.state))
			}
		}
	}
	slices.SortFunc(all, func(a, b api.Target) int {
		return cmp.Or(cmp.Compare(len(a.Section), len(b.Section)), cmp.Compare(a.Section, b.Section), cmp.Compare(a.URL, b.URL))
	})
	return all
}

// Targets returns the pages that this engine scrapes and the lists that name them.
func (v view) Targets() []api.Target { return v.telemetry.targets.states() }

// targetNotes say how many pages cannot be read or not wholly, and of one why: what
// such a page never described is in no list of components. So they say of lists.
func targetNotes(all []api.Target) (notes []string) {
	var pages, down, silent, part int
	var first, inPart api.Target
	for _, t := range all {
		if !t.List {
			pages++
		}
		switch {
		case t.Error == "":
			continue
		case t.List:
			notes = append(notes, fmt.Sprintf("not all targets of %s can be found; those that were known stay: %s", t.Section, t.Error))
			continue
		case t.InPart():
			if part++; part == 1 {
				inPart = t
			}
			continue
		}
		if down++; down == 1 {
			first = t
		}
		if t.Read.IsZero() {
			silent++
		}
	}
	switch {
	case down > 0:
		notes = append(notes, fmt.Sprintf("%d of %d targets cannot be read, %d of them have not been since the engine started, so that their components are in no list; see `forestall targets`. One is %s: %s", down, pages, silent, first.URL, first.Error))
	case part > 0:
		notes = append(notes, fmt.Sprintf("of %d of %d targets only a part is taken; see `forestall targets`. One is %s: %s", part, pages, inPart.URL, inPart.Error))
	}
	return notes
}

// sourceUp collects whether each target can be read.
type sourceUp struct{ *telemetry }

var sourceUpDesc = prometheus.NewDesc("fault_tolerance_source_up", "1 if the last reading of a target, or of a list of targets, was good, 0 if it was not or there was none yet.", []string{"source"}, nil)

// Describe implements [prometheus.Collector].
func (sourceUp) Describe(ch chan<- *prometheus.Desc) { ch <- sourceUpDesc }

// Collect implements [prometheus.Collector].
func (s sourceUp) Collect(ch chan<- prometheus.Metric) {
	up := map[string]float64{} // a URL may be in two sections
	for _, t := range s.targets.states() {
		v := 0.0
		if t.Up {
			v = 1
		}
		if old, twice := up[t.URL]; !twice || v < old {
			up[t.URL] = v
		}
	}
	for url, v := range up {
		ch <- prometheus.MustNewConstMetric(sourceUpDesc, prometheus.GaugeValue, v, url)
	}
}
