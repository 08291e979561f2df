package predict_test

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/predict"
)

func TestFleetOf(t *testing.T) {
	g := func(i int) forestall.Component { return forestall.GPU("n1", i) }
	good := func(i int) forestall.Risk { return risk(g(i), 0, 0.01, forestall.Healthy) }
	none := func(forestall.Component) bool { return false }
	for _, c := range []struct {
		name   string
		risks  []forestall.Risk
		failed func(forestall.Component) bool
		health float64
		want   predict.FleetRisk // counts
	}{
		{"nothing", nil, none, math.NaN(), predict.FleetRisk{}},
		{"all unknown", []forestall.Risk{forestall.UnknownRisk(g(0), at(0), "thin")}, none, math.NaN(), predict.FleetRisk{Components: 1}},
		{"good", []forestall.Risk{good(0), good(1)}, none, 0.99, predict.FleetRisk{Components: 2, Known: 2}},
		{"one unknown", []forestall.Risk{good(0), forestall.UnknownRisk(g(1), at(0), "thin")}, none, 0.99, predict.FleetRisk{Components: 2, Known: 1}},
		{"one failed", []forestall.Risk{good(0), good(1)}, func(c forestall.Component) bool { return c == g(1) }, 0.495, predict.FleetRisk{Components: 2, Known: 1, Failed: 1}},
		{"one failing", []forestall.Risk{good(0), risk(g(1), 0, 0.8, forestall.Failing), risk(g(2), 0, 0.3, forestall.Suspect)}, none, 1 - 1.11/3, predict.FleetRisk{Components: 3, Known: 3, Suspect: 1, Failing: 1}},
	} {
		f := predict.FleetOf(c.risks, c.failed, predict.ByNode)
		if math.Abs(f.Health-c.health) > 1e-12 || math.IsNaN(f.Health) != math.IsNaN(c.health) {
			t.Errorf("%s: health %v, want %v", c.name, f.Health, c.health)
		}
		got := predict.FleetRisk{Components: f.Components, Known: f.Known, Failed: f.Failed, Suspect: f.Suspect, Failing: f.Failing}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

func TestFleetTrend(t *testing.T) {
	for _, c := range []struct {
		name   string
		hours  int
		before func(h int) float64
		now    float64
		want   predict.Trend
	}{
		{"too little", 5, func(int) float64 { return 0.99 }, 0.5, predict.TrendUnknown},
		{"as ever", 24, func(h int) float64 { return 0.99 + 0.001*float64(h%3) }, 0.9905, predict.TrendSteady},
		{"worse", 24, func(h int) float64 { return 0.99 + 0.001*float64(h%3) }, 0.98, predict.TrendWorse},
		{"better", 24, func(h int) float64 { return 0.95 + 0.001*float64(h%3) }, 0.99, predict.TrendBetter},
		{"a hair", 24, func(int) float64 { return 0.99 }, 0.99005, predict.TrendSteady},
	} {
		f := predict.NewFleet()
		now := start
		for h := range c.hours {
			for range 6 {
				f.Observe(now, c.before(h))
				now = now.Add(10 * time.Minute)
			}
		}
		f.Observe(now, math.NaN())
		f.Observe(now, c.now)
		if got, _, why := f.Trend(now); got != c.want {
			t.Errorf("%s: %q (%s), want %q", c.name, got, why, c.want)
		}
		b, err := (&predict.Memory{Fleet: f}).Encode()
		if err != nil {
			t.Fatal(err)
		}
		again := predict.NewFleet()
		if err := (&predict.Memory{Fleet: again}).Read(bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(f.History(), again.History()); d != "" {
			t.Errorf("%s: after a restart: %s", c.name, d)
		}
	}
	f := predict.NewFleet()
	for h := range 400 {
		f.Observe(start.Add(time.Duration(h)*time.Hour), 1)
	}
	if n := len(f.History()); n != 168 {
		t.Errorf("%d hours are remembered", n)
	}
}
