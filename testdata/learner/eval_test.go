package main

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

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

// TestRivalParams: XGBoost gets what ours have but for its own share of the rows, and
// where there is one training of each both take all rows.
func TestRivalParams(t *testing.T) {
	o := options{sample: 0.9}
	ours := evalParams(0, 2)
	theirs := o.rivalParams(ours)
	for i := range ours {
		if ours[i].SampleRows != 0.5 || theirs[i].SampleRows != 0.9 {
			t.Errorf("shares of %v and %v, want 0.5 and 0.9", ours[i].SampleRows, theirs[i].SampleRows)
		}
		theirs[i].SampleRows = 0.5
	}
	if d := cmp.Diff(ours, theirs); d != "" {
		t.Errorf("(-ours +XGBoost's):\n%s", d)
	}
	for _, b := range besides {
		one := ours[0]
		b.set(&one, o.rivalParams(ours)[0])
		if one.MinLeaf == ours[0].MinLeaf && one.SampleRows != 0.9 {
			t.Errorf("%s: a share of %v of the rows, want XGBoost's 0.9", b.name, one.SampleRows)
		}
	}
	single := evalParams(1, 1)
	if d := cmp.Diff(single, o.rivalParams(single)); d != "" || single[0].SampleRows != 1 {
		t.Errorf("single trainings by %v of the rows (-ours +XGBoost's):\n%s", single[0].SampleRows, d)
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
