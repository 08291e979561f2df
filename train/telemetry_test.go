package train

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
)

func hourOf(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "testdata", "history", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestVectors labels the recorded hour: each verdict as Label gives it, rows at
// the interval.
func TestVectors(t *testing.T) {
	schema, err := features.NewSchema(forestall.KindGPU, features.Metrics(forestall.KindGPU), []time.Duration{10 * time.Second, time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	incidents, err := ReadIncidents(bytes.NewReader(hourOf(t, "incidents.csv")))
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	opt := LabelOptions{Lead: 30 * time.Second, Horizon: 2 * time.Minute, Recovery: time.Minute, End: start.Add(time.Hour)}
	labeler, err := NewLabeler(incidents, opt)
	if err != nil {
		t.Fatal(err)
	}
	last := map[forestall.Component]int64{}
	n := 0
	counts, err := Vectors(features.ReadHistory(bytes.NewReader(hourOf(t, "samples.csv.gz"))), VectorOptions{Schema: schema, Interval: 20 * time.Second, Labeler: labeler}, func(r *VectorRow) error {
		n++
		if want := Label(r.Time, r.Component, incidents, opt); r.Verdict != want {
			t.Errorf("%s at %s: %s, want %s", r.Component, r.Time, r.Verdict, want)
		}
		if r.Verdict == Positive && (r.Next.Before(r.Time.Add(opt.Lead)) || r.Next.After(r.Time.Add(opt.Lead+opt.Horizon))) {
			t.Errorf("%s at %s is positive for the incident at %s", r.Component, r.Time, r.Next)
		}
		slot := 1 + r.Time.UnixMilli()/20000
		if last[r.Component] == slot || r.Time.UnixMilli()%20000 >= 5000 && last[r.Component] == slot-1 {
			t.Errorf("%s has a row at %s", r.Component, r.Time)
		}
		last[r.Component] = slot
		if len(r.Vector) != len(schema.Names()) {
			t.Fatalf("%d features", len(r.Vector))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := VectorCounts{Scrapes: 5400, Thin: counts.Thin, Verdicts: counts.Verdicts, Rows: counts.Rows}
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Error(diff)
	}
	total := 0
	for _, k := range counts.Verdicts {
		total += k
	}
	if total != n || len(counts.Rows) != 8 || counts.Thin < 8 || counts.Verdicts[Positive] < 80 || counts.Verdicts[Late] == 0 || counts.Verdicts[Inside] == 0 || counts.Verdicts[Censored] == 0 {
		t.Errorf("%d rows: %+v", n, counts)
	}
}

// TestVectorsAsOnline feeds random scrapes to a window as an engine does and
// through a recorded history as a training does: the vectors are the same, bit
// for bit.
func TestVectorsAsOnline(t *testing.T) {
	names := []features.Metric{{Name: "a", Type: features.Gauge, Unit: "watt"}, {Name: "b_total", Type: features.Counter, Unit: "error"}}
	c := forestall.GPU("n1", 0)
	labeler, err := NewLabeler(nil, LabelOptions{Horizon: time.Minute, End: time.UnixMilli(1 << 40)})
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		schema, err := features.NewSchema(forestall.KindGPU, names, []time.Duration{2 * time.Second, 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		store := features.NewStore(map[forestall.Kind]*features.Schema{forestall.KindGPU: schema})
		var online [][]float64
		var journal []byte
		at := time.UnixMilli(rapid.Int64Range(0, 1<<41).Draw(t, "start")).Add(time.Duration(rapid.IntRange(0, 999_999).Draw(t, "below a millisecond")))
		for range rapid.IntRange(1, 60).Draw(t, "scrapes") {
			at = at.Add(time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(5*time.Second)).Draw(t, "later")))
			var scrape []forestall.Sample
			for _, m := range names {
				if v := rapid.OneOf(rapid.Float64(), rapid.Just(math.NaN()), rapid.Just(math.Inf(1)), rapid.Float64Range(0, 100)).Draw(t, m.Name); rapid.Bool().Draw(t, "there") {
					scrape = append(scrape, forestall.Sample{Component: c, Metric: m.Name, Time: at, Value: v})
				}
			}
			latency := time.Duration(rapid.Int64Range(-1, int64(time.Second)).Draw(t, "latency"))
			push := func() error { return store.Push(scrape, latency) }
			if len(scrape) == 0 {
				push = func() error { return store.PushMissing(c, at, latency) }
			}
			if err := push(); err != nil {
				t.Fatal(err)
			}
			journal = features.AppendScrape(journal, c, at, scrape, latency)
			store.With(c, func(w *features.Window) {
				if ready, _ := w.Ready(); ready {
					online = append(online, slices.Clone(w.Vector(nil)))
				}
			})
		}
		i := 0
		silent, err := newSilence(schema)
		if err != nil {
			t.Fatal(err)
		}
		text := append([]byte(features.HistoryHeader+"\n"), journal...)
		_, err = Vectors(features.ReadHistory(bytes.NewReader(text)), VectorOptions{Schema: schema, Labeler: labeler}, func(r *VectorRow) error {
			for i < len(online) && silent.is(online[i]) {
				i++
			}
			for f, v := range r.Vector {
				if w := online[i][f]; math.Float64bits(v) != math.Float64bits(w) && !(v != v && w != w) {
					t.Fatalf("row %d: %s is %v, was %v online", i, schema.Names()[f], v, w)
				}
			}
			i++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for i < len(online) && silent.is(online[i]) {
			i++
		}
		if i != len(online) {
			t.Errorf("%d of %d vectors", i, len(online))
		}
	})
}
