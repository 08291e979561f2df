package main

import (
	"math"
	"testing"

	"github.com/stratoswarm/forestall/train"
)

// TestMeanOf: the interval of a mean of n equal ones is 1/sqrt(n) as wide.
func TestMeanOf(t *testing.T) {
	one := train.Difference{A: 0.8, B: 0.7, Delta: 0.1, CI: train.Interval{Low: -0.1, High: 0.3}}
	m := meanOf([]train.Difference{one, one, one, one})
	for _, c := range []struct {
		what      string
		got, want float64
	}{
		{"A", m.A, 0.8},
		{"B", m.B, 0.7},
		{"Delta", m.Delta, 0.1},
		{"Low", m.CI.Low, 0},
		{"High", m.CI.High, 0.2},
		{"Better", m.Better, 0.975},
	} {
		if math.Abs(c.got-c.want) > 1e-6 {
			t.Errorf("%s: %v, want %v", c.what, c.got, c.want)
		}
	}
	if got := meanOf([]train.Difference{one}); got != one {
		t.Errorf("the mean of one is %+v", got)
	}
}

func TestEvalWithoutData(t *testing.T) {
	if err := run(t.Context(), []string{"eval"}); err != nil {
		t.Errorf("without DATA: %v", err)
	}
	if err := run(t.Context(), []string{"both"}); err == nil {
		t.Error("a command that is not there")
	}
}

// Another setting of ours fails no bar, however bad it is; the same figures from a
// start do.
func TestBesidesHaveNoBar(t *testing.T) {
	bad := train.Paired{AUC: train.Difference{A: 0.5, B: 0.9, Delta: -0.4}, AP: train.Difference{A: 0.1, B: 0.5, Delta: -0.4}}
	good := train.Paired{AUC: train.Difference{A: 0.9, B: 0.9}, AP: train.Difference{A: 0.5, B: 0.5}}
	judged := func(start, beside train.Paired) error {
		results := []result{{start: starts[1].name, paired: start}}
		for _, b := range besides {
			results = append(results, result{start: b.name, paired: beside})
		}
		return judge([]studyResult{{results: results}})
	}
	if err := judged(good, bad); err != nil {
		t.Errorf("a setting beside the bars: %v", err)
	}
	if err := judged(bad, good); err == nil {
		t.Error("a start below the bars passes")
	}
}

// TestEvalParams: both trainers get the same share of the rows, all of them where
// there is one training of each; the defaults of ours are only beside that.
func TestEvalParams(t *testing.T) {
	for bag, want := range map[int]float64{1: 1, 2: 0.9} {
		for _, p := range evalParams(0, bag, 0.9) {
			if theirs := peerParams(p)["subsample"]; p.SampleRows != want || theirs != want {
				t.Errorf("%d trainings by %v of the rows, XGBoost's by %v; want %v", bag, p.SampleRows, theirs, want)
			}
		}
	}
	for _, b := range besides {
		p := evalParams(b.of.at, 2, 0.9)[0]
		if b.set(&p); p.SampleRows != train.DefaultParams().SampleRows {
			t.Errorf("%s: by %v of the rows", b.name, p.SampleRows)
		}
	}
}

// TestTrainings: a set of one test gets as many trainings as one of many.
func TestTrainings(t *testing.T) {
	for _, c := range []struct{ bag, tests, want int }{
		{5, 1, 60}, {5, 3, 20}, {5, 10, 6}, {5, 20, 5}, {100, 1, 100}, {1, 1, 1}, {1, 10, 1},
	} {
		if got := (options{bag: c.bag}).trainings(c.tests); got != c.want {
			t.Errorf("%d trainings a test, %d tests: %d, want %d", c.bag, c.tests, got, c.want)
		}
	}
	for _, bad := range [][]string{{"-bag", "0"}, {"-sample", "0"}, {"-sample", "1.5"}, {"-sample", "nan"}} {
		if err := run(t.Context(), append([]string{"eval"}, bad...)); err == nil {
			t.Errorf("eval %v is taken", bad)
		}
	}
}
