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

// Place is what is known of a node: with which others it may fail. What is empty
// is not told.
type Place struct {
	Zone   string // failure domain
	Model  string // of its GPUs
	Driver string // of its GPUs
	GPUs   int
}

// Cohorts are the failures of components of one kind in the time that they were
// in service: of the fleet and of what is narrower.
type Cohorts struct {
	kind   forestall.Kind
	places map[string]Place // by node
	of     map[cohort]*service
}

// cohort names components that are alike; what does not matter is empty, and the
// zero value is the fleet.
type cohort struct{ model, driver, zone, node string }

// service is what a cohort went through.
type service struct{ failures, days float64 }

// cohorts returns those of a node's components. What its place does not tell is
// the zero value.
func (p Place) cohorts(node string) (model, driver, zone, own cohort) {
	model, zone = cohort{model: p.Model}, cohort{zone: p.Zone}
	if p.Driver != "" {
		driver = cohort{model: p.Model, driver: p.Driver}
	}
	return model, driver, zone, cohort{node: node}
}

// NewCohorts counts the failures of a kind, gpu or node, that began within 90
// days before now. Every component that is there now counts as in service since
// then, or since the first failure or start of a node that is known (since), for
// no one knows when a board was changed.
func NewCohorts(kind forestall.Kind, places map[string]Place, incidents []forestall.Incident, since, now time.Time) *Cohorts {
	c := &Cohorts{kind: kind, places: places, of: map[cohort]*service{}}
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
		c.count(name, 0, days*float64(n))
	}
	for _, in := range incidents {
		if in.Component.Kind == kind && !in.Start.After(now) && !in.Start.Before(from) {
			c.count(in.Component.NodeName(), 1, 0)
		}
	}
	return c
}

// count adds to every cohort of a node's components, to the fleet once.
func (c *Cohorts) count(node string, failures, days float64) {
	add := func(k cohort) {
		s := c.of[k]
		if s == nil {
			s = &service{}
			c.of[k] = s
		}
		s.failures, s.days = s.failures+failures, s.days+days
	}
	fleet := cohort{}
	add(fleet)
	model, driver, zone, own := c.places[node].cohorts(node)
	for _, k := range []cohort{model, driver, zone, own} {
		if k != fleet {
			add(k)
		}
	}
}

// Rates are failures per component and day. NaN: not known, for no component was
// in service for a day in all, or the place does not tell the cohort.
type Rates struct {
	Fleet  float64
	Model  float64 // where the GPUs are of the same model, drawn towards the fleet's
	Driver float64 // and have the same driver, drawn towards the model's
	Zone   float64 // drawn towards the fleet's
	Node   float64 // drawn towards the zone's, or the fleet's where there is none
}

// Rates returns those of a node's components.
func (c *Cohorts) Rates(node string) Rates {
	none := math.NaN()
	r := Rates{none, none, none, none, none}
	fleet := c.of[cohort{}]
	if fleet == nil || fleet.days < 1 {
		return r
	}
	r.Fleet = fleet.failures / fleet.days
	towards := func(k cohort, wider float64) float64 {
		s := c.of[k]
		if s == nil || k == (cohort{}) {
			return math.NaN()
		}
		return s.towards(wider)
	}
	model, driver, zone, own := c.places[node].cohorts(node)
	r.Model = towards(model, r.Fleet)
	r.Driver = towards(driver, orWider(r.Model, r.Fleet))
	r.Zone = towards(zone, r.Fleet)
	r.Node = towards(own, orWider(r.Zone, r.Fleet))
	return r
}

// orWider returns a rate, or another where it is not known.
func orWider(rate, otherwise float64) float64 {
	if rate != rate {
		return otherwise
	}
	return rate
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
