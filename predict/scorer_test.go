package predict_test

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/predict"
)

var (
	card0 = forestall.GPU("n1", 0)
	tens  = []model.Duration{model.Duration(10 * time.Second)}
)

// hot is a model that knows one thing: a GPU above 80 °C is at 0.8, another at
// 0.1.
func hot(t testing.TB, change func(*model.Card)) *model.Model {
	t.Helper()
	names := []string{"gpu_temperature_celsius_last"}
	split := model.Split{Threshold: 80, Missing: model.MissingNaN, DefaultLeft: true, Left: ^0, Right: ^1}
	logit := func(p float64) float64 { return math.Log(p / (1 - p)) }
	trees := []model.Tree{{
		Splits: []model.Split{split},
		Leaves: []model.Leaf{{Value: logit(0.1), Count: 99}, {Value: logit(0.8), Count: 1}},
	}}
	var b bytes.Buffer
	if err := model.WriteEnsemble(&b, names, "binary sigmoid:1", trees); err != nil {
		t.Fatal(err)
	}
	card := model.Card{
		Format: model.CardFormat, Name: "hot", Version: "hot-1", Kind: "gpu",
		Features: names, Windows: tens, Horizon: model.Duration(time.Minute),
	}
	if change != nil {
		change(&card)
	}
	m, err := model.New(b.Bytes(), card)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func gpuSchema(t testing.TB, windows ...time.Duration) *features.Schema {
	t.Helper()
	s, err := features.NewSchema(forestall.KindGPU, features.Metrics(forestall.KindGPU), windows)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newScorer(t testing.TB, m *model.Model, cfg predict.Config) (*predict.Scorer, *features.Schema) {
	t.Helper()
	schema, err := predict.SchemaFor(m)
	if err != nil {
		t.Fatal(err)
	}
	s, err := predict.New(map[forestall.Kind]*model.Model{forestall.KindGPU: m}, map[forestall.Kind]*features.Schema{forestall.KindGPU: schema}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s, schema
}

// push fills a window with seconds scrapes of one temperature from start on.
func push(t testing.TB, w *features.Window, from, seconds int, celsius float64) time.Time {
	t.Helper()
	now := start
	for s := from; s < from+seconds; s++ {
		now = start.Add(time.Duration(s) * time.Second)
		values := make([]float64, len(w.Schema().Metrics()))
		for i := range values {
			values[i] = math.NaN()
		}
		values[0] = celsius // gpu_temperature_celsius comes first
		if err := w.Push(now, values, time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	return now
}

func TestScore(t *testing.T) {
	s, schema := newScorer(t, hot(t, nil), predict.DefaultConfig())
	w := features.NewWindow(schema)
	now := push(t, w, 0, 11, 91)
	r := s.Score(card0, now, w)
	if r.Component != card0 || !r.Time.Equal(now) || r.Horizon != time.Minute || r.Model != "hot-1" || r.Note != "" {
		t.Errorf("risk %+v", r)
	}
	if math.Abs(r.Probability-0.8) > 1e-12 || r.Grade != forestall.Failing {
		t.Errorf("probability %v, grade %s", r.Probability, r.Grade)
	}
	want := []forestall.Reason{{
		Feature: "gpu_temperature_celsius_last", Value: 91,
		Contribution: 0.99 * (math.Log(4) + math.Log(9)), Text: "temperature 91 °C (+3.5)",
	}}
	near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })
	if d := cmp.Diff(want, r.Reasons, near); d != "" {
		t.Errorf("reasons (-want +got):\n%s", d)
	}
}

// TestScoreOdds: odds that are corrected give another probability and grade, under
// a version that says so, and with 1 the same bits as before.
func TestScoreOdds(t *testing.T) {
	s, schema := newScorer(t, hot(t, nil), predict.DefaultConfig())
	w := features.NewWindow(schema)
	now := push(t, w, 0, 11, 91)
	before := s.Score(card0, now, w)
	s.SetOdds(forestall.KindGPU, 0.25)
	r := s.Score(card0, now, w)
	if math.Abs(r.Probability-0.5) > 1e-12 || r.Grade != forestall.Failing || r.Model != "hot-1 odds x 0.25" { // 4:1 is 1:1; an alarm stands by hysteresis
		t.Errorf("%+v", r)
	}
	if factor, version := s.Odds(forestall.KindGPU); factor != 0.25 || version != r.Model {
		t.Errorf("x %g, %q", factor, version)
	}
	s.SetOdds(forestall.KindGPU, 1)
	if d := cmp.Diff(before, s.Score(card0, now, w)); d != "" {
		t.Error(d)
	}
}

// TestUnknown: what cannot be judged has no probability, and says why.
func TestUnknown(t *testing.T) {
	s, schema := newScorer(t, hot(t, nil), predict.DefaultConfig())
	nan := math.NaN()
	for _, c := range []struct {
		name, note string
		component  forestall.Component
		window     *features.Window
		seconds    int
		celsius    float64
		later      time.Duration
	}{
		{"empty", "nothing seen", card0, features.NewWindow(schema), 0, 0, 0},
		{"thin", "5 s of the 10 s", card0, features.NewWindow(schema), 6, 91, 0},
		{"stale", "31s old", card0, features.NewWindow(schema), 11, 91, 31 * time.Second},
		{"silent", "none of its metrics", card0, features.NewWindow(schema), 11, nan, 0},
		{"no model", "kind node", forestall.Node("n1"), features.NewWindow(schema), 11, 91, 0},
		{"other schema", "has schema", card0, features.NewWindow(gpuSchema(t, time.Minute)), 61, 91, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := push(t, c.window, 0, c.seconds, c.celsius)
			r := s.Score(c.component, now.Add(c.later), c.window)
			if r.Grade != forestall.Unknown || !math.IsNaN(r.Probability) || r.Component != c.component {
				t.Errorf("risk %+v", r)
			}
			if !strings.Contains(r.Note, c.note) {
				t.Errorf("note %q does not say %q", r.Note, c.note)
			}
		})
	}
}

// TestSlowSource: what a slow source is allowed is not stale, what is older is.
func TestSlowSource(t *testing.T) {
	s, schema := newScorer(t, hot(t, nil), predict.DefaultConfig())
	w := features.NewWindow(schema)
	now := push(t, w, 0, 11, 91)
	w.Expect(time.Minute)
	if r := s.Score(card0, now.Add(time.Minute), w); r.Grade != forestall.Failing {
		t.Errorf("a minute old: %+v", r)
	}
	if r := s.Score(card0, now.Add(61*time.Second), w); r.Grade != forestall.Unknown || !strings.Contains(r.Note, "1m1s old; more than 1m0s is stale") {
		t.Errorf("older: %+v", r)
	}
}

// TestNewRefuses: a model that does not fit is refused at start, by name.
func TestNewRefuses(t *testing.T) {
	both := gpuSchema(t, 10*time.Second)
	for _, c := range []struct {
		name, want string
		model      *model.Model
		schema     *features.Schema
		change     func(*predict.Config)
	}{
		{name: "other kind", want: `for kind "node"`, model: hot(t, func(c *model.Card) { c.Kind = "node" }), schema: both},
		{name: "no schema", want: "no schema", model: hot(t, nil)},
		{name: "no reasons", want: "Reasons", model: hot(t, nil), schema: both, change: func(c *predict.Config) { c.Reasons = -1 }},
		{name: "thresholds", want: "FailingAt", model: hot(t, nil), schema: both, change: func(c *predict.Config) { c.FailingAt = c.SuspectAt }},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := predict.DefaultConfig()
			if c.change != nil {
				c.change(&cfg)
			}
			schemas := map[forestall.Kind]*features.Schema{}
			if c.schema != nil {
				schemas[forestall.KindGPU] = c.schema
			}
			_, err := predict.New(map[forestall.Kind]*model.Model{forestall.KindGPU: c.model}, schemas, cfg)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v does not say %q", err, c.want)
			}
		})
	}
	t.Run("missing feature", func(t *testing.T) {
		metrics := slices.DeleteFunc(features.Metrics(forestall.KindGPU), func(m features.Metric) bool { return m.Name == "gpu_temperature_celsius" })
		schema, err := features.NewSchema(forestall.KindGPU, metrics, []time.Duration{10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		_, err = predict.New(map[forestall.Kind]*model.Model{forestall.KindGPU: hot(t, nil)}, map[forestall.Kind]*features.Schema{forestall.KindGPU: schema}, predict.DefaultConfig())
		if !errors.Is(err, predict.ErrModel) || !strings.Contains(err.Error(), "gpu_temperature_celsius_last") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("schema version", func(t *testing.T) {
		_, err := predict.SchemaFor(hot(t, func(c *model.Card) { c.Schema = "gpu-000000000000" }))
		if !errors.Is(err, predict.ErrModel) {
			t.Errorf("error %v", err)
		}
	})
}

// TestCardThresholds: a card's own thresholds take the place of the config's.
func TestCardThresholds(t *testing.T) {
	m := hot(t, func(c *model.Card) { c.Thresholds = &model.Thresholds{Suspect: 0.01, Failing: 0.05} })
	s, schema := newScorer(t, m, predict.DefaultConfig())
	w := features.NewWindow(schema)
	if r := s.Score(card0, push(t, w, 0, 11, 40), w); r.Grade != forestall.Failing {
		t.Errorf("0.1 is %s where failing begins at 0.05", r.Grade)
	}
}

// TestScoreAllForgets: hysteresis and metrics follow the store's components,
// and scores may be asked for from several goroutines.
func TestScoreAllForgets(t *testing.T) {
	s, schema := newScorer(t, hot(t, nil), predict.DefaultConfig())
	store := features.NewStore(map[forestall.Kind]*features.Schema{forestall.KindGPU: schema})
	now := start
	for i := range 12 {
		now = start.Add(time.Duration(i) * time.Second)
		for g := range 3 {
			sample := forestall.Sample{Component: forestall.GPU("n1", g), Metric: "gpu_temperature_celsius", Time: now, Value: 50 + 20*float64(g)}
			if err := store.Push([]forestall.Sample{sample}, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if n := len(s.ScoreAll(now, store)); n != 3 {
				t.Errorf("%d risks", n)
			}
		})
	}
	wg.Wait()
	if got := gathered(t, s)["fault_tolerance_risk_probability"]; len(got) != 3 {
		t.Errorf("metrics %v", got)
	}
	store.Forget(forestall.GPU("n1", 1))
	s.ScoreAll(now, store)
	if got := gathered(t, s)["fault_tolerance_risk_probability"]; len(got) != 2 {
		t.Errorf("metrics %v", got)
	}
}

// gathered returns the values of a collector's metrics by name.
func gathered(t testing.TB, c prometheus.Collector) map[string][]float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			v := m.GetGauge().GetValue() + m.GetCounter().GetValue()
			if f.GetType() == dto.MetricType_HISTOGRAM {
				v = float64(m.GetHistogram().GetSampleCount())
			}
			out[f.GetName()] = append(out[f.GetName()], v)
		}
	}
	return out
}

