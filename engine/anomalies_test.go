package engine

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/gpu"
	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/predict"
)

// watchedEngine is an engine in virtual time whose only GPU is scraped once a
// minute by [watchedEngine.minutes].
type watchedEngine struct {
	*Engine
	sim *gpu.Sim
	now time.Time
	log bytes.Buffer
}

func newWatched(t *testing.T, c Config, now time.Time) *watchedEngine {
	t.Helper()
	w := &watchedEngine{now: now}
	clock := func() time.Time { return w.now }
	e, err := New(c, Options{Shim: []string{os.Args[0], "shim"}, Now: clock, Logger: slog.New(slog.NewTextHandler(&w.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	w.Engine = e
	if w.sim, err = gpu.NewSim(gpu.SimConfig{Node: "n1", GPUs: 1, Seed: 3, Details: true, Now: clock}); err != nil {
		t.Fatal(err)
	}
	return w
}

func watchedConfig(dir string) Config {
	c := testConfig(dir)
	c.Features.Host, c.GPU.Source = false, "none"
	c.FaultTolerance.PredictionInterval = Duration{time.Minute}
	c.Features.ScrapeInterval = Duration{time.Minute}
	c.Anomaly.Alarms = 2
	return c
}

// minutes scrapes for so long and scores at the end; change, which may be nil,
// makes the readings others.
func (w *watchedEngine) minutes(t *testing.T, n int, change map[string]float64) forestall.Risk {
	t.Helper()
	w.read(t, n, change)
	r, ok := (view{w.Engine}).Risk(forestall.GPU("n1", 0))
	if !ok || r.Anomaly == nil {
		t.Fatalf("risk %+v, %v", r, ok)
	}
	return r
}

func (w *watchedEngine) read(t *testing.T, n int, change map[string]float64) {
	t.Helper()
	for i := range n {
		w.now = w.now.Add(time.Minute)
		samples, err := w.sim.Read(t.Context(), w.now, "n1", 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		for s := range samples {
			if v, ok := change[samples[s].Metric]; ok {
				samples[s].Value = v
			}
		}
		w.telemetry.push(samples, time.Millisecond)
		if i%100 == 0 {
			if err := w.telemetry.recorder.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.telemetry.scoreAll()
}

// stop ends the engine in good order, or as a crash does.
func (w *watchedEngine) stop(t *testing.T, crash bool) {
	t.Helper()
	if err := w.telemetry.recorder.Flush(); err != nil {
		t.Fatal(err)
	}
	if !crash {
		w.telemetry.judged.save()
	}
	w.close()
}

var halved = map[string]float64{"gpu_power_limit_watts": 350, "gpu_memory_clock_hertz": 1e9}

// TestUnusual: a GPU is unknown while the engine learns, then usual; when what no
// rule of the built-in model knows goes wrong it is unusual, with reasons, and
// counts as suspect, while its probability stays the model's.
func TestUnusual(t *testing.T) {
	w := newWatched(t, watchedConfig(t.TempDir()), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	defer w.close()
	r := w.minutes(t, 600, nil)
	if a := r.Anomaly; a.State != forestall.UsualUnknown || a.Note != "learning what is usual: 0.4 days of 1.3 days seen" || r.Grade != forestall.Healthy {
		t.Errorf("%s, %+v", r.Grade, a)
	}
	r = w.minutes(t, 1500, nil)
	if a := r.Anomaly; a.State != forestall.Usual || !(a.Threshold > 0) || a.Note != "" || r.Grade != forestall.Healthy || r.Note != "" {
		t.Fatalf("%s %q, %+v", r.Grade, r.Note, a)
	}
	was := r.Probability
	began := w.telemetry.unusual.watch.Begins()[forestall.KindGPU] // two a day are borne
	r = w.minutes(t, 3, halved)
	a := r.Anomaly
	if a.State != forestall.Unusual || !a.Since.Equal(w.now.Add(-2*time.Minute)) || len(a.Reasons) < 2 ||
		!slices.ContainsFunc(a.Reasons, func(s string) bool { return strings.HasPrefix(s, "power limit 350 W, usually ") }) {
		t.Fatalf("%+v", a)
	}
	if r.Grade != forestall.Suspect || r.Probability != was || r.Reasons[0].Feature != "anomaly" ||
		!strings.Contains(r.Reasons[0].Text, "power limit 350 W") || r.Note != "its model finds it healthy; it counts as suspect because it is unusual" {
		t.Errorf("%s %v (was %v), %q, reasons %+v", r.Grade, r.Probability, was, r.Note, r.Reasons)
	}
	if notes := (view{w.Engine}).notes(); !slices.Contains(notes, "unusual for themselves: gpu/n1/0; `forestall risk COMPONENT` says why") {
		t.Errorf("notes %q", notes)
	}
	families, err := w.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{
		"fault_tolerance_anomalies_total{gpu}": float64(began + 1), "fault_tolerance_anomaly_components{gpu,unusual}": 1, "fault_tolerance_anomaly_components{gpu,usual}": 0,
		"fault_tolerance_anomaly_score{gpu/n1/0,gpu}": a.Score, "fault_tolerance_anomaly_threshold{gpu/n1/0,gpu}": a.Threshold,
	} {
		if got, ok := gathered(families, name); !ok || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if log := w.log.String(); strings.Count(log, "component is unusual for itself") != 1 {
		t.Errorf("log %s", log)
	}

	r = w.minutes(t, 5, nil)
	if r.Anomaly.State != forestall.Usual || r.Grade != forestall.Healthy || !strings.Contains(w.log.String(), "component is unusual for itself no more") {
		t.Errorf("when it is over: %s, %+v", r.Grade, r.Anomaly)
	}
	w.now = w.now.Add(time.Hour)
	w.telemetry.scoreAll()
	if r, _ := (view{w.Engine}).Risk(forestall.GPU("n1", 0)); r.Anomaly.State != forestall.UsualUnknown || !strings.Contains(r.Anomaly.Note, "is stale") {
		t.Errorf("when nothing is scraped: %+v", r.Anomaly)
	}
}

// gathered returns the value of a series, written NAME{VALUE,VALUE}.
func gathered(families []*dto.MetricFamily, series string) (float64, bool) {
	name, labels, _ := strings.Cut(strings.TrimSuffix(series, "}"), "{")
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if f.GetName() == name && strings.Join(values, ",") == labels {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue(), true
			}
		}
	}
	return 0, false
}

// TestUnusualCountsAs: it is shown only, or moves work, where that is asked for;
// nothing is watched where nothing is borne.
func TestUnusualCountsAs(t *testing.T) {
	for _, counts := range anomalyCounts {
		c := watchedConfig(t.TempDir())
		c.Anomaly.CountsAs = counts
		w := newWatched(t, c, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		was := w.minutes(t, 2100, nil)
		r := w.minutes(t, 3, halved)
		if r.Anomaly.State != forestall.Unusual {
			t.Errorf("%s: %+v", counts, r.Anomaly)
		}
		switch _, failing, _ := w.configured[forestall.KindGPU].scorer.Thresholds(forestall.KindGPU); {
		case counts == "nothing" && (r.Grade != forestall.Healthy || r.Note != ""):
			t.Errorf("%s: %s, %q", counts, r.Grade, r.Note)
		case counts == "failing" && (r.Grade != forestall.Failing || r.Probability != failing):
			t.Errorf("%s: %s, %v, was %v", counts, r.Grade, r.Probability, was.Probability)
		}
		w.close()
	}
	c := watchedConfig(t.TempDir())
	c.Anomaly.Alarms = 0
	w := newWatched(t, c, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	defer w.close()
	if w.telemetry.unusual != nil {
		t.Error("it watches though no alarm is borne")
	}
}

// TestUnusualRestart: what is usual survives a restart; after a crash what was
// recorded since is taken in; and where nothing is remembered it is learnt from
// the recording.
func TestUnusualRestart(t *testing.T) {
	c := watchedConfig(t.TempDir())
	w := newWatched(t, c, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	w.minutes(t, 2100, nil)
	w.telemetry.judged.save()
	before := w.minutes(t, 4, nil)
	w.stop(t, true)

	restart := func() *watchedEngine {
		t.Helper()
		next := newWatched(t, c, w.now)
		next.sim = w.sim
		w = next
		w.now = w.now.Add(time.Second)
		ctx := t.Context()
		w.telemetry.refill(ctx, w.telemetry.recorder.dir)
		return w
	}
	w = restart()
	var all sync.WaitGroup
	w.telemetry.rejoin(t.Context(), &all)
	all.Wait()
	w.telemetry.scoreAll()
	after, _ := (view{w.Engine}).Risk(forestall.GPU("n1", 0))
	if x, y := after.Anomaly, before.Anomaly; x.State != forestall.Usual || x.State != y.State || x.Score != y.Score || x.Threshold != y.Threshold {
		t.Errorf("before %+v, after %+v", before.Anomaly, after.Anomaly)
	}
	w.stop(t, false)

	if err := os.Remove(filepath.Join(c.Engine.DataDir, "predictions")); err != nil {
		t.Fatal(err)
	}
	w = restart()
	w.minutes(t, 1, nil)
	w.telemetry.learnPast(t.Context(), w.telemetry.recorder.dir)
	r := w.minutes(t, 3, halved)
	if r.Anomaly.State != forestall.Unusual {
		t.Errorf("learnt from the recording: %+v", r.Anomaly)
	}
	w.close()
}

// TestUnlikeTraining: a GPU whose model finds it healthy counts as what the
// configuration says while it is unlike what the model was trained on; the watch of
// its own past need not run.
func TestUnlikeTraining(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "model")
	files := hotModel(t, "calm", 0.01, 5*time.Minute)
	card, err := model.ReadCard(strings.NewReader(files.Card))
	if err != nil {
		t.Fatal(err)
	}
	card.Unlike = &model.Unlike{Worst: 1, Clip: 100, Threshold: 3, Alarms: 1, Rows: 1000, Days: 90, Levels: []model.Level{{Feature: card.Features[0], Mean: 40, Spread: 10}}}
	if err := model.Save(dir, []byte(files.Trees), card); err != nil {
		t.Fatal(err)
	}
	strange := map[string]float64{"gpu_temperature_celsius": -60}
	for counts, want := range map[string]forestall.Grade{"nothing": forestall.Healthy, "suspect": forestall.Suspect, "failing": forestall.Failing} {
		c := watchedConfig(t.TempDir())
		c.Anomaly.Alarms, c.Anomaly.CountsAs, c.Model.GPU = 0, counts, dir
		w := newWatched(t, c, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		risk := func(n int, change map[string]float64) forestall.Risk {
			w.read(t, n, change)
			r, _ := (view{w.Engine}).Risk(forestall.GPU("n1", 0))
			return r
		}
		r := risk(30, nil)
		if r.Anomaly != nil || r.Unlike == nil || r.Unlike.State != forestall.Usual || r.Grade != forestall.Healthy {
			t.Fatalf("%s: %s, %+v, %+v", counts, r.Grade, r.Anomaly, r.Unlike)
		}
		was := r.Probability
		r = risk(2, strange)
		if r.Unlike.State != forestall.Unusual || len(r.Unlike.Reasons) != 1 || !strings.Contains(r.Unlike.Reasons[0], "temperature") || r.Grade != want {
			t.Errorf("%s: %s, %+v", counts, r.Grade, r.Unlike)
		}
		if raised := want > forestall.Healthy; raised != (r.Reasons != nil && r.Reasons[0].Feature == predict.ReasonUnlike) || (r.Probability > was) != (want == forestall.Failing) {
			t.Errorf("%s: %v (was %v), %+v", counts, r.Probability, was, r.Reasons)
		}
		if notes := (view{w.Engine}).notes(); !slices.Contains(notes, "unlike what their model was trained on: gpu/n1/0; `forestall risk COMPONENT` says why") {
			t.Errorf("notes %q", notes)
		}
		if gpu := gpuModel((view{w.Engine}).Models()).Unlike; gpu == nil || *gpu != (api.ModelUnlike{Threshold: 3, Alarms: 1, Days: 90, Features: 1}) {
			t.Errorf("the model says %+v", gpu)
		}
		families, err := w.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]float64{"fault_tolerance_unlike_score{gpu/n1/0,gpu}": r.Unlike.Score, "fault_tolerance_unlike_threshold{gpu}": 3, "fault_tolerance_unlike_total{gpu}": 1} {
			if got, ok := gathered(families, name); !ok || got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		if r = risk(10, nil); r.Unlike.State != forestall.Usual || r.Grade != forestall.Healthy {
			t.Errorf("%s: when it is over: %s, %+v", counts, r.Grade, r.Unlike)
		}
		if log := w.log.String(); strings.Count(log, "component is unlike what its model was trained on") != 2 {
			t.Errorf("log %s", log)
		}
		w.now = w.now.Add(time.Hour)
		w.telemetry.scoreAll()
		if r, _ := (view{w.Engine}).Risk(forestall.GPU("n1", 0)); r.Unlike.State != forestall.UsualUnknown || !strings.Contains(r.Unlike.Note, "stale") {
			t.Errorf("%s: when nothing is scraped: %+v", counts, r.Unlike)
		}
		w.close()
	}
}
