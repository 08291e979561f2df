package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func searchBase() Params {
	p := DefaultParams()
	p.Trees, p.EarlyStopping, p.Metric, p.Seed = 60, 10, AP, 5
	return p
}

// groupsOf parts rows into components of ten.
func groupsOf(rows int) (k Keys) {
	for i := range rows {
		k.Group = append(k.Group, i/10)
	}
	return k
}

func searched(ctx context.Context, t *testing.T, trials int, tried func(*Trial)) (*SearchResult, error) {
	t.Helper()
	d := makeSynthetic(3000, 6, 8).dataset(t, Spec{})
	folds, err := Split{Kind: ByGroup, Folds: 3, Seed: 1}.Cut(d, groupsOf(3000), d.AllRows())
	if err != nil {
		t.Fatal(err)
	}
	return Search(ctx, NewCrossValidation(d, folds), SearchOptions{Trials: trials, Base: searchBase()}, SearchWatch{Trial: tried})
}

func TestSearch(t *testing.T) {
	s, err := searched(t.Context(), t, 6, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Trials) != 6 || s.Ended != nil || s.Metric != AP {
		t.Fatalf("%d trials, ended %v, metric %s", len(s.Trials), s.Ended, s.Metric)
	}
	if diff := cmp.Diff(searchBase(), s.Trials[0].Params); diff != "" {
		t.Errorf("the first trial is not what was asked for (-want +got):\n%s", diff)
	}
	for _, trial := range s.Trials {
		if err := trial.Params.Validate(); err != nil {
			t.Errorf("trial %d: %v", trial.Number, err)
		}
		if !trial.Abandoned && trial.Mean > s.Best.Mean {
			t.Errorf("trial %d has %v, the best %v", trial.Number, trial.Mean, s.Best.Mean)
		}
	}
	ranked := s.Ranked()
	if ranked[0].Number != s.Best.Number {
		t.Errorf("trial %d ranks first, %d is the best", ranked[0].Number, s.Best.Number)
	}
	for i := 1; i < len(ranked); i++ {
		if a, b := ranked[i-1], ranked[i]; a.Abandoned && !b.Abandoned || a.Abandoned == b.Abandoned && len(a.Folds) == len(b.Folds) && a.Mean < b.Mean {
			t.Errorf("%+v ranks before %+v", a, b)
		}
	}
	// A shorter search is the beginning of a longer one.
	short, err := searched(t.Context(), t, 3, nil)
	if diff := cmp.Diff(s.Trials[:3], short.Trials, cmpopts.EquateNaNs()); err != nil || diff != "" {
		t.Errorf("three trials, %v (-of six +alone):\n%s", err, diff)
	}
}