// BenchmarkScoreAll measures what one round over a node of 8 GPUs costs, the
// vectors and the explanations included.
func BenchmarkScoreAll(b *testing.B) {
	r := newRig(b, 1)
	for range 90 {
		r.second()
	}
	b.ReportAllocs()
	for b.Loop() {
		r.scorer.ScoreAll(r.now, r.store)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/gpus, "ns/component")
}

// TestSchemaForSets gives a model the sets of metrics that it was trained with.
func TestSchemaForSets(t *testing.T) {
	windows := []time.Duration{time.Minute, time.Hour}
	extra := []features.Metric{{Name: "own_metric", Unit: "ratio"}}
	metrics := append(features.Metrics(forestall.KindGPU), features.SetMetrics(forestall.KindGPU, features.Context)...)
	metrics = append(metrics, features.SetMetrics(forestall.KindGPU, features.History)...)
	want, err := features.NewSchema(forestall.KindGPU, append(metrics, extra...), windows)
	if err != nil {
		t.Fatal(err)
	}
	m := &model.Model{Card: model.Card{Name: "sets", Kind: "gpu", Schema: want.Version(), Windows: []model.Duration{model.Duration(windows[0]), model.Duration(windows[1])}}}
	got, err := predict.SchemaFor(m, extra...)
	if err != nil || got.Version() != want.Version() {
		t.Errorf("%v, %v; want schema %s", got, err, want.Version())
	}
	if _, err := predict.SchemaFor(m); !errors.Is(err, predict.ErrModel) {
		t.Errorf("without the mapping table's metric: %v", err)
	}
}

