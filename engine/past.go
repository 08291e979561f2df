package engine

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
)

// past is what has happened to components until now, as far as this engine
// knows. It goes into each scrape as samples, and so into the recording: a replay
// knows at each time what the engine knew then, and no more.
type past struct {
	read func() ledgerPast
	now  func() time.Time // the times of scrapes go back and forth, as with remote write

	mu       sync.Mutex
	asked    time.Time // by now
	own      map[forestall.Component]int
	node     map[string]int // by name, its GPUs' included
	zone     map[string]int
	zones    map[string]string
	repaired map[forestall.Component]time.Time
	xids     map[forestall.Component]xidCount
	cohorts  map[forestall.Kind]*features.Cohorts
}

// ledgerPast is what the ledger knows of failures and nodes.
type ledgerPast struct {
	incidents []forestall.Incident
	places    map[string]features.Place // by node
	since     time.Time                 // when the first of them was there
}

type xidCount struct{ all, hardware int }

// pastFresh is how old the ledger's incidents may be.
const pastFresh = time.Second

// applicationXIDs are what a faulty program causes on a sound GPU (NVIDIA, XID
// Errors): exception, page fault, stopped channel and the clearing up after it.
var applicationXIDs = []int{13, 31, 43, 45}

// event takes note of an XID.
func (p *past) event(e forestall.Event) {
	if p == nil || e.Kind != forestall.EventXID {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.xids == nil {
		p.xids = map[forestall.Component]xidCount{}
	}
	n := p.xids[e.Component]
	n.all++
	if !slices.Contains(applicationXIDs, e.Code) {
		n.hardware++
	}
	p.xids[e.Component] = n
}

// append appends the metrics of [features.History] and [features.Cohort] of c at
// a time.
func (p *past) append(samples []forestall.Sample, c forestall.Component, at time.Time) []forestall.Sample {
	if p == nil || c.Kind != forestall.KindGPU && c.Kind != forestall.KindNode {
		return samples
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refresh(at)
	add := func(metric string, v float64) {
		samples = append(samples, forestall.Sample{Component: c, Metric: metric, Time: at, Value: v})
	}
	if c.Kind == forestall.KindGPU {
		n := p.xids[c]
		add(features.MetricXIDs, float64(n.all))
		add(features.MetricHardwareXIDs, float64(n.hardware))
	}
	node := c.NodeName()
	add(features.MetricOwnFailures, float64(p.own[c]))
	add(features.MetricNodeFailures, float64(p.node[node]-p.own[c]))
	inZone := math.NaN()
	if zone := p.zones[node]; zone != "" {
		inZone = float64(p.zone[zone] - p.node[node])
	}
	add(features.MetricZoneFailures, inZone)
	since := math.NaN()
	if end, ok := p.repaired[c]; ok {
		since = max(at.Sub(end).Seconds(), 0)
	}
	add(features.MetricSinceRepair, since)
	rates := p.cohorts[c.Kind].Rates(node)
	add(features.MetricFleetRate, rates.Fleet)
	add(features.MetricModelRate, rates.Model)
	add(features.MetricDriverRate, rates.Driver)
	add(features.MetricZoneRate, rates.Zone)
	add(features.MetricNodeRate, rates.Node)
	return samples
}

// refresh counts the ledger's incidents until a scrape's time anew, when the last
// count is too old. The caller holds mu.
func (p *past) refresh(now time.Time) {
	clock := p.now()
	if age := clock.Sub(p.asked); !p.asked.IsZero() && age >= 0 && age < pastFresh {
		return
	}
	p.asked = clock
	known := p.read()
	p.zones = map[string]string{}
	for name, place := range known.places {
		p.zones[name] = place.Zone
	}
	p.cohorts = map[forestall.Kind]*features.Cohorts{}
	for _, kind := range []forestall.Kind{forestall.KindGPU, forestall.KindNode} {
		p.cohorts[kind] = features.NewCohorts(kind, known.places, known.incidents, known.since, now)
	}
	p.own, p.node, p.zone = map[forestall.Component]int{}, map[string]int{}, map[string]int{}
	p.repaired = map[forestall.Component]time.Time{}
	for _, in := range known.incidents {
		node := in.Component.NodeName()
		if node == "" || in.Start.After(now) {
			continue
		}
		p.own[in.Component]++
		p.node[node]++
		if zone := p.zones[node]; zone != "" {
			p.zone[zone]++
		}
		if end := in.End; !end.IsZero() && !end.After(now) && end.After(p.repaired[in.Component]) {
			p.repaired[in.Component] = end
		}
	}
}