// A watch is told of every tree, fold and trial, in their order.
func TestSearchWatch(t *testing.T) {
	d := makeSynthetic(1500, 4, 8).dataset(t, Spec{})
	folds, err := Split{Kind: ByGroup, Folds: 2, Seed: 1}.Cut(d, groupsOf(1500), d.AllRows())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	trees := 0
	s, err := Search(t.Context(), NewCrossValidation(d, folds), SearchOptions{Trials: 3, Base: searchBase()}, SearchWatch{
		Tree: func(p SearchProgress) {
			if p.Tree == 1 {
				got = append(got, fmt.Sprintf("begin %d.%d", p.Trial, p.Fold))
			}
			trees = p.Tree
		},
		Fold: func(trial int, done []FoldResult) {
			if last := done[len(done)-1]; last.Trees > trees {
				t.Errorf("trial %d, fold %d has %d trees, %d were grown", trial, len(done), last.Trees, trees)
			}
			got = append(got, fmt.Sprintf("fold %d.%d", trial, len(done)))
		},
		Trial: func(trial *Trial) { got = append(got, fmt.Sprintf("trial %d", trial.Number)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, trial := range s.Trials {
		for fold := range trial.Folds {
			want = append(want, fmt.Sprintf("begin %d.%d", trial.Number, fold+1), fmt.Sprintf("fold %d.%d", trial.Number, fold+1))
		}
		want = append(want, fmt.Sprintf("trial %d", trial.Number))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what the watch was told (-want +got):\n%s", diff)
	}
}

func TestSearchInterrupted(t *testing.T) {
	stop := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	s, err := searched(ctx, t, 50, func(trial *Trial) {
		if trial.Number == 2 {
			cancel(stop)
		}
	})
	if err != nil || len(s.Trials) != 2 || s.Best.Number == 0 || !errors.Is(s.Ended, stop) {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := searched(ctx, t, 50, nil); !errors.Is(err, errNothingFound) || !errors.Is(err, stop) {
		t.Errorf("a search that never began: %v", err)
	}
}

func TestHopeless(t *testing.T) {
	folds := func(values ...float64) (out []FoldResult) {
		for _, v := range values {
			out = append(out, FoldResult{Value: v, Metric: AP, Trees: 1})
		}
		return out
	}
	s := &SearchResult{}
	if s.hopeless(folds(0)) {
		t.Error("the first trial is abandoned")
	}
	s.add(Trial{Number: 1, Folds: folds(0.5, 0.7, 0.6)}, 3) // standard error 0.058
	for _, tc := range []struct {
		values []float64
		want   bool
	}{
		{[]float64{0.45}, false},
		{[]float64{0.39}, true},
		{[]float64{0.45, 0.5}, true}, // 0.475 beside 0.6
		{[]float64{0.45, 0.65}, false},
		{[]float64{0, 0, 0}, false}, // done anyway
	} {
		if got := s.hopeless(folds(tc.values...)); got != tc.want {
			t.Errorf("%v: %v", tc.values, got)
		}
	}
	s.add(Trial{Number: 2, Folds: folds(0.9)}, 3)
	if s.Best.Number != 1 || !s.Trials[1].Abandoned {
		t.Errorf("an abandoned trial is the best: %+v", s.Best)
	}
}

func TestDrawParams(t *testing.T) {
	base := searchBase()
	rates, bounded := map[float64]bool{}, 0
	for n := 2; n < 200; n++ {
		p := drawParams(base, n, 1000)
		if err := p.Validate(); err != nil {
			t.Fatalf("trial %d: %v", n, err)
		}
		if p.LearningRate < 0.02 || p.LearningRate > 0.3 || p.Leaves < 4 || p.Leaves > 128 || p.MinLeaf < 3 || p.MinLeaf > 20 || p.L2 < 0.1 || p.L2 > 100 || p.SampleRows < 0.3 || p.SampleFeatures < 0.3 {
			t.Fatalf("trial %d: %+v", n, p)
		}
		rates[p.LearningRate] = true
		if p.MaxStep > 0 {
			bounded++
		}
	}
	if len(rates) < 100 {
		t.Errorf("%d learning rates in 198 trials", len(rates))
	}
	if bounded < 50 || bounded > 150 {
		t.Errorf("%d of 198 trials bound the step", bounded)
	}
	base.SampleRows, base.GOSSTop, base.GOSSRest = 1, 0.2, 0.1
	if p := drawParams(base, 2, 1000); p.Validate() != nil || p.SampleRows != 1 {
		t.Errorf("beside GOSS: %+v", p)
	}
	if got := round(0.0123456); got != 0.0123 {
		t.Errorf("0.0123456 becomes %v", got)
	}
}

func TestCrossValidation(t *testing.T) {
	d := makeSynthetic(3000, 6, 9).dataset(t, Spec{})
	folds, err := Split{Kind: ByGroup, Folds: 3}.Cut(d, groupsOf(3000), d.AllRows())
	if err != nil {
		t.Fatal(err)
	}
	cv := NewCrossValidation(d, folds)
	p := DefaultParams()
	p.Trees = 5
	trees := 0
	got, err := cv.Run(t.Context(), p, func(int, Progress) { trees++ }, nil)
	if err != nil || len(got) != 3 || trees != 15 {
		t.Fatalf("%+v after %d trees, %v", got, trees, err)
	}
	rows, positives := 0, 0
	for i, f := range got {
		rows, positives = rows+f.Rows, positives+f.Positives
		if f.Rows+f.TrainRows != 3000 || f.Positives+f.TrainPositives != d.Positives() || f.Trees != 5 || f.Metric != LogLoss || !(f.Value > 0) {
			t.Errorf("fold %d: %+v", i, f)
		}
	}
	if rows != 3000 || positives != d.Positives() {
		t.Errorf("%d rows, %d positives judge", rows, positives)
	}
	mean, spread := MeanValue(got)
	if !(mean > 0 && spread > 0 && spread < mean) {
		t.Errorf("mean %v, spread %v", mean, spread)
	}
	if _, spread := MeanValue(got[:1]); !math.IsNaN(spread) {
		t.Errorf("one fold spreads by %v", spread)
	}

	// The fold at hand is dropped when the context ends.
	ctx, cancel := context.WithCancel(t.Context())
	got, err = cv.Run(ctx, p, func(fold int, p Progress) {
		if fold == 1 && p.Tree == 2 {
			cancel()
		}
	}, nil)
	if !errors.Is(err, context.Canceled) || len(got) != 1 {
		t.Errorf("%d folds, %v", len(got), err)
	}
	p.Metric = RMSE
	if _, err := cv.Run(t.Context(), p, nil, nil); err == nil || !strings.Contains(err.Error(), "fold 1 (") {
		t.Errorf("error %v names no fold", err)
	}
}

func TestMetricBetter(t *testing.T) {
	nan := math.NaN()
	for _, tc := range []struct {
		metric Metric
		a, b   float64
		want   bool
	}{
		{AP, 0.6, 0.5, true},
		{AP, 0.5, 0.6, false},
		{AUC, 0.9, 0.8, true},
		{LogLoss, 0.1, 0.2, true},
		{LogLoss, 0.2, 0.1, false},
		{RMSE, 3, 4, true},
		{RMSE, 4, 4, false},
		{AP, nan, 0.5, false},
		{LogLoss, 0.1, nan, false},
	} {
		if got := tc.metric.Better(tc.a, tc.b); got != tc.want {
			t.Errorf("%s: %v beside %v: %v", tc.metric, tc.a, tc.b, got)
		}
	}
}
