package engine

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/migrate"
	"github.com/stratoswarm/forestall/predict"
)

// fleetInterval is between two looks at the whole fleet.
const fleetInterval = time.Minute

// watchFleet remembers how the fleet stands until ctx ends.
func (e *Engine) watchFleet(ctx context.Context) error {
	tick := time.NewTicker(fleetInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			e.telemetry.judged.observeFleet(e.now(), view{e}.fleet().Health)
		}
	}
}

// fleet joins the risks of all nodes and GPUs, as this engine sees them.
func (v view) fleet() predict.FleetRisk {
	risks, failed := v.hardware()
	return predict.FleetOf(risks, failed, v.domains())
}

// hardware returns the risks of nodes and GPUs, and what has failed: also the GPUs
// of a node that crashed, of which nobody hears. A node that no model judges does
// not count.
func (v view) hardware() (risks []forestall.Risk, failed func(forestall.Component) bool) {
	var down []forestall.Incident
	gpus := map[string]int{}
	v.ledger.View(func(s *migrate.State) {
		for _, i := range s.Incidents {
			if i.Kind != forestall.NetworkPartition {
				down = append(down, i.Incident)
			}
		}
		for name, n := range s.Nodes {
			gpus[name] = n.GPUs
		}
	})
	risks, open := withCrashed(v.Risks(), down, gpus)
	risks = slices.DeleteFunc(risks, func(r forestall.Risk) bool { return !v.telemetry.lanes.judged(r.Component.Kind) })
	return risks, func(c forestall.Component) bool { return open[c] }
}

// withCrashed returns what has failed by the open incidents. A crashed node takes
// its GPUs along, unless something else than its engine reads them; those that no
// one has told of, as after a change of the leader, are added to the risks. gpus
// says how many each node has.
func withCrashed(risks []forestall.Risk, down []forestall.Incident, gpus map[string]int) ([]forestall.Risk, map[forestall.Component]bool) {
	open, known := map[forestall.Component]bool{}, map[forestall.Component]bool{}
	for _, r := range risks {
		known[r.Component] = r.Grade != forestall.Unknown
	}
	add := func(c forestall.Component, i forestall.Incident) {
		if _, listed := known[c]; !listed {
			risks = append(risks, forestall.UnknownRisk(c, i.Start, "its node has crashed"))
		}
		open[c] = true
	}
	for _, i := range down {
		open[i.Component] = true
		if i.Kind != forestall.NodeCrash {
			continue
		}
		node := i.Component.NodeName()
		add(i.Component, i)
		for g := range gpus[node] {
			if c := forestall.GPU(node, g); !known[c] {
				add(c, i)
			}
		}
		for _, r := range risks { // those with other names, such as MIG devices
			if r.Component.NodeName() == node && !known[r.Component] {
				open[r.Component] = true
			}
		}
	}
	return risks, open
}

// domains tells what components share causes with: their node's zone where it
// has one, else their node.
func (v view) domains() predict.Domain {
	zones := map[string]string{}
	v.ledger.View(func(s *migrate.State) {
		for name, n := range s.Nodes {
			zones[name] = n.Zone
		}
	})
	return func(c forestall.Component) string {
		node := c.NodeName()
		if zone := zones[node]; zone != "" {
			return "zone " + zone
		}
		return node
	}
}

// Fleet returns how all components stand together.
func (v view) Fleet() api.FleetStatus {
	risks, failed := v.hardware()
	f := predict.FleetOf(risks, failed, v.domains())
	trend, change, why := v.telemetry.judged.fleet.Trend(v.now())
	status := api.FleetStatus{
		Health: api.Number(f.Health), Horizon: f.Horizon.Seconds(), Components: f.Components, Known: f.Known, Failed: f.Failed,
		Suspect: f.Suspect, Failing: f.Failing, Expected: api.Number(f.Expected), Any: api.Number(f.Any),
		Trend: trendWord(trend), Change: api.Number(change), Why: why, Hours: []api.FleetHour{}, Nodes: v.nodeRisks(risks, failed),
	}
	if status.Any != nil {
		status.Bounds = &f.Bounds
	}
	for _, h := range v.telemetry.judged.fleet.History() {
		status.Hours = append(status.Hours, api.FleetHour{Start: h.Start(), Health: h.Health})
	}
	return status
}

