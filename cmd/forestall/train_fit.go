package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
)

// trainInput is what a model is made from.
type trainInput struct {
	table *train.Dataset // without the rows to calibrate on; nil once the model's own rows are taken
	valid *train.Dataset // nil: no table to validate on
	split *train.Split   // nil: no rows of the table are held out to judge
	keys  train.Keys     // of the table's rows
	held  held           // to calibrate on
	place []int          // of the table's rows in the file; nil: all are there, in their order
	from  *base          // nil: no model to go on from

	// Of the file.
	digest          string
	rows, positives int
	unseen          []bool // rows that judge the model that is written and did not train it; nil: not known
}

// fitted is a trained model and what is known of how good it is.
type fitted struct {
	*train.Result
	rows    int           // that it was trained on
	leaves  int           // of a tree, at most
	took    time.Duration // to train it, without what judged
	trials  *model.Trials
	search  *train.SearchResult
	leftOut *leftOut       // nil: no members
	came    *recalibration // nil: the probabilities are not corrected by what came
}

// check finds out what is wrong with the flags before anything is read.
func (c *trainCmd) check() (*train.Split, error) {
	if c.Label == "" {
		return nil, errors.New("--table needs --label, the column to predict")
	}
	if c.Horizon < 0 {
		return nil, fmt.Errorf("--horizon is %v; it must not be negative", c.Horizon)
	}
	if err := settleSpans(c.TimeUnit, c.spans()...); err != nil {
		return nil, err
	}
	if err := errors.Join(c.checkSearch(), c.checkBag()); err != nil {
		return nil, err
	}
	if err := checkOut(c.Out); err != nil {
		return nil, err
	}
	// A table to validate on judges a search too.
	split, err := c.split(c.Seed, c.searching() && c.Valid == "")
	switch {
	case err != nil:
		return nil, err
	case split != nil && c.Valid != "":
		return nil, fmt.Errorf("--valid and a split by %s both say what judges; leave one out", split.Kind)
	case split == nil && c.Valid == "" && c.searching():
		return nil, errors.New("a search needs rows that judge it: --time or --group holds some out, --valid reads some")
	case split == nil && c.Valid == "" && c.EarlyStopping > 0:
		return nil, errors.New("--early-stopping needs rows that judge: --valid reads some, --holdout or --folds holds some out")
	case split == nil && c.Embargo.n != 0 && (!strings.HasSuffix(c.Calibrate, "%") || c.outOfBag()):
		return nil, errors.New("--embargo needs rows held out: give --holdout, --train-window and --test-window, or --calibrate with a share")
	}
	if err := c.checkReport(split); err != nil {
		return nil, err
	}
	if err := errors.Join(c.checkCalibrate(), c.checkRecalibrate(split)); err != nil {
		return nil, err
	}
	return split, c.checkApart()
}

// read reads the tables and sets rows apart.
func (c *trainCmd) read(g *globals, progress *trainProgress, split *train.Split, from *base) (in *trainInput, err error) {
	in = &trainInput{split: split, from: from}
	spec := c.spec()
	if from != nil {
		spec.Base = from.Base
	}
	defer progress.end()
	spec.Progress = progress.read
	if err := spec.Validate(); err != nil {
		return nil, flagError(err)
	}
	if err := checkSpans(g.ctx, c.Table, c.Time, c.TimeUnit, c.spans()...); err != nil {
		return nil, err
	}
	if in.table, err = train.ReadDataset(g.ctx, c.Table, spec); err != nil {
		return nil, err
	}
	in.digest, in.rows, in.positives = in.table.Digest(), in.table.Rows(), in.table.Positives()
	if c.Valid != "" {
		if in.valid, err = in.table.ReadLike(g.ctx, c.Valid); err != nil {
			return nil, err
		}
		if err := c.checkValid(in); err != nil {
			return nil, err
		}
	}
	if err := c.readHeld(g.ctx, progress, in); err != nil {
		return nil, err
	}
	share, err := c.slice()
	if err != nil {
		return nil, err
	}
	if split != nil || share != 0 || c.Members > 1 || c.HalfLife.n > 0 {
		if in.keys, err = c.keys(g.ctx, c.Table, in.table); err != nil {
			return nil, err
		}
	}
	return in, c.hold(in)
}

// fit trains the model that is written.
func (c *trainCmd) fit(g *globals, progress *trainProgress, in *trainInput, p train.Params) (*fitted, error) {
	if err := p.ValidateFor(in.table); err != nil {
		return nil, flagError(err)
	}
	if err := c.bag().ValidateFor(in.table, in.keys); err != nil {
		return nil, flagError(err)
	}
	rows, err := c.newest(in)
	if err != nil {
		return nil, err
	}
	progress.begin()
	if in.split == nil && !c.searching() {
		return c.finish(g, progress, in, &fitted{}, rows, p)
	}
	cv, how, err := c.crossValidation(in)
	if err != nil {
		return nil, err
	}
	cv.Bag(c.bag(), in.keys)
	switch {
	case c.searching():
		cv.Bag(c.sampling(), in.keys)
		return c.fitSearched(g, progress, in, cv, how, rows, p)
	case in.split.Kind == train.ByTime:
		return c.fitHoldout(g, progress, in, cv, how, p)
	}
	return c.fitFolds(g, progress, in, cv, how, rows, p)
}

