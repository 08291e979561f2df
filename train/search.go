package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// SearchOptions bound a random search.
type SearchOptions struct {
	Trials int // at most
	// Base is what is tried first and what the search varies; its Trees bound
	// each training, and its EarlyStopping must end it.
	Base Params
}

// Trial is one set of parameters and what it came to.
type Trial struct {
	Number int // from 1
	Params Params
	Folds  []FoldResult
	Mean   float64 // of the folds' values
	Spread float64 // their standard deviation; NaN of one fold
	// Abandoned says that the trial was so far behind after a fold that the
	// others were left out. It is never the best.
	Abandoned bool
}

// SearchResult is what a search found.
type SearchResult struct {
	Metric Metric
	Trials []Trial // in the order of the trials
	Best   Trial
	Ended  error // why the search ended before its last trial; nil: it did not
}

// SearchWatch is told how a search goes. Each function may be nil.
type SearchWatch struct {
	Tree  func(SearchProgress)               // after each tree
	Fold  func(trial int, done []FoldResult) // after each fold of a trial, with those before it
	Trial func(*Trial)                       // after each trial
}

// SearchProgress is what is known after a tree of a search.
type SearchProgress struct {
	Trial, Trials int // this one, from 1
	Fold, Folds   int // from 1
	Progress
}

// errNothingFound reports a search without a finished trial.
var errNothingFound = errors.New("not one trial was finished, so nothing was found")

// Search tries parameters on a trial's folds (random search: Bergstra, Bengio
// 2012). The first try is Base; the n-th depends on the seed of Base and on n
// only. After each fold but the last, a try whose mean is worse than the best's
// on the same folds by more than the standard error of the best's mean over all
// folds is abandoned.
//
// When the context ends, what was found until then is returned; if it is
// nothing, that is an error.
func Search(ctx context.Context, cv *CrossValidation, o SearchOptions, watch SearchWatch) (*SearchResult, error) {
	switch {
	case o.Trials < 1:
		return nil, fmt.Errorf("trials is %d; it must be at least 1", o.Trials)
	case o.Base.EarlyStopping < 1:
		return nil, fmt.Errorf("early_stopping is %d; a search needs it to find the number of trees", o.Base.EarlyStopping)
	}
	s := &SearchResult{}
	for n := 1; n <= o.Trials; n++ {
		try := Trial{Number: n, Params: o.Base}
		if n > 1 {
			try.Params = drawParams(o.Base, n, cv.train.rows)
		}
		var err error
		try.Folds, err = cv.Run(ctx, try.Params,
			func(fold int, p Progress) {
				if watch.Tree != nil {
					watch.Tree(SearchProgress{Trial: n, Trials: o.Trials, Fold: fold + 1, Folds: cv.Folds(), Progress: p})
				}
			},
			func(done []FoldResult) bool {
				if watch.Fold != nil {
					watch.Fold(n, done)
				}
				return !s.hopeless(done)
			})
		if ctx.Err() != nil && len(try.Folds) < cv.Folds() {
			s.Ended = context.Cause(ctx)
			break
		}
		if err != nil {
			return nil, fmt.Errorf("trial %d: %w", n, err)
		}
		s.add(try, cv.Folds())
		if watch.Trial != nil {
			watch.Trial(&s.Trials[len(s.Trials)-1])
		}
	}
	if s.Best.Number == 0 {
		return nil, fmt.Errorf("search: %w: %w", errNothingFound, s.Ended)
	}
	return s, nil
}

// drawParams returns the parameters of the n-th trial. What has a scale is drawn
// evenly in its logarithm.
func drawParams(base Params, n, rows int) Params {
	rng := rand.New(rand.NewPCG(base.Seed, 0x736561726368+uint64(n)<<32))
	log := func(low, high float64) float64 {
		return low * math.Pow(high/low, rng.Float64())
	}
	p := base
	p.LearningRate = round(log(0.02, 0.3))
	p.Leaves = int(math.Round(log(4, 128)))
	p.MinLeaf = int(math.Round(log(3, min(500, max(6, float64(rows)/50)))))
	p.L2 = round(log(0.1, 100))
	if share := round(0.3 + 0.7*rng.Float64()); p.GOSSTop == 0 { // which chooses the rows itself
		p.SampleRows = share
	}
	p.SampleFeatures = round(0.3 + 0.7*rng.Float64())
	if p.MaxStep = 0; rng.IntN(2) == 0 {
		p.MaxStep = round(log(0.3, 3))
	}
	return p
}

// round keeps three digits, which can be typed.
func round(v float64) float64 {
	scale := math.Pow(10, 2-math.Floor(math.Log10(v)))
	return math.Round(v*scale) / scale
}

// hopeless reports whether a try that has these folds is not worth the others.
func (s *SearchResult) hopeless(folds []FoldResult) bool {
	if s.Best.Number == 0 || len(folds) >= len(s.Best.Folds) {
		return false
	}
	mine, _ := MeanValue(folds)
	best, _ := MeanValue(s.Best.Folds[:len(folds)])
	return s.Metric.Better(best, mine) && math.Abs(best-mine) > s.Best.Spread/math.Sqrt(float64(len(s.Best.Folds)))
}

func (s *SearchResult) add(try Trial, folds int) {
	try.Mean, try.Spread = MeanValue(try.Folds)
	try.Abandoned = len(try.Folds) < folds
	s.Metric = try.Folds[0].Metric
	s.Trials = append(s.Trials, try)
	if !try.Abandoned && (s.Best.Number == 0 || s.Metric.Better(try.Mean, s.Best.Mean)) {
		s.Best = try
	}
}

// Ranked returns what was tried, the best first, what was abandoned last.
func (s *SearchResult) Ranked() []Trial {
	ranked := slices.Clone(s.Trials)
	slices.SortStableFunc(ranked, func(a, b Trial) int {
		switch {
		case a.Abandoned != b.Abandoned:
			if b.Abandoned {
				return -1
			}
			return 1
		case len(a.Folds) != len(b.Folds):
			return cmp.Compare(len(b.Folds), len(a.Folds))
		case s.Metric.Better(a.Mean, b.Mean):
			return -1
		case s.Metric.Better(b.Mean, a.Mean):
			return 1
		}
		return 0
	})
	return ranked
}
