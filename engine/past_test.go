package engine

import (
	"context"
	"math"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/gpu"
	"github.com/stratoswarm/forestall/recording"
)

func TestPast(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	ago := func(minutes int) time.Time { return now.Add(-time.Duration(minutes) * time.Minute) }
	incidents := []forestall.Incident{
		{Component: forestall.GPU("n1", 0), Start: ago(90), End: ago(60)},
		{Component: forestall.GPU("n1", 0), Start: ago(50), End: ago(30)},
		{Component: forestall.GPU("n1", 1), Start: ago(5)},
		{Component: forestall.Node("n1"), Start: ago(200), End: ago(199)},
		{Component: forestall.GPU("n2", 0), Start: ago(10)},
		{Component: forestall.Node("n4"), Start: ago(10)},
		{Component: forestall.Component{Kind: forestall.KindAgent, Name: "a"}, Start: ago(1)},
		{Component: forestall.Node("n2"), Start: ago(-1)}, // told ahead of its time
	}
	reads := 0
	places := map[string]features.Place{"n1": {Zone: "z1", Model: "A100", Driver: "535", GPUs: 2}, "n2": {Zone: "z1", GPUs: 1}, "n3": {}, "n4": {Zone: "z2"}}
	clock := now
	p := &past{now: func() time.Time { return clock }, read: func() ledgerPast {
		reads++
		return ledgerPast{incidents, places, ago(40 * 24 * 60)}
	}}
	for _, code := range []int{31, 79, 63} {
		p.event(forestall.Event{Component: forestall.GPU("n1", 0), Kind: forestall.EventXID, Code: code})
	}
	p.event(forestall.Event{Component: forestall.GPU("n1", 0), Kind: forestall.EventScrapeError})
	none := math.NaN()
	for _, tt := range []struct {
		c    forestall.Component
		want []float64
	}{
		{forestall.GPU("n1", 0), []float64{3, 2, 2, 2, 1, 1800}},
		{forestall.GPU("n1", 1), []float64{0, 0, 1, 3, 1, none}},
		{forestall.Node("n1"), []float64{1, 3, 1, 199 * 60}},
		{forestall.Node("n3"), []float64{0, 0, none, none}},
		{forestall.Node("n5"), []float64{0, 0, none, none}},
		{forestall.Component{Kind: forestall.KindAgent, Name: "a"}, nil},
	} {
		var got []float64
		metrics := append(features.SetMetrics(tt.c.Kind, features.History), features.SetMetrics(tt.c.Kind, features.Cohort)...)
		if len(tt.want) > 0 {
			r := features.NewCohorts(tt.c.Kind, places, incidents, ago(40*24*60), now).Rates(tt.c.NodeName())
			tt.want = append(tt.want, r.Fleet, r.Model, r.Driver, r.Zone, r.Node)
		}
		for i, s := range p.append(nil, tt.c, now) {
			if s.Metric != metrics[i].Name || s.Component != tt.c || !s.Time.Equal(now) {
				t.Errorf("%s: sample %v, want %s", tt.c, s, metrics[i].Name)
			}
			got = append(got, s.Value)
		}
		if diff := cmp.Diff(tt.want, got, cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.c, diff)
		}
	}
	if reads != 1 {
		t.Errorf("the ledger was read %d times within a second", reads)
	}
	// Targets of remote write come one after the other, each with times of its own.
	for _, seconds := range []int{-200, 3, -30} {
		p.append(nil, forestall.Node("n1"), now.Add(time.Duration(seconds)*time.Second))
	}
	if reads != 1 {
		t.Errorf("the ledger was read %d times for scrapes of other times", reads)
	}
	clock = now.Add(2 * time.Second)
	if p.append(nil, forestall.Node("n1"), clock); reads != 2 {
		t.Error("the ledger is not read again")
	}
}

