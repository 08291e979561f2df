package predict_test

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/gpu"
	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/predict"
)

const unlikeStep = 5 * time.Minute

var unlikeWindows = []time.Duration{10 * time.Minute, time.Hour}

// unlikeFleet is a node of simulated GPUs with jobs that come and go, read every
// five minutes.
type unlikeFleet struct {
	t     testing.TB
	sim   *gpu.Sim
	now   time.Time
	rng   *rand.Rand
	store *features.Store
	lose  map[string]bool // metrics that its source does not give
}

func newUnlikeFleet(t testing.TB, schema *features.Schema, seed uint64) *unlikeFleet {
	t.Helper()
	f := &unlikeFleet{t: t, now: start, rng: rand.New(rand.NewPCG(seed, 1)), store: features.NewStore(map[forestall.Kind]*features.Schema{forestall.KindGPU: schema})}
	var err error
	if f.sim, err = gpu.NewSim(gpu.SimConfig{Node: node, GPUs: gpus, Seed: seed, Now: func() time.Time { return f.now }}); err != nil {
		t.Fatal(err)
	}
	return f
}

// step reads all GPUs once and shows their windows.
func (f *unlikeFleet) step(visit func(forestall.Component, *features.Window)) {
	f.now = f.now.Add(unlikeStep)
	for i := range gpus {
		if f.rng.Float64() < 0.25 {
			f.sim.SetLoad(i, []float64{0, 0.2, 0.6, 0.8, 0.95}[f.rng.IntN(5)])
		}
		c := forestall.GPU(node, i)
		samples, err := f.sim.Read(f.t.Context(), f.now, node, i, nil)
		if err != nil && !errors.Is(err, gpu.ErrGone) {
			f.t.Fatal(err)
		}
		for s := range samples {
			if f.lose[samples[s].Metric] {
				samples[s].Value = math.NaN()
			}
		}
		if len(samples) == 0 {
			err = f.store.PushMissing(c, f.now, time.Millisecond)
		} else {
			err = f.store.Push(samples, time.Millisecond)
		}
		if err != nil {
			f.t.Fatal(err)
		}
		if visit != nil {
			f.store.With(c, func(w *features.Window) { visit(c, w) })
		}
	}
}