// TestScorerClockSetBack: while scrapes are refused because they are older than
// the newest, nothing is known; what was known before does not stand for as long
// as the clock was set back.
func TestScorerClockSetBack(t *testing.T) {
	scorer, schema := newScorer(t, hot(t, nil), predict.DefaultConfig())
	store := features.NewStore(map[forestall.Kind]*features.Schema{forestall.KindGPU: schema})
	scrape := func(now time.Time, celsius float64) forestall.Risk {
		err := store.Push([]forestall.Sample{{Component: card0, Metric: "gpu_temperature_celsius", Time: now, Value: celsius}}, 0)
		if err != nil && !errors.Is(err, features.ErrOutOfOrder) {
			t.Fatal(err)
		}
		return scorer.ScoreAll(now, store)[0]
	}
	now := start
	for range 200 {
		now = now.Add(5 * time.Second)
		scrape(now, 50)
	}
	if r := scrape(now.Add(5*time.Second), 50); r.Grade != forestall.Suspect {
		t.Fatalf("before: %s, %s", r.Grade, r.Note)
	}
	now = now.Add(-time.Hour)
	for i := range 600 {
		now = now.Add(5 * time.Second)
		switch r := scrape(now, 110); {
		case i < 12 && (r.Grade != forestall.Unknown || !strings.Contains(r.Note, "clock")):
			t.Fatalf("%d scrapes after the clock was set back: %s, %q", i, r.Grade, r.Note)
		case i > 15 && r.Grade != forestall.Failing:
			t.Fatalf("%d scrapes after: %s, %q", i, r.Grade, r.Note)
		}
	}
}
