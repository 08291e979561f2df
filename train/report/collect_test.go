package report

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
)

// stumps is a model of two trees of one split each: heat adds -1 or 3, load -2
// or 2, each on half of its training rows; cold is not looked at.
func stumps(t *testing.T, count int) *model.Model {
	t.Helper()
	stump := func(feature int, gain, left, right float64) model.Tree {
		return model.Tree{
			Splits: []model.Split{{Feature: feature, Threshold: 10, Left: ^0, Right: ^1, Gain: gain, Missing: model.MissingNaN, DefaultLeft: true}},
			Leaves: []model.Leaf{{Value: left, Count: count}, {Value: right, Count: count}},
		}
	}
	features := []string{"cold", "heat", "load"}
	var text strings.Builder
	if err := model.WriteEnsemble(&text, features, "binary sigmoid:1", []model.Tree{stump(1, 3, -1, 3), stump(2, 1, -2, 2)}); err != nil {
		t.Fatal(err)
	}
	m, err := model.New([]byte(text.String()), model.Card{Format: model.CardFormat, Name: "stumps", Version: "1", Features: features})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestCollect: reasons and importance, worked out by hand.
func TestCollect(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.csv")
	if err := os.WriteFile(path, []byte("heat,load,cold,fails\n20,5,1,0\n,20,1,1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	m := stumps(t, 50)
	evaluate := func() *train.Evaluation {
		p := []float64{model.Sigmoid(1), model.Sigmoid(1)} // 3 - 2 and -1 + 2
		e, err := train.Evaluate(&train.Scores{Probability: p, Positive: []bool{false, true}}, train.EvaluateOptions{Detail: 1})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	e := evaluate()
	got, err := Collect(context.Background(), m, path, nil, e, 1)
	if err != nil {
		t.Fatal(err)
	}
	nan := math.NaN()
	want := Rows{
		Sampled: 2,
		// The mean score is 1: heat adds +2 or -2 to it, load -2 or +2.
		Importance:  []Importance{{"heat", 0.75, 2}, {"load", 0.25, 2}, {"cold", 0, 0}},
		FalseAlarms: []Explained{{Example: e.Detail.FalseAlarms[0], Score: 1, Average: 1, Reasons: []Reason{{"heat", 20, 2}, {"load", 5, -2}}}},
		Misses:      []Explained{{Example: e.Detail.Misses[0], Score: 1, Average: 1, Reasons: []Reason{{"heat", nan, -2}, {"load", 20, 2}}}},
	}
	if d := cmp.Diff(want, got, cmpopts.EquateApprox(0, 1e-12), cmpopts.EquateNaNs()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}

	// Without counts nothing can be explained, and nothing is said to be.
	got, err = Collect(context.Background(), stumps(t, 0), path, nil, e, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got.Sampled != 0 || got.Misses[0].Reasons != nil || got.Misses[0].Score != 1 || !math.IsNaN(got.Importance[0].Contribution) || got.Importance[0].Feature != "heat" {
		t.Errorf("without counts: %+v", got)
	}

	// Of four rows the second and the last.
	if err := os.WriteFile(path, []byte("heat,load,cold\n1,1,1\n20,5,1\n1,1,1\n,20,1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := &train.Scores{Probability: []float64{0.5, 0.5}, Positive: []bool{false, true}, Row: []int32{1, 3}}
	some, err := train.Evaluate(s, train.EvaluateOptions{Detail: 1})
	if err != nil {
		t.Fatal(err)
	}
	got, err = Collect(context.Background(), m, path, []bool{false, true, false, true}, some, 1)
	if err != nil || got.Sampled != 2 || math.Abs(got.Importance[0].Contribution-2) > 1e-12 || got.FalseAlarms[0].Row != 1 || got.Misses[0].Row != 3 || got.Misses[0].Reasons[1].Value != 20 {
		t.Errorf("of some rows: %v, %+v", err, got)
	}

	if err := os.WriteFile(path, []byte("heat,load,cold\n1,1,1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Collect(context.Background(), m, path, nil, e, 1); err == nil || !strings.Contains(err.Error(), "it has 1 rows now") {
		t.Errorf("another table: %v", err)
	}
}

// TestScales: ticks lie within the scale and are few.
func TestScales(t *testing.T) {
	for name, s := range map[string]scale{
		"linear": linear(0, 37), "small": linear(0, 0.004), "flat": linear(0, 0), "decades": logarithmic(0.03, 40),
		"many decades": logarithmic(1e-9, 1e6), "one": logarithmic(1, 1), "odds": odds(1e-6, 0.9999), "even odds": odds(0.3, 0.7), "shares": shares(),
	} {
		if len(s.ticks) < 1 || len(s.ticks) > 13 {
			t.Errorf("%s: %d ticks", name, len(s.ticks))
		}
		for _, k := range s.ticks {
			if at := s.place(k.at); !(at >= 0 && at <= 1) || k.text == "" {
				t.Errorf("%s: tick %+v at %v", name, k, at)
			}
		}
		if s.place(s.low-1) != 0 || s.place(s.high+1) != 1 {
			t.Errorf("%s: what lies outside is not moved to the ends", name)
		}
	}
	var texts []string
	for _, k := range linear(0, 37).ticks {
		texts = append(texts, k.text)
	}
	if got := fmt.Sprint(texts); got != "[0 10 20 30 40]" {
		t.Errorf("ticks %v", got)
	}
}
