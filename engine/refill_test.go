package engine

import (
	"context"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/gpu"
)

// TestRefilled restarts an engine that has recorded for a while, a GPU that
// vanished and one that lost series included: its vectors are those of the
// engine before, bit for bit, and stay so with the same scrapes.
func TestRefilled(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 123456789, time.UTC)
	c := testConfig(t.TempDir())
	c.GPU.Source, c.GPU.SimGPUs = "sim", 4
	options := Options{Shim: []string{os.Args[0], "shim"}, Now: func() time.Time { return now }}
	before, err := New(c, options)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 120 {
		switch i {
		case 10:
			err = before.sim.Inject(0, gpu.ModeTelemetryCollapse, 20*time.Minute)
		case 40:
			err = before.sim.Inject(1, gpu.ModeFallsOffBus, time.Minute)
		}
		if err != nil {
			t.Fatal(err)
		}
		before.telemetry.scrapeNode(t.Context())
		now = now.Add(5*time.Second + 7*time.Millisecond)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := before.runRecording(ended); err != nil {
		t.Fatal(err)
	}
	before.close()

	c.GPU.SimGPUs = 3
	after, err := New(c, options)
	if err != nil {
		t.Fatal(err)
	}
	defer after.close()
	after.telemetry.refill(t.Context(), after.telemetry.recorder.dir)
	now = now.Add(3 * time.Second)
	if note := after.telemetry.refilled.note(after.started, now); !strings.HasPrefix(note, "the windows of 5 components were refilled") {
		t.Errorf("note %q", note)
	}
	compareWindows(t, "refilled", before.telemetry.lanes, after.telemetry.lanes)
	for range 30 {
		for i := range 3 {
			c := forestall.GPU(before.name, i)
			scrape := []forestall.Sample{{Component: c, Metric: gpu.MetricTemperature, Time: now, Value: float64(40 + i)}}
			for _, e := range []*Engine{before, after} {
				if err := e.telemetry.lanes.push(scrape, time.Millisecond); err != nil {
					t.Fatal(err)
				}
			}
		}
		now = now.Add(5 * time.Second)
	}
	compareWindows(t, "going on", before.telemetry.lanes, after.telemetry.lanes)

	after.telemetry.refilled.unheard(after.telemetry.lanes, after.telemetry.unusual, after.log)
	var left []string
	for _, c := range after.telemetry.lanes.components() {
		left = append(left, c.String())
	}
	if want := []string{"gpu/n1/0", "gpu/n1/1", "gpu/n1/2"}; !slices.Equal(left, want) {
		t.Errorf("components %v, want those that were scraped: %v", left, want)
	}
}

// compareWindows compares the vectors of all components.
func compareWindows(t *testing.T, when string, a, b *lanes) {
	t.Helper()
	if x, y := a.components(), b.components(); !slices.Equal(x, y) {
		t.Fatalf("%s: components %v and %v", when, x, y)
	}
	for _, c := range a.components() {
		var x, y []float64
		a.with(c, func(w *features.Window) { x = w.Vector(nil) })
		b.with(c, func(w *features.Window) { y = w.Vector(nil) })
		for i := range x {
			if math.Float64bits(x[i]) != math.Float64bits(y[i]) && !(math.IsNaN(x[i]) && math.IsNaN(y[i])) {
				t.Errorf("%s: %s of %s is %v and %v", when, a.champion[c.Kind].schema.Names()[i], c, x[i], y[i])
			}
		}
	}
}
