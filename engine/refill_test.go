package engine

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/gpu"
	"github.com/stratoswarm/forestall/predict"
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

// TestRefilledDeadGPU: a GPU that was dead, and is not even listed when the engine
// starts again, stays known as one whose telemetry has collapsed, for as long as its
// siblings are read.
func TestRefilledDeadGPU(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := testConfig(t.TempDir())
	c.GPU.Source, c.GPU.SimGPUs, c.Features.Host = "sim", 4, false
	options := Options{Shim: []string{os.Args[0], "shim"}, Now: func() time.Time { return now }}
	before, err := New(c, options)
	if err != nil {
		t.Fatal(err)
	}
	if err := before.sim.Inject(3, gpu.ModeFallsOffBus, time.Second); err != nil {
		t.Fatal(err)
	}
	scrape := func(e *Engine, n int) {
		for range n {
			now = now.Add(5 * time.Second)
			e.telemetry.scrapeNode(t.Context())
		}
	}
	dead := forestall.GPU("n1", 3)
	check := func(when string, e *Engine) {
		e.telemetry.scoreAll()
		risks := e.telemetry.Risks()
		at := slices.IndexFunc(risks, func(r forestall.Risk) bool { return r.Component == dead })
		if at < 0 || risks[at].Grade != forestall.Unknown || !strings.HasPrefix(risks[at].Note, predict.Collapse) {
			t.Errorf("%s: %+v", when, risks)
		}
	}
	scrape(before, 40)
	check("before", before)
	if err := before.telemetry.recorder.Flush(); err != nil {
		t.Fatal(err)
	}
	before.close() // as a crash does

	c.GPU.SimGPUs = 3
	for _, down := range []time.Duration{10 * time.Second, 3 * time.Minute} {
		now = now.Add(down)
		after, err := New(c, options)
		if err != nil {
			t.Fatal(err)
		}
		after.telemetry.refill(t.Context(), after.telemetry.recorder.dir)
		scrape(after, 30)
		after.telemetry.refilled.unheard(after.telemetry.lanes, after.telemetry.unusual, after.log)
		scrape(after, 30)
		check("after a restart that took "+down.String(), after)
		if err := after.telemetry.recorder.Flush(); err != nil {
			t.Fatal(err)
		}
		after.close()
	}

	c.Features.Forget = []string{dead.String()}
	for _, gpus := range []int{3, 4} { // then it is put in again
		c.GPU.SimGPUs = gpus
		now = now.Add(10 * time.Second)
		after, err := New(c, options)
		if err != nil {
			t.Fatal(err)
		}
		var learning sync.WaitGroup
		after.telemetry.takeUp(t.Context(), &learning)
		learning.Wait()
		scrape(after, 30)
		if all := after.telemetry.lanes.components(); len(all) != gpus || slices.Contains(all, dead) != (gpus == 4) {
			t.Errorf("taken out for good, of %d GPUs: %v are known", gpus, all)
		}
		if err := after.telemetry.recorder.Flush(); err != nil {
			t.Fatal(err)
		}
		after.close()
	}
}

// TestTakenOutIsNotLearntFrom: of a GPU that was taken out for good nothing that was
// recorded reaches the one in its place: no windows of a new model, and not what is usual.
func TestTakenOutIsNotLearntFrom(t *testing.T) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	c := testConfig(t.TempDir())
	c.GPU.Source, c.GPU.SimGPUs, c.Features.Host = "sim", 2, false
	options := Options{Shim: []string{os.Args[0], "shim"}, Now: func() time.Time { return now }}
	scrape := func(e *Engine, n int) {
		t.Helper()
		for range n {
			now = now.Add(5 * time.Second)
			e.telemetry.scrapeNode(t.Context())
		}
		if err := e.telemetry.recorder.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	before, err := New(c, options)
	if err != nil {
		t.Fatal(err)
	}
	scrape(before, 100)
	before.close()

	replaced, other := forestall.GPU("n1", 0), forestall.GPU("n1", 1)
	c.Features.Forget = []string{replaced.String()}
	now = now.Add(10 * time.Second)
	after, err := New(c, options)
	if err != nil {
		t.Fatal(err)
	}
	defer after.close()
	var learning sync.WaitGroup
	after.telemetry.takeUp(t.Context(), &learning)
	learning.Wait()
	scrape(after, 30)
	champion, _ := after.telemetry.lanes.of(forestall.KindGPU)
	fresh := *champion
	fresh.store = features.NewStore(map[forestall.Kind]*features.Schema{forestall.KindGPU: champion.schema})
	after.telemetry.fill(t.Context(), &fresh)
	after.telemetry.learnPast(t.Context(), after.telemetry.recorder.dir)
	for c, seen := range map[forestall.Component]time.Duration{replaced: 150 * time.Second, other: 640 * time.Second} {
		var running, filled []float64
		champion.store.With(c, func(w *features.Window) { running = w.Vector(nil) })
		fresh.store.With(c, func(w *features.Window) { filled = w.Vector(nil) })
		for i, name := range champion.schema.Names() {
			if !strings.Contains(name, "latency") && i < len(filled) && math.Float64bits(running[i]) != math.Float64bits(filled[i]) && !(math.IsNaN(running[i]) && math.IsNaN(filled[i])) {
				t.Errorf("%s: %s is %v in new windows, %v in those at work", c, name, filled[i], running[i])
			}
		}
		s, _ := after.telemetry.unusual.watch.Standing(c)
		if len(filled) == 0 || (s.Seen-seen).Abs() > time.Minute { // rows are of whole minutes
			t.Errorf("%s: %d features, %s seen, want about %s", c, len(filled), s.Seen, seen)
		}
	}
}

// TestRefilledGPUOfAPage: so it is with a GPU of a page, until its target is gone.
func TestRefilledGPUOfAPage(t *testing.T) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	dead, elsewhere := forestall.GPU("n1", 1), forestall.GPU("n2", 0)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, `DCGM_FI_DEV_GPU_TEMP{gpu="0",Hostname="n1"} 50`)
	}))
	defer srv.Close()
	tel, p := pageTelemetry(t, srv.URL, &now)
	tel.refilled.began, tel.refilled.absent = now, map[forestall.Component]bool{forestall.GPU("n1", 0): true, dead: true, elsewhere: true}
	known := func(c forestall.Component) bool { return slices.Contains(tel.lanes.components(), c) }
	tel.scrapePage(t.Context(), p)
	if known(dead) {
		t.Error("silent before every source has had its turn")
	}
	now = now.Add(2 * time.Minute)
	tel.scrapePage(t.Context(), p)
	if !known(dead) || known(elsewhere) {
		t.Errorf("components %v", tel.lanes.components())
	}
	tel.forget(p.id, p.url)
	now = now.Add(time.Minute)
	if all := tel.lanes.components(); len(all) != 0 || tel.refilled.absent[dead] {
		t.Errorf("of a target that is gone there are %v", all)
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
