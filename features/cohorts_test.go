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
	places := map[string]Place{"n1": {"z1", 8}, "n2": {"z1", 8}, "n3": {"z2", 4}, "n4": {"", 0}}
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
	f, z, own := c.Rates("n1")
	near("fleet", f, fleet)
	near("zone", z, z1)
	near("node", own, (2+1)/(8*90+1/z1))
	_, _, quiet := c.Rates("n2")
	if !(quiet < z1 && own > z1) {
		t.Errorf("where two failed the rate is %v, where none did %v, of both %v", own, quiet, z1)
	}
	_, z, own = c.Rates("n4")
	near("no zone", z, math.NaN())
	near("no GPUs", own, fleet)
	_, _, own = c.Rates("n5")
	near("a node that is not known", own, math.NaN())

	// Of a young cluster only the time that it is known counts.
	f, _, _ = NewCohorts(forestall.KindGPU, places, incidents[:1], ago(10), now).Rates("n1")
	near("young", f, 1/(20*10.0))
	f, z, own = NewCohorts(forestall.KindGPU, places, nil, ago(0.01), now).Rates("n1")
	if f == f || z == z || own == own {
		t.Errorf("after minutes %v, %v, %v are known", f, z, own)
	}
	f, z, own = NewCohorts(forestall.KindNode, places, nil, ago(30), now).Rates("n1")
	if f != 0 || z != 0 || own != 0 {
		t.Errorf("without a failure %v, %v, %v", f, z, own)
	}
	f, _, _ = NewCohorts(forestall.KindNode, places, incidents, ago(400), now).Rates("n1")
	near("nodes", f, 1/(4*90.0))
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