// crossValidation returns what judges parameters, also in words.
func (c *trainCmd) crossValidation(in *trainInput) (*train.CrossValidation, string, error) {
	if in.split == nil {
		name := filepath.Base(c.Valid)
		return train.NewCrossValidationOn(in.table, in.valid, name), "table " + name, nil
	}
	folds, err := in.split.Cut(in.table, in.keys, in.table.AllRows())
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", c.Table, flagError(err))
	}
	if in.split.Kind != train.ByGroup {
		for i := range folds {
			folds[i].Name = c.Time + " " + folds[i].Name
		}
	}
	return train.NewCrossValidation(in.table, folds), c.describeSplit(in.split), nil
}

// newest returns the rows that the model is trained on once its parameters are
// known. That they can teach is found out before anything is trained.
func (c *trainCmd) newest(in *trainInput) ([]int, error) {
	rows := in.table.AllRows()
	if in.split == nil || in.split.Kind != train.Prequential {
		return rows, nil
	}
	rows = in.split.Newest(in.keys, rows)
	if n, others := in.table.Classes(rows); train.Objective(c.Objective) == train.Binary && (n == 0 || others == 0) {
		return nil, fmt.Errorf("the model is trained on the newest training window, the last %s of %s, and %d of its %d rows are positive; both classes are needed: lengthen --train-window",
			c.textSpan(in.split.TrainWindow), c.Time, n, n+others)
	}
	return rows, nil
}

// take returns rows of the table to train on and lets go of the table, so that
// memory holds what is trained on only. The order of the rows is kept.
func (in *trainInput) take(rows []int) *train.Dataset {
	d := in.table
	in.table = nil
	if len(rows) == d.Rows() {
		return d
	}
	d = d.Subset(rows)
	runtime.GC()
	return d
}

// fitHoldout trains on the earlier rows and judges by the last: the model that
// is judged is the one that is written.
func (c *trainCmd) fitHoldout(g *globals, progress *trainProgress, in *trainInput, cv *train.CrossValidation, how string, p train.Params) (*fitted, error) {
	d, valid := cv.Data(0)
	name, keys := cv.Name(0), cv.Keys(0)
	in.unseen = make([]bool, in.rows)
	for _, row := range cv.Judges(0) {
		if in.place != nil {
			row = in.place[row]
		}
		in.unseen[row] = true
	}
	in.table, cv = nil, nil // only its parts are needed
	runtime.GC()
	r, err := c.bag().Train(g.ctx, d, valid, keys, p, progress.tree)
	if err != nil {
		return nil, err
	}
	judged, err := c.judgeOutOfBag(d, keys, r)
	if err != nil {
		return nil, err
	}
	folds := []train.FoldResult{train.NewFoldResult(name, d, valid, r)}
	progress.fold(folds, 1)
	return &fitted{Result: r, rows: d.Rows(), leaves: p.Leaves, took: progress.took(), trials: trialsOf(how, folds), leftOut: judged}, nil
}

// fitFolds judges the parameters fold by fold and trains a model of its own.
func (c *trainCmd) fitFolds(g *globals, progress *trainProgress, in *trainInput, cv *train.CrossValidation, how string, rows []int, p train.Params) (*fitted, error) {
	n := cv.Folds()
	came := c.recalibrates(in, cv)
	folds, err := cv.Run(g.ctx, p,
		func(fold int, at train.Progress) { progress.foldTree(fold+1, n, p.EarlyStopping > 0, at) },
		func(done []train.FoldResult) bool { progress.fold(done, n); return true })
	if err != nil && g.ctx.Err() == nil {
		return nil, err
	}
	if len(folds) == 0 {
		return nil, fmt.Errorf("no fold was finished: %w", err)
	}
	f := &fitted{trials: trialsOf(how, folds), came: came}
	if err != nil {
		f.trials.Ended = interrupted
	}
	if p.EarlyStopping > 0 {
		if p.Trees, err = train.TreesFor(folds, len(rows), p.Trees); err != nil {
			return nil, err
		}
		p.EarlyStopping = 0
	}
	return c.finish(g, progress, in, f, rows, p)
}

// fitSearched searches for parameters and trains a model with the best.
func (c *trainCmd) fitSearched(g *globals, progress *trainProgress, in *trainInput, cv *train.CrossValidation, how string, rows []int, p train.Params) (*fitted, error) {
	p, found, err := c.search(g, progress, cv, p, len(rows))
	if err != nil {
		return nil, err
	}
	f := &fitted{trials: trialsOf(how, found.Best.Folds), search: found}
	searchedIn(f.trials, found, p)
	return c.finish(g, progress, in, f, rows, p)
}

// finish trains the model that is written, also after Ctrl-C has ended what
// judges its parameters.
func (c *trainCmd) finish(g *globals, progress *trainProgress, in *trainInput, f *fitted, rows []int, p train.Params) (_ *fitted, err error) {
	ctx := g.ctx
	valid := in.valid
	if f.trials != nil {
		var stop func()
		if ctx, stop = goOn(g.ctx); ctx != g.ctx {
			progress.say("interrupted; training the model with what is known by now, Ctrl-C ends that after the tree at hand")
		}
		defer stop()
		valid, in.valid = nil, nil // what judged is not asked again
		progress.begin()
	}
	d, keys := in.take(rows), in.keys.Subset(rows)
	f.Result, err = c.bag().Train(ctx, d, valid, keys, p, progress.tree)
	f.rows, f.leaves, f.took = len(rows), p.Leaves, progress.took()
	if err == nil {
		f.leftOut, err = c.judgeOutOfBag(d, keys, f.Result)
	}
	return f, err
}
