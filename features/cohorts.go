package features

import (
	"math"
	"time"

	"github.com/stratoswarm/forestall"
)

// cohortMemory is over which time failures are counted: rates drift.
const cohortMemory = 90 * 24 * time.Hour

// cohortStrength is how many failures that came at the wider cohort's rate are
// added to a narrower one's.
const cohortStrength = 1

// Place is what is known of a node: with which others it may fail.
type Place struct {
	Zone string // failure domain; "": not told
	GPUs int
}

// Cohorts are the failures of components of one kind in the time that they were
// in service: of the fleet, of a zone, of a node.
type Cohorts struct {
	kind  forestall.Kind
	node  map[string]*service
	zone  map[string]*service
	fleet service
	zones map[string]string
}

// service is what components went through together.
type service struct{ failures, days float64 }

// NewCohorts counts the failures of a kind, gpu or node, that began within 90
// days before now. Every component that is there now counts as in service since
// then, or since the first failure or start of a node that is known (since), for
// no one knows when a board was changed.
func NewCohorts(kind forestall.Kind, places map[string]Place, incidents []forestall.Incident, since, now time.Time) *Cohorts {
	c := &Cohorts{kind: kind, node: map[string]*service{}, zone: map[string]*service{}, zones: map[string]string{}}
	from := now.Add(-cohortMemory)
	if since.After(from) {
		from = since
	}
	days := max(now.Sub(from).Hours()/24, 0)
	for name, p := range places {
		n := 1
		if kind == forestall.KindGPU {
			n = p.GPUs
		}
		c.zones[name] = p.Zone
		c.count(name, 0, days*float64(n))
	}
	for _, in := range incidents {
		if in.Component.Kind == kind && !in.Start.After(now) && !in.Start.Before(from) {
			c.count(in.Component.NodeName(), 1, 0)
		}
	}
	return c
}

func (c *Cohorts) count(node string, failures, days float64) {
	c.fleet.add(failures, days)
	of := func(all map[string]*service, name string) *service {
		if all[name] == nil {
			all[name] = &service{}
		}
		return all[name]
	}
	of(c.node, node).add(failures, days)
	if zone := c.zones[node]; zone != "" {
		of(c.zone, zone).add(failures, days)
	}
}

func (s *service) add(failures, days float64) { s.failures, s.days = s.failures+failures, s.days+days }

// Rates returns failures per component and day: of the fleet, of the zone of a
// node, drawn towards the fleet's, and of the node's components, drawn towards
// the zone's or else the fleet's. NaN where nothing is known: before a component
// was in service for a day in all, and of a node without a zone.
func (c *Cohorts) Rates(node string) (fleet, zone, own float64) {
	fleet, zone, own = math.NaN(), math.NaN(), math.NaN()
	if c.fleet.days < 1 {
		return fleet, zone, own
	}
	fleet = c.fleet.failures / c.fleet.days
	wider := fleet
	if s := c.zone[c.zones[node]]; s != nil {
		zone = s.towards(wider)
		wider = zone
	}
	if s := c.node[node]; s != nil {
		own = s.towards(wider)
	}
	return fleet, zone, own
}

// towards returns a rate drawn towards a wider cohort's.
func (s *service) towards(wider float64) float64 {
	if wider == 0 {
		return 0 // where no one failed, no one here did
	}
	return ShrunkRate(s.failures, s.days, wider, cohortStrength/wider)
}

// ShrunkRate returns failures per time in service, drawn towards the rate of a
// wider cohort as its own time is short: the posterior mean of a Poisson rate
// under a gamma prior of that mean, which counts as much as strength of time in
// service.
func ShrunkRate(failures, service, wider, strength float64) float64 {
	return (failures + strength*wider) / (service + strength)
}
