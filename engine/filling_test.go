package engine

import (
	"context"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/model"
)

// TestShadowIsFilled: a model with windows of its own that enters the shadow has
// them filled from the recording, with what is scraped meanwhile too: they are
// those of a lane that was there from the start, bit for bit. What is scraped no
// longer is left out.
func TestShadowIsFilled(t *testing.T) {
	c := watchedConfig(t.TempDir())
	w := newWatched(t, c, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	defer w.close()
	m, err := model.Load(hotModelDir(t, "2", 0.01, 0.5, time.Minute, 30*time.Second, 30*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	lane := func() *lane {
		l, err := newLane(forestall.KindGPU, m, w.scoring, w.extra(forestall.KindGPU))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	fromStart, shadow := lane(), lane()
	scrape := func(i int) {
		at := w.now.Add(time.Duration(i) * 5 * time.Second)
		samples, err := w.sim.Read(t.Context(), at, "n1", 0, nil)
		if err != nil {
			t.Error(err)
		}
		w.telemetry.push(samples, time.Duration(i)*time.Microsecond)
		if err := fromStart.store.Push(samples, time.Duration(i)*time.Microsecond); err != nil {
			t.Error(err)
		}
	}
	gone := forestall.GPU("n1", 7)
	w.telemetry.recorder.scrape(gone, w.now.Add(time.Second), []forestall.Sample{{Component: gone, Metric: "gpu_temperature_celsius", Time: w.now.Add(time.Second), Value: 1}}, 0)
	const before, meanwhile = 500, 300
	for i := range before {
		scrape(i + 1)
	}
	champion, _ := w.telemetry.lanes.of(forestall.KindGPU)
	start := w.now
	w.now = start.Add((before + meanwhile) * 5 * time.Second)
	var pushing sync.WaitGroup
	w.now = start // scrapes are stamped from it
	ahead := start.Add((before + meanwhile + 1) * 5 * time.Second)
	w.telemetry.now = func() time.Time { return ahead }
	pushing.Go(func() {
		for i := range meanwhile {
			scrape(before + i + 1)
		}
	})
	w.telemetry.put(t.Context(), champion, shadow)
	pushing.Wait()
	if _, now := w.telemetry.lanes.of(forestall.KindGPU); now != shadow {
		t.Fatal("the model is not in the shadow")
	}
	if all := shadow.store.Components(); !slices.Equal(all, []forestall.Component{forestall.GPU("n1", 0)}) {
		t.Fatalf("its components are %v", all)
	}
	var x, y []float64
	fromStart.store.With(forestall.GPU("n1", 0), func(w *features.Window) { x = w.Vector(nil) })
	shadow.store.With(forestall.GPU("n1", 0), func(w *features.Window) { y = w.Vector(nil) })
	for i := range x {
		if math.Float64bits(x[i]) != math.Float64bits(y[i]) && !(math.IsNaN(x[i]) && math.IsNaN(y[i])) {
			t.Errorf("%s is %v, and %v where it was filled", shadow.schema.Names()[i], x[i], y[i])
		}
	}
	if log := w.log.String(); !strings.Contains(log, "windows of a model filled from the recording") || strings.Contains(log, "rejected") {
		t.Errorf("log %s", log)
	}
}

// TestRefillLimit: a limit that does not reach back far enough is named, with what
// is not known until when; 0 refills nothing.
func TestRefillLimit(t *testing.T) {
	c := watchedConfig(t.TempDir())
	c.Model.GPU = hotModelDir(t, "2", 0.01, 0.5, time.Minute, time.Minute, 6*time.Hour)
	c.Telemetry.RefillSamples = 1
	w := newWatched(t, c, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 3 { // hours, each a file
		w.minutes(t, 61, nil)
		if err := w.runRecording(ended); err != nil {
			t.Fatal(err)
		}
	}
	w.stop(t, false)
	next := newWatched(t, c, w.now.Add(time.Second))
	defer next.close()
	next.telemetry.refill(t.Context(), next.telemetry.recorder.dir)
	const want = "(telemetry.refill_samples): features of gpu over more than 1h1m1s are of less time until 2026-01-01 08:0"
	if note := next.telemetry.refilled.note(next.started, next.now); !strings.Contains(note, want) {
		t.Errorf("note %q, want %q in it", note, want)
	}
	if !strings.Contains(next.log.String(), "refill_samples does not reach back") {
		t.Errorf("log %s", next.log.String())
	}
}
