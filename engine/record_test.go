package engine

import (
	"context"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/gpu"
	"github.com/stratoswarm/forestall/predict"
	"github.com/stratoswarm/forestall/predict/builtin"
	"github.com/stratoswarm/forestall/recording"
)

// TestRecordedOnline runs the telemetry of an engine in virtual time, a GPU that
// vanishes included, and makes its vectors again from what it recorded: they
// are those that were scored, bit for bit.
func TestRecordedOnline(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 123456789, time.UTC)
	c := testConfig(t.TempDir())
	c.GPU.Source, c.GPU.SimGPUs, c.Telemetry.Vectors = "sim", 3, true
	e, err := New(c, Options{Shim: []string{os.Args[0], "shim"}, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	for i := range 60 {
		switch i {
		case 10:
			err = e.sim.Inject(0, gpu.ModeThermalRunaway, 4*time.Minute)
		case 20:
			err = e.sim.Inject(1, gpu.ModeFallsOffBus, time.Minute)
		}
		if err != nil {
			t.Fatal(err)
		}
		e.telemetry.scrapeNode(t.Context())
		if i%3 == 0 {
			e.telemetry.scoreAll()
		}
		now = now.Add(5*time.Second + 7*time.Millisecond)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.runRecording(ended); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []forestall.Kind{forestall.KindGPU, forestall.KindNode} {
		if n := compareRecorded(t, e.cfg.recordings(), kind); n < 10 {
			t.Errorf("%s: %d vectors were scored", kind, n)
		}
	}
}

// TestRecordedRisks: what an engine recorded gives, judged offline, the risks and
// the alarms that the engine had: a GPU that falls silent beside its siblings, one
// that overheats, and a source that is slow.
func TestRecordedRisks(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 123000000, time.UTC)
	c := testConfig(t.TempDir())
	c.GPU.Source, c.GPU.SimGPUs, c.Features.Host = "sim", 4, false
	e, err := New(c, Options{Shim: []string{os.Args[0], "shim"}, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	type verdict struct {
		At        time.Time
		Component string
		P         uint64
		Note      string
	}
	of := func(r forestall.Risk) verdict {
		return verdict{r.Time, r.Component.String(), math.Float64bits(r.Probability), r.Note}
	}
	var online, offline, alarms, alarmsAgain []verdict
	for i := range 120 {
		now = now.Add(5 * time.Second)
		switch i {
		case 30:
			err = e.sim.Inject(0, gpu.ModeThermalRunaway, 4*time.Minute)
		case 50:
			err = e.sim.Inject(1, gpu.ModeTelemetryCollapse, 3*time.Minute)
		case 80:
			err = e.sim.Inject(2, gpu.ModeFallsOffBus, time.Second)
		}
		if err != nil {
			t.Fatal(err)
		}
		e.telemetry.scrapeNode(t.Context())
		e.telemetry.scoreAll()
		for _, r := range e.telemetry.Risks() {
			if !r.Time.Equal(now) { // it could not be read, and is stale
				continue
			}
			if online = append(online, of(r)); r.Probability >= 0.2 {
				alarms = append(alarms, of(r))
			}
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.runRecording(ended); err != nil {
		t.Fatal(err)
	}
	samples, err := recording.Read(e.cfg.recordings(), recording.Samples, forestall.KindGPU)
	if err != nil {
		t.Fatal(err)
	}
	again := builtinLane(t, forestall.KindGPU)
	err = again.scorer.Replay(samples.Scrapes(t.Context()), again.store, 0, func(_ time.Time, r forestall.Risk) error {
		if offline = append(offline, of(r)); r.Probability >= 0.2 {
			alarmsAgain = append(alarmsAgain, of(r))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(online, offline); d != "" {
		t.Errorf("risks (-online +offline):\n%s", d)
	}
	if d := cmp.Diff(alarms, alarmsAgain); d != "" || len(alarms) < 10 {
		t.Errorf("%d alarms (-online +offline):\n%s", len(alarms), d)
	}
	if !slices.ContainsFunc(online, func(v verdict) bool { return strings.HasPrefix(v.Note, predict.Collapse) }) {
		t.Error("no telemetry collapsed")
	}
}

// compareRecorded returns how many vectors of a recording its samples make.
func compareRecorded(t *testing.T, dir string, kind forestall.Kind) (n int) {
	t.Helper()
	m, err := builtin.Builtin(kind)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := predict.SchemaFor(m)
	if err != nil {
		t.Fatal(err)
	}
	type moment struct {
		c forestall.Component
		t time.Time
	}
	scored := map[moment][]forestall.Sample{}
	vectors, err := recording.Read(dir, recording.Vectors, kind)
	if err != nil {
		t.Fatal(err)
	}
	for vector, err := range vectors.Scrapes(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		scored[moment{vector[0].Component, vector[0].Time}] = vector
	}
	samples, err := recording.Read(dir, recording.Samples, kind)
	if err != nil {
		t.Fatal(err)
	}
	store := features.NewStore(map[forestall.Kind]*features.Schema{kind: schema})
	err = features.Replay(samples.Scrapes(t.Context()), store, 0, func(c forestall.Component, at time.Time, w *features.Window) error {
		was, ok := scored[moment{c, at}]
		if !ok {
			return nil
		}
		n++
		vector := w.Vector(nil)
		for _, s := range was {
			at := slices.Index(schema.Names(), s.Metric)
			if at < 0 {
				t.Fatalf("%s is no feature", s.Metric)
			}
			if math.Float64bits(vector[at]) != math.Float64bits(s.Value) && !(math.IsNaN(vector[at]) && math.IsNaN(s.Value)) {
				t.Errorf("%s at %s: %s is %v, was %v", c, s.Time, s.Metric, vector[at], s.Value)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n != len(scored) {
		t.Errorf("%s: %d of %d vectors were found again", kind, n, len(scored))
	}
	return n
}