// everySet returns the schemas that have all sets of metrics.
func everySet(t *testing.T) map[forestall.Kind]*features.Schema {
	t.Helper()
	schemas := map[forestall.Kind]*features.Schema{}
	for _, kind := range []forestall.Kind{forestall.KindGPU, forestall.KindNode} {
		metrics := features.Metrics(kind)
		for _, set := range features.Sets() {
			metrics = append(metrics, features.SetMetrics(kind, set)...)
		}
		s, err := features.NewSchema(kind, metrics, []time.Duration{10 * time.Second, time.Minute, 5 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		schemas[kind] = s
	}
	return schemas
}

// TestSetsAsOnline makes the windows of all sets anew from what an engine
// recorded, XIDs, failures and repairs included: they are its own, bit for bit.
func TestSetsAsOnline(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 123456789, time.UTC)
	c := testConfig(t.TempDir())
	c.GPU.Source, c.GPU.SimGPUs = "sim", 5
	e, err := New(c, Options{Shim: []string{os.Args[0], "shim"}, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	schemas := everySet(t)
	empty := func() *lanes {
		l := newLanes()
		for kind, s := range schemas {
			l.set(&lane{kind: kind, schema: s, store: features.NewStore(map[forestall.Kind]*features.Schema{kind: s})}, nil)
		}
		return l
	}
	e.telemetry.lanes = empty()
	var incidents []forestall.Incident
	began := now.Add(-30 * 24 * time.Hour)
	e.telemetry.past.read = func() ledgerPast {
		return ledgerPast{incidents, map[string]features.Place{"n1": {Zone: "z", GPUs: 5}, "n2": {Zone: "z", GPUs: 1}}, began}
	}
	for i := range 100 {
		switch i {
		case 10:
			err = e.sim.Inject(0, gpu.ModeThermalRunaway, 20*time.Minute)
		case 12:
			err = e.sim.Inject(1, gpu.ModeLinkDegradation, 450*time.Second)
		case 15:
			err = e.sim.Inject(2, gpu.ModeTelemetryCollapse, 20*time.Minute)
		case 30:
			incidents = append(incidents, forestall.Incident{Component: forestall.GPU("n2", 0), Start: now}, forestall.Incident{Component: forestall.GPU("n1", 3), Start: now})
		case 50:
			incidents[1].End = now
		}
		if err != nil {
			t.Fatal(err)
		}
		e.telemetry.scrapeNode(t.Context())
		now = now.Add(5*time.Second + 7*time.Millisecond)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.runRecording(ended); err != nil {
		t.Fatal(err)
	}
	samples, err := recording.Read(e.cfg.recordings(), recording.Samples, forestall.KindUnknown)
	if err != nil {
		t.Fatal(err)
	}
	again := empty()
	for scrape, err := range samples.Scrapes(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if err := again.push(scrape, notMeasured); err != nil {
			t.Fatal(err)
		}
	}
	compareWindows(t, "replayed", e.telemetry.lanes, again)

	newest := func(c forestall.Component, feature string) (v float64) {
		at, ok := schemas[c.Kind].Index(feature)
		if !ok {
			t.Fatalf("no feature %s", feature)
		}
		again.with(c, func(w *features.Window) { v = w.Vector(nil)[at] })
		return v
	}
	if v := newest(forestall.GPU("n1", 0), features.MetricMemoryOverSiblings+"_last"); !(v > 5) {
		t.Errorf("the memory of a GPU in thermal runaway is %v K above its siblings'", v)
	}
	if v := newest(forestall.GPU("n1", 1), features.MetricHardwareXIDs+"_last"); !(v >= 2) {
		t.Errorf("%v hardware XIDs of a GPU whose link degrades", v)
	}
	if v := newest(forestall.GPU("n1", 2), features.MetricReportedOverSiblings+"_last"); !(v < -0.1) {
		t.Errorf("a GPU that loses series reports %v more than its siblings", v)
	}
	if v := newest(forestall.GPU("n1", 3), features.MetricSinceRepair+"_last"); !(v > 200) {
		t.Errorf("repaired for %v s", v)
	}
	if v := newest(forestall.GPU("n1", 4), features.MetricZoneFailures+"_last"); v != 1 {
		t.Errorf("%v failures on other nodes of the zone", v)
	}
	if v := newest(forestall.GPU("n1", 4), features.MetricFleetRate+"_last"); !(v > 2/180.1 && v <= 2/180.) {
		t.Errorf("%v failures of a GPU in a day", v)
	}
	if v := newest(forestall.Node("n1"), features.MetricNodeFailures+"_5m_delta"); v != 0 {
		t.Errorf("%v failures within 5 minutes", v)
	}
}