// usualGPUs are fitted to days of a healthy node.
func usualGPUs(t testing.TB, schema *features.Schema) *model.Unlike {
	t.Helper()
	f := newUnlikeFleet(t, schema, 11)
	fit := predict.NewUnlikeFit(schema, nil)
	var vector []float64
	const learn, hold = 2, 8
	for f.now.Before(start.Add((learn + hold) * 24 * time.Hour)) {
		f.step(func(c forestall.Component, w *features.Window) {
			switch at := f.now.Sub(start); {
			case at < time.Hour:
			case at < learn*24*time.Hour:
				vector = w.Vector(vector)
				fit.Learn(vector)
			default:
				vector = w.Vector(vector)
				if err := fit.Hold(c, f.now, vector); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	u, err := fit.Unlike(1)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// calm is a model that finds everything healthy, whose card knows what is usual.
func calm(t testing.TB, schema *features.Schema, u *model.Unlike) *model.Model {
	t.Helper()
	trees := []model.Tree{{
		Splits: []model.Split{{Threshold: 1e6, Missing: model.MissingNaN, DefaultLeft: true, Left: ^0, Right: ^1}},
		Leaves: []model.Leaf{{Value: -7, Count: 99}, {Value: 7, Count: 1}},
	}}
	var b bytes.Buffer
	if err := model.WriteEnsemble(&b, schema.Names(), "binary sigmoid:1", trees); err != nil {
		t.Fatal(err)
	}
	card := model.Card{
		Format: model.CardFormat, Name: "calm", Version: "calm-1", Kind: "gpu", Schema: schema.Version(),
		Features: schema.Names(), Horizon: model.Duration(time.Hour), Unlike: u,
	}
	for _, w := range schema.Windows() {
		card.Windows = append(card.Windows, model.Duration(w))
	}
	m, err := model.New(b.Bytes(), card)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestUnlike: failures of a kind that no model was trained on make a GPU unlike what
// ordinary operation was, with reasons in words, while its model finds it healthy;
// its siblings are usual. What a source does not give any more makes nothing unlike.
func TestUnlike(t *testing.T) {
	schema := gpuSchema(t, unlikeWindows...)
	u := usualGPUs(t, schema)
	if u.Days < 60 || u.Rows < 4000 || len(u.Levels) < 50 || u.Alarms != 1 {
		t.Fatalf("%v days, %d rows, %d levels", u.Days, u.Rows, len(u.Levels))
	}
	for _, l := range u.Levels {
		for _, no := range []string{"missing_ratio", "since_change", "series_", "scrape_", "_total_last", "_total_1h_mean"} {
			if strings.Contains(l.Feature, no) {
				t.Errorf("%s takes part", l.Feature)
			}
		}
	}
	cfg := predict.DefaultConfig()
	cfg.Stale = time.Hour
	run := func(hours int, f *unlikeFleet, s *predict.Scorer, each func(forestall.Risk, *forestall.Anomaly)) {
		for range hours * 12 {
			f.step(nil)
			for _, r := range s.ScoreAll(f.now, f.store) {
				each(r, s.Unlike(r.Component))
			}
		}
	}
	for mode, words := range map[gpu.Mode]string{gpu.ModeECCStorm: "corrected memory errors", gpu.ModeLinkDegradation: "PCIe"} {
		s, _ := newScorer(t, calm(t, schema, u), cfg)
		f := newUnlikeFleet(t, schema, 12)
		if a := s.Unlike(card0); a == nil || a.State != forestall.UsualUnknown || a.Threshold != u.Threshold {
			t.Errorf("before anything: %+v", a)
		}
		run(4, f, s, func(r forestall.Risk, a *forestall.Anomaly) {
			if want := (map[bool]forestall.Usualness{true: forestall.UsualUnknown, false: forestall.Usual})[r.Grade == forestall.Unknown]; a.State != want || want == forestall.UsualUnknown && a.Note != r.Note {
				t.Errorf("%s, %s: %+v", r.Component, r.Grade, a)
			}
		})
		if err := f.sim.Inject(2, mode, 90*time.Minute); err != nil {
			t.Fatal(err)
		}
		seen := map[forestall.Component]*forestall.Anomaly{}
		run(1, f, s, func(r forestall.Risk, a *forestall.Anomaly) {
			if r.Grade != forestall.Healthy {
				t.Errorf("%s: the model says %s", r.Component, r.Grade)
			}
			if a.State == forestall.Unusual {
				seen[r.Component] = a
			}
		})
		a := seen[forestall.GPU(node, 2)]
		if a == nil || len(seen) != 1 || !(a.Score >= a.Threshold) || a.Since.IsZero() || len(a.Reasons) == 0 || !strings.Contains(strings.Join(a.Reasons, "; "), words) {
			t.Errorf("%s: %d are unlike, %+v", mode, len(seen), a)
			continue
		}
		t.Logf("%s: %s", mode, strings.Join(a.Reasons, "; "))
	}

	s, _ := newScorer(t, calm(t, schema, u), cfg)
	f := newUnlikeFleet(t, schema, 13)
	none := func(r forestall.Risk, a *forestall.Anomaly) {
		if a.State == forestall.Unusual {
			t.Errorf("%s: %+v", r.Component, a)
		}
	}
	run(4, f, s, none)
	f.lose = map[string]bool{"gpu_power_watts": true, "gpu_utilization_ratio": true, "gpu_sm_clock_hertz": true, "gpu_memory_used_bytes": true, "gpu_nvlink_active_links": true}
	run(4, f, s, none)
	if s.ScoreAll(f.now, features.NewStore(nil)); s.Unlike(card0).State != forestall.UsualUnknown {
		t.Error("what is not there any more stands")
	}
	plain, _ := newScorer(t, hot(t, nil), cfg)
	if a := plain.Unlike(card0); a != nil {
		t.Errorf("of a card that knows nothing of ordinary operation: %+v", a)
	}
}

// TestUnlikeHysteresis: a component stays unlike until it is well below the
// threshold, and begins anew when nothing was known of it.
func TestUnlikeHysteresis(t *testing.T) {
	u := &model.Unlike{Worst: 1, Clip: 100, Threshold: math.Log1p(9), Alarms: 1, Rows: 1, Days: 1, Levels: []model.Level{{Feature: "gpu_temperature_celsius_last", Mean: 60, Spread: 1}}}
	s, schema := newScorer(t, hot(t, func(c *model.Card) { c.Unlike = u }), predict.DefaultConfig())
	w := features.NewWindow(schema)
	push(t, w, 0, 11, 60)
	at := 11
	for _, c := range []struct {
		celsius float64
		want    forestall.Usualness
	}{
		{60, forestall.Usual},
		{62.9, forestall.Usual},
		{63.1, forestall.Unusual},
		{62.4, forestall.Unusual},
		{62, forestall.Usual},
		{62.9, forestall.Usual},
		{56, forestall.Unusual},
		{math.NaN(), forestall.UsualUnknown},
		{62.9, forestall.Usual},
	} {
		now := push(t, w, at, 1, c.celsius)
		at++
		s.Score(card0, now, w)
		if a := s.Unlike(card0); a.State != c.want || (a.State == forestall.Unusual) == a.Since.IsZero() {
			t.Errorf("%v °C: %+v, want %s", c.celsius, a, c.want)
		}
	}
	now := push(t, w, at, 1, 70)
	r := s.Score(card0, now, w)
	a := s.Unlike(card0)
	if d := cmp.Diff([]string{"temperature 70 °C, usually 60 °C (10 standard deviations)"}, a.Reasons); d != "" {
		t.Error(d)
	}
	if r.Grade != forestall.Suspect {
		t.Fatalf("grade %s", r.Grade)
	}
	s.Score(card0, now.Add(time.Hour), w)
	if a := s.Unlike(card0); a.State != forestall.UsualUnknown || !strings.Contains(a.Note, "is stale") {
		t.Errorf("stale: %+v", a)
	}
}

// TestRaise: either way of being unusual makes a healthy component count as worse,
// and the reasons say which; what a model says worse stands, unknown stays unknown.
func TestRaise(t *testing.T) {
	at := time.Date(2026, 1, 1, 9, 30, 0, 0, time.UTC)
	usual := &forestall.Anomaly{State: forestall.Usual, Score: 1}
	odd := &forestall.Anomaly{State: forestall.Unusual, Score: 3, Since: at, Reasons: []string{"a", "b"}}
	own := forestall.Reason{Feature: "x", Contribution: 1}
	itself := forestall.Reason{Feature: predict.ReasonUnusual, Value: 3, Text: "unusual for itself since 09:30: a; b"}
	trained := forestall.Reason{Feature: predict.ReasonUnlike, Value: 3, Text: "unlike what its model was trained on since 09:30: a; b"}
	for _, c := range []struct {
		name           string
		grade, as      forestall.Grade
		anomaly, model *forestall.Anomaly
		want           forestall.Grade
		p              float64
		reasons        []forestall.Reason
	}{
		{"neither", forestall.Healthy, forestall.Suspect, usual, usual, forestall.Healthy, 0.01, []forestall.Reason{own}},
		{"not watched", forestall.Healthy, forestall.Suspect, nil, nil, forestall.Healthy, 0.01, []forestall.Reason{own}},
		{"itself", forestall.Healthy, forestall.Suspect, odd, nil, forestall.Suspect, 0.01, []forestall.Reason{itself, own}},
		{"model", forestall.Healthy, forestall.Suspect, usual, odd, forestall.Suspect, 0.01, []forestall.Reason{trained, own}},
		{"both", forestall.Healthy, forestall.Failing, odd, odd, forestall.Failing, 0.5, []forestall.Reason{itself, trained, own}},
		{"nothing", forestall.Healthy, forestall.Healthy, odd, odd, forestall.Healthy, 0.01, []forestall.Reason{own}},
		{"worse", forestall.Failing, forestall.Suspect, odd, odd, forestall.Failing, 0.01, []forestall.Reason{own}},
		{"unknown", forestall.Unknown, forestall.Failing, odd, odd, forestall.Unknown, 0.01, []forestall.Reason{own}},
	} {
		r := forestall.Risk{Grade: c.grade, Probability: 0.01, Reasons: []forestall.Reason{own}, Anomaly: c.anomaly, Unlike: c.model}
		predict.Raise(&r, c.as, 0.5)
		if d := cmp.Diff(c.reasons, r.Reasons); d != "" || r.Grade != c.want || r.Probability != c.p {
			t.Errorf("%s: %s, %v, %s", c.name, r.Grade, r.Probability, d)
		}
	}
}

// BenchmarkScoreUnlike measures what one round over a node of 8 GPUs costs with a
// card that knows ordinary operation, and without.
func BenchmarkScoreUnlike(b *testing.B) {
	schema := gpuSchema(b, unlikeWindows...)
	u := &model.Unlike{Worst: 5, Clip: 100, Threshold: 9, Alarms: 1, Rows: 1, Days: 1}
	for _, name := range schema.Names() {
		u.Levels = append(u.Levels, model.Level{Feature: name, Mean: 10, Spread: 1e30})
	}
	for name, of := range map[string]*model.Unlike{"with": u, "without": nil} {
		b.Run(name, func(b *testing.B) {
			s, _ := newScorer(b, calm(b, schema, of), predict.DefaultConfig())
			f := newUnlikeFleet(b, schema, 1)
			for range 24 {
				f.step(nil)
			}
			b.ReportAllocs()
			for b.Loop() {
				s.ScoreAll(f.now, f.store)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/gpus, "ns/component")
		})
	}
}