func trendWord(t predict.Trend) string { return orElse(string(t), "unknown") }

// nodeRisks returns of each node the risk that it or one of its GPUs fails, by
// node.
func (v view) nodeRisks(risks []forestall.Risk, failed func(forestall.Component) bool) []forestall.Risk {
	return nodeRisks(risks, failed, v.cfg.Policy.SuspectAt)
}

// nodeRisks joins the risks of each node's parts. What has failed already is known
// and named in the note; the risk is that of the others.
func nodeRisks(risks []forestall.Risk, failed func(forestall.Component) bool, suspect float64) []forestall.Risk {
	parts, down := map[string][]forestall.Risk{}, map[string][]string{}
	for _, r := range risks {
		name := r.Component.NodeName()
		if failed(r.Component) {
			down[name] = append(down[name], r.Component.String())
			if _, there := parts[name]; !there {
				parts[name] = nil
			}
			continue
		}
		parts[name] = append(parts[name], r)
	}
	all := make([]forestall.Risk, 0, len(parts))
	for name, p := range parts {
		r := predict.JointRisk(forestall.Node(name), p, predict.ByNode, suspect)
		if gone := down[name]; len(gone) > 0 {
			note := "failed: " + strings.Join(gone, ", ")
			if len(p) > 0 && r.Note != "" {
				note += "; " + r.Note
			}
			r.Note = note
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b forestall.Risk) int { return a.Component.Compare(b.Component) })
	return all
}

func (v view) fleetShort() api.FleetShort {
	f := v.fleet()
	trend, _, _ := v.telemetry.judged.fleet.Trend(v.now())
	return api.FleetShort{Health: api.Number(f.Health), Expected: api.Number(f.Expected), Horizon: f.Horizon.Seconds(), Failed: f.Failed, Trend: trendWord(trend)}
}

// fleetStanding collects how the fleet stands.
type fleetStanding struct{ *Engine }

var (
	fleetHealthDesc   = prometheus.NewDesc("fault_tolerance_fleet_health_ratio", "Share of the cluster's nodes and GPUs, of those that are known or have failed, that is expected to work through the horizon, as this engine sees it; NaN while nothing is known.", nil, nil)
	fleetKnownDesc    = prometheus.NewDesc("fault_tolerance_fleet_known_ratio", "Share of the cluster's nodes and GPUs whose risk is known, as this engine sees it.", nil, nil)
	fleetExpectedDesc = prometheus.NewDesc("fault_tolerance_fleet_expected_failures", "Failures that the known risks add up to within the horizon, as this engine sees them.", nil, nil)
	fleetTrendDesc    = prometheus.NewDesc("fault_tolerance_fleet_health_change_ratio", "Health of the hour under way less that of the day before; NaN while too little is known.", nil, nil)
	nodeRiskDesc      = prometheus.NewDesc("fault_tolerance_node_risk_probability", "Probability that this node or one of its GPUs fails within the horizon, taken as independent (bound = \"independent\"), and its bounds low and high.", []string{"node", "bound"}, nil)
)

// Describe implements [prometheus.Collector].
func (fleetStanding) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{fleetHealthDesc, fleetKnownDesc, fleetExpectedDesc, fleetTrendDesc, nodeRiskDesc} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (s fleetStanding) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	v := view(s)
	risks, failed := v.hardware()
	f := predict.FleetOf(risks, failed, v.domains())
	gauge(fleetHealthDesc, f.Health)
	gauge(fleetExpectedDesc, f.Expected)
	gauge(fleetKnownDesc, float64(f.Known)/float64(f.Components))
	_, change, _ := s.telemetry.judged.fleet.Trend(s.now())
	gauge(fleetTrendDesc, change)
	for _, r := range v.nodeRisks(risks, failed) {
		if r.Component.Name != s.name {
			continue
		}
		gauge(nodeRiskDesc, r.Probability, s.name, "independent")
		if r.Bounds != nil {
			gauge(nodeRiskDesc, r.Bounds.Low, s.name, "low")
			gauge(nodeRiskDesc, r.Bounds.High, s.name, "high")
		}
	}
}
