package features

import (
	"math"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
)

func TestCohorts(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	ago := func(days float64) time.Time { return now.Add(-time.Duration(days * 24 * float64(time.Hour))) }
	places := map[string]Place{
		"n1": {Zone: "z1", Model: "A100", Driver: "535", GPUs: 8},
		"n2": {Zone: "z1", Model: "H100", Driver: "535", GPUs: 8},
		"n3": {Zone: "z2", Model: "A100", Driver: "550", GPUs: 4},
		"n4": {},
	}
	incidents := []forestall.Incident{
		{Component: forestall.GPU("n1", 0), Start: ago(1)},
		{Component: forestall.GPU("n1", 3), Start: ago(40)},
		{Component: forestall.GPU("n3", 0), Start: ago(2)},
		{Component: forestall.GPU("n2", 0), Start: ago(100)}, // too long ago
		{Component: forestall.GPU("n2", 0), Start: ago(-1)},  // told ahead of its time
		{Component: forestall.GPU("n9", 0), Start: ago(3)},   // of a node that left
		{Component: forestall.Node("n2"), Start: ago(5)},
	}
	near := func(what string, got, want float64) {
		t.Helper()
		if !(math.Abs(got-want) < 1e-12 || math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	c := NewCohorts(forestall.KindGPU, places, incidents, ago(400), now)
	fleet := 4 / (20 * 90.0)
	z1 := (2 + 1) / (16*90 + 1/fleet)
	r := c.Rates("n1")
	near("fleet", r.Fleet, fleet)
	near("zone", r.Zone, z1)
	near("node", r.Node, (2+1)/(8*90+1/z1))
	a100 := (3 + 1) / (12*90 + 1/fleet)
	near("model", r.Model, a100)
	near("driver", r.Driver, (2+1)/(8*90+1/a100))
	near("driver of another model", c.Rates("n2").Driver, 1/(8*90+1/c.Rates("n2").Model))
	if quiet := c.Rates("n2").Node; !(quiet < z1 && r.Node > z1) {
		t.Errorf("where two failed the rate is %v, where none did %v, of both %v", r.Node, quiet, z1)
	}
	r = c.Rates("n4")
	near("no zone", r.Zone, math.NaN())
	near("no model", r.Model, math.NaN())
	near("no driver", r.Driver, math.NaN())
	near("no GPUs", r.Node, fleet)
	near("a node that is not known", c.Rates("n5").Node, math.NaN())

	// Of a young cluster only the time that it is known counts.
	near("young", NewCohorts(forestall.KindGPU, places, incidents[:1], ago(10), now).Rates("n1").Fleet, 1/(20*10.0))
	r = NewCohorts(forestall.KindGPU, places, nil, ago(0.01), now).Rates("n1")
	for _, v := range []float64{r.Fleet, r.Model, r.Driver, r.Zone, r.Node} {
		near("after minutes", v, math.NaN())
	}
	if r = NewCohorts(forestall.KindNode, places, nil, ago(30), now).Rates("n1"); r != (Rates{}) {
		t.Errorf("without a failure %+v", r)
	}
	near("nodes", NewCohorts(forestall.KindNode, places, incidents, ago(400), now).Rates("n1").Fleet, 1/(4*90.0))
	near("nothing", NewCohorts(forestall.KindNode, nil, nil, time.Time{}, now).Rates("n1").Fleet, math.NaN())
}

// Little time in service says little, much says all.
func TestShrunkRate(t *testing.T) {
	if r := ShrunkRate(0, 0, 0.01, 2000); r != 0.01 {
		t.Errorf("of nothing %v", r)
	}
	if r := ShrunkRate(10, 1e9, 0.01, 2000); math.Abs(r-1e-8) > 1e-7 {
		t.Errorf("of a long time %v", r)
	}
	if r := ShrunkRate(20, 2000, 0.002, 2000); r != 0.006 {
		t.Errorf("half and half %v", r)
	}
}
