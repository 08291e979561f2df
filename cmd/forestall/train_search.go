package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
)

// searchFlags bound the search for parameters.
type searchFlags struct {
	Search      int           `group:"Search for parameters" placeholder:"N" help:"Try N sets of parameters on the rows held out, the first as the flags say, the others at random, and train with the best."`
	SearchTime  time.Duration `group:"Search for parameters" placeholder:"DURATION" help:"End the search after this time; alone it bounds the search without --search."`
	SearchTrees int           `group:"Search for parameters" default:"1000" help:"Trees of a trial, at most, and no more than --trees where that is given; early stopping finds how many."`
}

// A search without a number of trials ends by its time; without --early-stopping
// a trial ends after so many trees that did not help.
const (
	untimedTrials  = 10_000
	searchPatience = 50
	shownTrials    = 5
)

// interrupted is why a search or its folds ended at Ctrl-C.
const interrupted = "it was interrupted"

var errSearchTime = errors.New("its time was over")

func (f *searchFlags) searching() bool { return f.Search != 0 || f.SearchTime != 0 }

func (f *searchFlags) checkSearch() error {
	switch {
	case f.Search < 0:
		return fmt.Errorf("--search is %d; it must be at least 1", f.Search)
	case f.SearchTime < 0:
		return fmt.Errorf("--search-time is %v; it must be positive", f.SearchTime)
	case f.SearchTrees < 1:
		return fmt.Errorf("--search-trees is %d; it must be at least 1", f.SearchTrees)
	}
	return nil
}

// search returns the parameters found best, with the number of trees that a
// training on so many rows should have.
func (c *trainCmd) search(g *globals, progress *trainProgress, cv *train.CrossValidation, p train.Params, rows int) (train.Params, *train.SearchResult, error) {
	base := p
	base.Trees = c.mostTrees()
	if base.EarlyStopping == 0 {
		base.EarlyStopping = searchPatience
	}
	if base.Metric == "" && train.Objective(c.Objective) == train.Binary {
		base.Metric = train.AP
	}
	o := train.SearchOptions{Trials: c.Search, Base: base}
	if o.Trials == 0 {
		o.Trials = untimedTrials
	}
	ctx := g.ctx
	if c.SearchTime > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.SearchTime, errSearchTime)
		defer cancel()
	}
	progress.search.trials, progress.pace.most = c.Search, c.SearchTime
	s, err := train.Search(ctx, cv, o, progress.watch(cv.Folds()))
	progress.end()
	if err != nil {
		if errors.Is(err, errSearchTime) {
			err = fmt.Errorf("%w; lengthen --search-time, or lower --search-trees or --folds", err)
		}
		return p, nil, err
	}
	best := s.Best.Params
	best.Trees, err = train.TreesFor(s.Best.Folds, rows, c.mostTrees())
	best.EarlyStopping = 0
	return best, s, err
}

// mostTrees bounds the trees of a search.
func (c *trainCmd) mostTrees() int {
	if c.Trees == nil {
		return c.SearchTrees
	}
	return min(c.SearchTrees, *c.Trees)
}

// goOn returns a context for what is still to be done after Ctrl-C has ended
// ctx; another Ctrl-C ends it.
func goOn(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx.Err() == nil {
		return ctx, func() {}
	}
	return signal.NotifyContext(context.WithoutCancel(ctx), os.Interrupt, syscall.SIGTERM)
}

// paramsOf returns the parameters that a search varies.
func paramsOf(p train.Params) map[string]float64 {
	return map[string]float64{
		"learning_rate": p.LearningRate, "leaves": float64(p.Leaves), "min_leaf": float64(p.MinLeaf), "l2": p.L2,
		"sample_rows": p.SampleRows, "sample_features": p.SampleFeatures, "max_step": p.MaxStep,
	}
}

