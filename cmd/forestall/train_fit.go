package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
)

// trainInput is what a model is made from.
type trainInput struct {
	table *train.Dataset
	valid *train.Dataset // nil: no table to validate on
	split *train.Split   // nil: no rows of the table are held out to judge
	keys  train.Keys
	rows  []int // of the table, without those to calibrate on
	held  held  // to calibrate on
	from  *base // nil: no model to go on from
}

// fitted is a trained model and what is known of how good it is.
type fitted struct {
	*train.Result
	rows   int           // that it was trained on
	leaves int           // of a tree, at most
	took   time.Duration // to train it, without what judged
	trials *model.Trials
	search *train.SearchResult
}

// check finds out what is wrong with the flags before anything is read.
func (c *trainCmd) check() (*train.Split, error) {
	if err := c.checkSearch(); err != nil {
		return nil, err
	}
	if info, err := os.Stat(c.Out); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("--out %s: it is a file; name a directory", c.Out)
	}
	if err := c.checkReport(); err != nil {
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
	case split == nil && c.Embargo != 0 && c.Calibrate == "":
		return nil, errors.New("--embargo needs rows held out: give --holdout, --train-window and --test-window, or --calibrate with a share")
	}
	return split, c.checkCalibrate()
}

// read reads the tables and sets rows apart.
func (c *trainCmd) read(g *globals, split *train.Split, from *base) (in *trainInput, err error) {
	in = &trainInput{split: split, from: from}
	spec := c.spec()
	if from != nil {
		spec.Base = from.Base
	}
	progress := newReadingProgress(g, c.JSON)
	defer progress.end()
	spec.Progress = progress.report
	if in.table, err = train.ReadDataset(g.ctx, c.Table, spec); err != nil {
		return nil, err
	}
	if c.Valid != "" {
		if in.valid, err = in.table.ReadLike(g.ctx, c.Valid); err != nil {
			return nil, err
		}
	}
	if err := c.checkCalibrateFile(in.table); err != nil {
		return nil, err
	}
	share, err := c.slice()
	if err != nil {
		return nil, err
	}
	if split != nil || share != 0 {
		if in.keys, err = c.keys(g.ctx, c.Table, in.table); err != nil {
			return nil, err
		}
	}
	in.rows, in.held, err = c.hold(in)
	return in, err
}

// fit trains the model that is written.
func (c *trainCmd) fit(g *globals, in *trainInput, p train.Params) (*fitted, error) {
	progress := newTrainProgress(g, c.JSON)
	defer progress.end()
	if in.split == nil && !c.searching() {
		return c.finish(g, progress, in, &fitted{}, in.rows, p)
	}
	cv, how, err := c.crossValidation(in)
	if err != nil {
		return nil, err
	}
	switch {
	case c.searching():
		return c.fitSearched(g, progress, in, cv, how, p)
	case in.split.Kind == train.ByTime:
		return c.fitHoldout(g, progress, cv, how, p)
	}
	return c.fitFolds(g, progress, in, cv, how, p)
}

// crossValidation returns what judges parameters, also in words.
func (c *trainCmd) crossValidation(in *trainInput) (*train.CrossValidation, string, error) {
	if in.split == nil {
		name := filepath.Base(c.Valid)
		return train.NewCrossValidationOn(in.subset(in.rows), in.valid, name), "table " + name, nil
	}
	folds, err := in.split.Cut(in.table, in.keys, in.rows)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", c.Table, err)
	}
	if in.split.Kind != train.ByGroup {
		for i := range folds {
			folds[i].Name = c.Time + " " + folds[i].Name
		}
	}
	return train.NewCrossValidation(in.table, folds), c.describeSplit(in.split), nil
}

// subset is the table where all of its rows are meant.
func (in *trainInput) subset(rows []int) *train.Dataset {
	if len(rows) == in.table.Rows() {
		return in.table
	}
	return in.table.Subset(rows)
}

// fitHoldout trains on the earlier rows and judges by the last: the model that
// is judged is the one that is written.
func (c *trainCmd) fitHoldout(g *globals, progress *trainProgress, cv *train.CrossValidation, how string, p train.Params) (*fitted, error) {
	d, valid := cv.Data(0)
	started := g.now()
	r, err := train.Train(g.ctx, d, valid, p, progress.report)
	if err != nil {
		return nil, err
	}
	fold := cv.Result(0, d, valid, r)
	progress.judged(1, fold)
	return &fitted{Result: r, rows: d.Rows(), leaves: p.Leaves, took: g.now().Sub(started), trials: trialsOf(how, []train.FoldResult{fold})}, nil
}

// fitFolds judges the parameters fold by fold and trains a model of its own.
func (c *trainCmd) fitFolds(g *globals, progress *trainProgress, in *trainInput, cv *train.CrossValidation, how string, p train.Params) (*fitted, error) {
	folds, err := cv.Run(g.ctx, p,
		func(fold int, at train.Progress) { progress.folding(fold+1, cv.Folds(), at) },
		func(done []train.FoldResult) bool { progress.judged(len(done), done[len(done)-1]); return true })
	if err != nil && g.ctx.Err() == nil {
		return nil, err
	}
	if len(folds) == 0 {
		return nil, fmt.Errorf("no fold was finished: %w", err)
	}
	f := &fitted{trials: trialsOf(how, folds)}
	if err != nil {
		f.trials.Ended = interrupted
	}
	rows := in.split.Newest(in.keys, in.rows)
	if p.EarlyStopping > 0 {
		if p.Trees, err = train.TreesFor(folds, len(rows), p.Trees); err != nil {
			return nil, err
		}
		p.EarlyStopping = 0
	}
	return c.finish(g, progress, in, f, rows, p)
}

// fitSearched searches for parameters and trains a model with the best.
func (c *trainCmd) fitSearched(g *globals, progress *trainProgress, in *trainInput, cv *train.CrossValidation, how string, p train.Params) (*fitted, error) {
	rows := in.rows
	if in.split != nil {
		rows = in.split.Newest(in.keys, rows)
	}
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
		progress.started, valid = progress.now(), nil // what judged is not asked again
	}
	f.Result, err = train.Train(ctx, in.subset(rows), valid, p, progress.report)
	f.rows, f.leaves, f.took = len(rows), p.Leaves, progress.now().Sub(progress.started)
	return f, err
}
