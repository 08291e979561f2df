package predict_test

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/predict"
)

// trainedOn says in a card that the temperature lay evenly between two values.
func trainedOn(low, high float64) func(*model.Card) {
	return func(c *model.Card) {
		b := model.NewDistributionBuilder(1, 1)
		for i := range 1000 {
			b.Add([]float64{low + (high-low)*float64(i)/999})
		}
		c.Distribution = b.Distribution([]int{0})
	}
}

// TestBlind: a healthy verdict about a window unlike the training is withheld, an
// alarm is not.
func TestBlind(t *testing.T) {
	for _, c := range []struct {
		name    string
		celsius float64
		trained func(*model.Card)
		grade   forestall.Grade
		note    string
	}{
		{"as in training", 60, trainedOn(30, 79), forestall.Healthy, ""},
		{"a little beyond", 27, trainedOn(30, 79), forestall.Healthy, ""},
		{"colder than ever", 10, trainedOn(30, 79), forestall.Unknown, "blind: out of distribution: 100 % of what the model weighs lies outside of its training (temperature (gpu_temperature_celsius_last) is 10, trained on 30 to 79)"},
		{"hotter than ever", 120, trainedOn(30, 79), forestall.Failing, "out of distribution"},
		{"not said", 10, nil, forestall.Healthy, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := predict.DefaultConfig()
			cfg.SuspectAt = 0.2
			s, schema := newScorer(t, hot(t, c.trained), cfg)
			w := features.NewWindow(schema)
			now := push(t, w, 0, 20, c.celsius)
			r := s.Score(card0, now, w)
			if r.Grade != c.grade || !strings.Contains(r.Note, c.note) || c.note == "" && r.Note != "" {
				t.Errorf("%s, %q; want %s, %q", r.Grade, r.Note, c.grade, c.note)
			}
			if (r.Grade == forestall.Unknown) != math.IsNaN(r.Probability) {
				t.Errorf("%s with probability %v", r.Grade, r.Probability)
			}
		})
	}
}

// TestDriftReport: a day of other temperatures is drift, the same temperatures
// are none, and a restart forgets neither.
func TestDriftReport(t *testing.T) {
	for _, c := range []struct {
		name    string
		celsius func(i int) float64
		drifted bool
	}{
		{"the same", func(i int) float64 { return 30 + float64(i%50) }, false},
		{"warmer", func(i int) float64 { return 60 + float64(i%19) }, true},
		{"missing", func(int) float64 { return math.NaN() }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, schema := newScorer(t, hot(t, trainedOn(30, 79)), predict.DefaultConfig())
			drift := s.Drift(forestall.KindGPU)
			w := features.NewWindow(schema)
			now := start
			for i := range 1000 {
				now = start.Add(time.Duration(i) * time.Minute)
				values := make([]float64, len(schema.Metrics()))
				for k := range values {
					values[k] = math.NaN()
				}
				values[0], values[1] = c.celsius(i), 50
				for range 12 { // so that the window is covered
					if err := w.Push(now, values, time.Millisecond); err != nil {
						t.Fatal(err)
					}
					now = now.Add(time.Second)
				}
				s.Score(card0, now, w)
				if r := drift.Report(now); r.Judged && now.Sub(start) < 12*time.Hour {
					t.Fatalf("judged after %s", now.Sub(start))
				}
			}
			before := drift.Report(now)
			if !before.Judged || before.Weight != map[bool]float64{true: 1}[c.drifted] || len(before.Drifted) > 0 != c.drifted {
				t.Errorf("%+v", before)
			}
			b, err := (&predict.Memory{Drifts: map[string]*predict.Drift{"d": drift}}).Encode()
			if err != nil {
				t.Fatal(err)
			}
			again, _ := newScorer(t, hot(t, trainedOn(30, 79)), predict.DefaultConfig())
			fresh := again.Drift(forestall.KindGPU)
			if err := (&predict.Memory{Drifts: map[string]*predict.Drift{"d": fresh}}).Read(bytes.NewReader(b)); err != nil {
				t.Fatal(err)
			}
			if after := fresh.Report(now); after.Rows != before.Rows || after.Largest != before.Largest {
				t.Errorf("%+v after a restart, %+v before", after, before)
			}
			// A month later they say nothing of today, not with the first new row either.
			later := now.Add(30 * 24 * time.Hour)
			if r := fresh.Report(later); r.Judged || r.Rows != 0 {
				t.Errorf("a month later: %+v", r)
			}
			later = push(t, w, int(later.Sub(start)/time.Second), 20, 50)
			again.Score(card0, later, w)
			if r := fresh.Report(later); r.Judged || r.Rows != 1 {
				t.Errorf("a month later, with one row: %+v", r)
			}
		})
	}
}
