package train

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// CrossValidation judges trainings fold by fold.
type CrossValidation struct {
	train, valid *Dataset
	folds        []Fold
	bag          Bag
	keys         Keys // of the rows of train

	// Judged, which may be nil, is called by Run with each fold's training; it may
	// not keep the datasets.
	Judged func(fold int, train, valid *Dataset, r *Result) error
}

// Bag has the folds trained as a bag says; k places the rows of the dataset.
func (c *CrossValidation) Bag(b Bag, k Keys) { c.bag, c.keys = b, k }

// NewCrossValidation judges trainings of d on folds that a [Split] cut from it.
func NewCrossValidation(d *Dataset, folds []Fold) *CrossValidation {
	return &CrossValidation{train: d, folds: folds}
}

// NewCrossValidationOn judges trainings of one fold: d is trained on, and another dataset,
// which [Dataset.ReadLike] read, judges.
func NewCrossValidationOn(d, valid *Dataset, name string) *CrossValidation {
	return &CrossValidation{train: d, valid: valid, folds: []Fold{{Name: name}}}
}

// Folds returns how many there are.
func (c *CrossValidation) Folds() int { return len(c.folds) }

// Keys returns the keys of the rows that a fold trains on.
func (c *CrossValidation) Keys(fold int) Keys {
	if c.valid != nil {
		return c.keys
	}
	return c.keys.Subset(c.folds[fold].Train)
}

// JudgeKeys returns the keys of the rows that judge a fold; none where those of
// another dataset do.
func (c *CrossValidation) JudgeKeys(fold int) Keys { return c.keys.Subset(c.folds[fold].Valid) }

// Data returns what a fold trains on and what judges it.
func (c *CrossValidation) Data(fold int) (train, valid *Dataset) {
	if c.valid != nil {
		return c.train, c.valid
	}
	f := &c.folds[fold]
	return c.train.Subset(f.Train), c.train.Subset(f.Valid)
}

// FoldResult is what a fold came to.
type FoldResult struct {
	Name                      string
	TrainRows, TrainPositives int
	Rows, Positives           int // that judged
	Trees                     int // new ones, of each member; with early stopping the best number
	Metric                    Metric
	Value                     float64 // of the metric
}

// Name returns in words what judges a fold.
func (c *CrossValidation) Name(fold int) string { return c.folds[fold].Name }

// Judges returns the rows of the dataset that judge a fold; nil where those of
// another do.
func (c *CrossValidation) Judges(fold int) []int { return c.folds[fold].Valid }

// NewFoldResult sums up a fold's training.
func NewFoldResult(name string, train, valid *Dataset, r *Result) FoldResult {
	return FoldResult{
		Name: name, TrainRows: train.rows, TrainPositives: train.Positives(),
		Rows: valid.rows, Positives: valid.Positives(),
		Trees: r.MemberTrees(), Metric: r.Metric, Value: r.Best,
	}
}

// Run trains and judges fold after fold. report, which may be nil, is called
// after each tree with the number of the fold from 0; done, which may be nil,
// after each fold: when it returns false the rest is left out. When the context
// ends, the fold at hand is dropped, and the folds before it are returned with
// the context's cause.
//
// With early stopping a fold's rows choose the number of trees and judge them
// too, so its value is a little too good.
func (c *CrossValidation) Run(ctx context.Context, p Params, report func(fold int, p Progress), done func([]FoldResult) bool) ([]FoldResult, error) {
	var results []FoldResult
	for i := range c.folds {
		if ctx.Err() != nil {
			return results, context.Cause(ctx)
		}
		train, valid := c.Data(i)
		r, err := c.bag.Train(ctx, train, valid, c.Keys(i), p, func(p Progress) {
			if report != nil {
				report(i, p)
			}
		})
		switch {
		case ctx.Err() != nil && (err != nil || r.Interrupted):
			return results, context.Cause(ctx)
		case err != nil:
			return results, fmt.Errorf("fold %d (%s): %w", i+1, c.folds[i].Name, err)
		}
		if c.Judged != nil {
			if err := c.Judged(i, train, valid, r); err != nil {
				return results, fmt.Errorf("fold %d (%s): %w", i+1, c.folds[i].Name, err)
			}
		}
		results = append(results, NewFoldResult(c.Name(i), train, valid, r))
		if done != nil && !done(results) {
			break
		}
	}
	return results, nil
}

// MeanValue returns the mean of the folds' values and their standard deviation,
// NaN where they are too few for one.
func MeanValue(folds []FoldResult) (mean, spread float64) {
	n := float64(len(folds))
	for _, f := range folds {
		mean += f.Value
	}
	mean /= n
	if len(folds) < 2 {
		return mean, math.NaN()
	}
	for _, f := range folds {
		spread += (f.Value - mean) * (f.Value - mean)
	}
	return mean, math.Sqrt(spread / (n - 1))
}

// TreesFor returns how many trees a model of so many rows should have, given
// how many were best for the folds: their mean, larger in the proportion in
// which the model has more rows than a fold had, by a quarter at most. More
// rows bear more trees, but no more than a little is known of that.
func TreesFor(folds []FoldResult, rows, most int) (int, error) {
	if len(folds) == 0 {
		return 0, errors.New("no fold was finished")
	}
	var trees, trained float64
	for _, f := range folds {
		trees += float64(f.Trees)
		trained += float64(f.TrainRows)
	}
	n := float64(len(folds))
	scale := min(max(float64(rows)*n/trained, 1), 1.25)
	return min(max(int(math.Round(trees/n*scale)), 1), most), nil
}