// trialsOf puts what was judged into a card.
func trialsOf(split string, folds []train.FoldResult) *model.Trials {
	t := &model.Trials{Split: split, Metric: string(folds[0].Metric)}
	for _, f := range folds {
		t.Folds = append(t.Folds, model.Fold{
			Name: f.Name, TrainRows: f.TrainRows, TrainPositives: f.TrainPositives,
			Rows: f.Rows, Positives: f.Positives, Trees: f.Trees, Value: f.Value,
		})
	}
	mean, spread := train.MeanValue(folds)
	t.Mean = mean
	if !math.IsNaN(spread) {
		t.Spread = spread
	}
	return t
}

// searchedIn adds what was searched to a card's trials.
func searchedIn(t *model.Trials, s *train.SearchResult, p train.Params) {
	t.Searched, t.Params = len(s.Trials), paramsOf(p)
	t.Params["trees"] = float64(p.Trees)
	for _, trial := range s.Trials {
		if trial.Abandoned {
			t.Abandoned++
		}
	}
	switch {
	case errors.Is(s.Ended, errSearchTime):
		t.Ended = errSearchTime.Error()
	case s.Ended != nil:
		t.Ended = interrupted
	}
}

// tellFolds prints the folds that a model's parameters were judged by.
func tellFolds(g *globals, t *model.Trials) {
	fmt.Fprintf(g.out, "Judged by %s:\n\n", t.Split)
	table := textTable{header: []string{"FOLD", ">TRAINED ON", ">POSITIVE", ">JUDGED BY", ">POSITIVE", ">TREES", ">" + strings.ToUpper(t.Metric)}}
	for _, f := range t.Folds {
		table.add(cellOf(f.Name), cellOf(fmt.Sprint(f.TrainRows)), cellOf(fmt.Sprint(f.TrainPositives)),
			cellOf(fmt.Sprint(f.Rows)), cellOf(fmt.Sprint(f.Positives)), cellOf(fmt.Sprint(f.Trees)), cellOf(fmt.Sprintf("%.5f", f.Value)))
	}
	table.write(view{out: g.out, color: g.color})
	if len(t.Folds) > 1 {
		fmt.Fprintf(g.out, "\nMean %s %.5f, standard deviation over the folds %.5f.\n", t.Metric, t.Mean, t.Spread)
	}
	fmt.Fprintln(g.out)
}

// tellSearch prints the best trials.
func tellSearch(g *globals, s *train.SearchResult, t *model.Trials) {
	fmt.Fprintf(g.out, "Tried %s, abandoned %d of them early", textCount(t.Searched, "trial"), t.Abandoned)
	if t.Ended != "" {
		fmt.Fprintf(g.out, "; the search ended because %s", t.Ended)
	}
	fmt.Fprint(g.out, ". The best:\n\n")
	table := textTable{header: []string{">TRIAL", ">" + strings.ToUpper(t.Metric), ">SPREAD", ">TREES", ">LEARNING RATE", ">LEAVES", ">MIN LEAF", ">L2", ">ROWS", ">FEATURES", ">MAX STEP"}}
	for i, trial := range s.Ranked() {
		if i == shownTrials || trial.Abandoned {
			break
		}
		trees := 0.0
		for _, f := range trial.Folds {
			trees += float64(f.Trees) / float64(len(trial.Folds))
		}
		spread := "-"
		if !math.IsNaN(trial.Spread) {
			spread = fmt.Sprintf("%.5f", trial.Spread)
		}
		p := trial.Params
		table.add(cellOf(fmt.Sprint(trial.Number)), cellOf(fmt.Sprintf("%.5f", trial.Mean)), cellOf(spread), cellOf(fmt.Sprintf("%.0f", trees)),
			cellOf(fmt.Sprint(p.LearningRate)), cellOf(fmt.Sprint(p.Leaves)), cellOf(fmt.Sprint(p.MinLeaf)), cellOf(fmt.Sprint(p.L2)),
			cellOf(fmt.Sprint(p.SampleRows)), cellOf(fmt.Sprint(p.SampleFeatures)), cellOf(fmt.Sprint(p.MaxStep)))
	}
	table.write(view{out: g.out, color: g.color})
	fmt.Fprintln(g.out)
}
