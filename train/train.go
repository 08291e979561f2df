package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/stratoswarm/forestall/model"
)

// Result is a trained ensemble, whole however the training ended.
type Result struct {
	Features  []string
	Objective string // as the model's text names it: "binary sigmoid:1" or "regression"
	Trees     []model.Tree
	Base      int // how many of Trees are those of the model that was gone on from
	Monotone  map[string]int

	// Scores holds the raw score of each training row, the sum of its leaves in
	// the order of the trees; of members the mean.
	Scores []float64
	Valid  []float64 // raw score of each row of the validation set; nil without one

	// Intercept, added to the raw scores, makes the mean probability of the
	// training rows their share of positives, each row counting by its own weight
	// but not by PosWeight. It is small where the trees have come all the way from
	// Start and nothing weighs the positives. 0 for a regression.
	Intercept float64

	Metric      Metric  // that the validation set was judged by; "" without one
	Best        float64 // its value after the last of Trees
	Stopped     bool    // early: the validation set got no better
	Full        bool    // with more trees the text could be larger than [model.MaxBytes]
	Interrupted bool    // the context ended before the last tree

	Bagged *Bagged // nil: one training, not members
}

// Progress is what is known after a tree.
type Progress struct {
	Tree, Trees int // this one, from 1, and how many at most
	Leaves      int
	Metric      Metric  // "" without a validation set
	Valid       float64 // its value on the validation set after this tree

	Member, Members int // which of how many is trained, from 1; 0: one training, not members
}

// Train fits trees to a dataset. valid, which may be nil, must have been read
// by [Dataset.ReadLike] of the same dataset; with it and EarlyStopping the
// training ends when that many trees have not improved the metric, and the
// trees after the best are dropped. report, which may be nil, is called after
// each tree.
//
// The same data, parameters and seed give the same trees, bit by bit, for any
// number of threads. When the context ends, training stops after the tree at
// hand and what there is is returned without an error, unless it is nothing.
func Train(ctx context.Context, d, valid *Dataset, p Params, report func(Progress)) (*Result, error) {
	return trainBeside(ctx, d, valid, nil, newRoom(d.features), p, report)
}

// scored are rows that the trees score while they are grown, without a say in
// the training.
type scored struct {
	d     *Dataset  // in the bins of the training set
	score []float64 // raw, by the trees of the result
	best  []float64 // the scores after the best tree, where training may go back to it
}

// trainBeside is [Train] with others that are scored beside it, of as many trees as
// there is room for.
func trainBeside(ctx context.Context, d, valid *Dataset, others []*scored, has *room, p Params, report func(Progress)) (*Result, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if err := p.ValidateFor(d); err != nil {
		return nil, err
	}
	if valid != nil && !slices.Equal(valid.binnings, d.binnings) {
		return nil, errors.New("the validation set was not read into the bins of the training set")
	}
	if valid == nil && p.EarlyStopping > 0 {
		return nil, errors.New("early stopping needs a validation set")
	}
	b := newBooster(d, valid, others, p)
	b.room = has
	grown := 0
	for tree := range p.Trees {
		if ctx.Err() != nil {
			b.result.Interrupted = true
			break
		}
		b.step()
		grown++
		if report != nil {
			report(b.progress(tree))
		}
		if b.stop() {
			b.result.Stopped = true
			break
		}
		if b.room.full(b.result.Trees) && tree+1 < p.Trees {
			b.result.Full = true
			break
		}
	}
	if grown == 0 {
		return nil, fmt.Errorf("train: no tree was finished: %w", context.Cause(ctx))
	}
	b.finish()
	return b.result, nil
}

// treeStream tells a tree's random numbers from others of its seed.
const treeStream = 0x7472656573 << 16

// booster adds tree after tree to the scores of the rows.
type booster struct {
	d, valid  *Dataset
	p         *Params
	result    *Result
	random    *rand.PCG  // of the tree at hand
	rng       *rand.Rand // that draws from random
	gradients *gradients
	grower    *grower
	score     []float64
	outside   []uint16 // leaves of the rows that the last tree was not grown on
	judge     *judge   // nil without a validation set
	others    []*scored
	room      *room
	best      []float64 // the scores after the best tree, where training may go back to it
}

func newBooster(d, valid *Dataset, others []*scored, p Params) *booster {
	r := &Result{Features: d.Features(), Objective: string(d.spec.Objective), Monotone: p.Monotone}
	if d.spec.Objective == Binary {
		r.Objective = "binary sigmoid:1"
	}
	b := &booster{
		d: d, valid: valid, p: &p, result: r, others: others,
		gradients: newGradients(d.rows),
		grower:    newGrower(d, &p),
		score:     make([]float64, d.rows),
	}
	if base := d.spec.Base; base != nil {
		copy(b.score, d.start)
		r.Trees = slices.Clone(base.trees)
		r.Base = len(r.Trees)
	} else {
		start := initialScore(d, &p)
		for i := range b.score {
			b.score[i] = start
		}
	}
	for _, o := range others {
		o.score = make([]float64, o.d.rows)
		copy(o.score, o.d.start)
		o.best = slices.Clone(o.score)
	}
	if valid != nil {
		b.judge = newJudge(valid, &p)
		r.Metric = b.judge.metric
		if r.Base > 0 {
			b.judge.begin(r.Base)
			b.judge.keep()
			b.best = slices.Clone(b.score)
		}
	}
	return b
}

// draw begins the random numbers of a tree.
func (b *booster) draw(seed, stream uint64) {
	b.random = rand.NewPCG(seed, stream)
	b.rng = rand.New(b.random)
}

// step grows one tree and adds it to the scores.
func (b *booster) step() {
	// Counted with those of a base, so that two halves are one whole.
	tree := len(b.result.Trees)
	b.draw(b.p.Seed, treeStream+uint64(tree))
	b.gradients.derive(b.d, b.p, b.score)
	b.sampleFeatures()
	n := b.sampleRows(tree)
	b.gradients.pack(b.p, tree)
	b.grower.grow(b.gradients, n)
	b.settle(n)

	first := tree == 0
	t := b.tree(first)
	values := make([]float64, len(t.Leaves))
	for i := range t.Leaves {
		values[i] = t.Leaves[i].Value
	}
	// The first tree's leaves hold the initial score, which the rows have
	// already: from then on a score is the sum of a row's leaves, bit by bit.
	b.apply(b.d, b.score, values, first, n)
	for _, o := range b.others {
		b.apply(o.d, o.score, values, first, 0)
	}
	if b.judge != nil {
		b.apply(b.valid, b.judge.score, values, first, 0)
		if b.judge.add(len(b.result.Trees)) && b.p.EarlyStopping > 0 {
			b.best = append(b.best[:0], b.score...)
			b.judge.keep()
			for _, o := range b.others {
				o.best = append(o.best[:0], o.score...)
			}
		}
	}
	b.result.Trees = append(b.result.Trees, t)
}

// apply adds the leaves' values to the rows' scores. For the grower's own data, grown
// on some rows, it knows the leaf of each; for other data, grown on none of its rows,
// it asks the tree.
func (b *booster) apply(d *Dataset, score, values []float64, first bool, grown int) {
	g := b.grower
	if first {
		clear(score)
	}
	if grown == 0 {
		route := g.router()
		parallel(g.threads, (d.rows+gradientBlock-1)/gradientBlock, func(_, block int) {
			var rows [gradientBlock]uint32
			var leaves [gradientBlock]uint16
			first := block * gradientBlock
			n := min(gradientBlock, d.rows-first)
			for i := range n {
				rows[i] = uint32(first + i)
			}
			route.leaves(d, rows[:n], leaves[:n])
			for i, leaf := range leaves[:n] {
				score[first+i] += values[leaf]
			}
		})
		return
	}
	parallel(g.threads, len(g.leaves), func(_, i int) {
		for _, row := range g.rows[g.leaves[i].begin:g.leaves[i].end] {
			score[row] += values[i]
		}
	})
	outside := g.rows[grown:]
	parallel(g.threads, (len(outside)+gradientBlock-1)/gradientBlock, func(_, block int) {
		for i := block * gradientBlock; i < min((block+1)*gradientBlock, len(outside)); i++ {
			score[outside[i]] += values[b.outside[i]]
		}
	})
}

func (b *booster) progress(tree int) Progress {
	p := Progress{
		Tree: tree + 1, Trees: b.p.Trees, Leaves: len(b.grower.leaves),
		Metric: b.result.Metric,
	}
	if b.judge != nil {
		p.Valid = b.judge.last
	}
	return p
}

func (b *booster) stop() bool {
	return b.judge != nil && b.p.EarlyStopping > 0 && len(b.result.Trees)-b.judge.bestTrees >= b.p.EarlyStopping
}

// finish drops the trees after the best if the training was to stop early.
func (b *booster) finish() {
	r := b.result
	r.Scores = b.score
	if b.judge != nil {
		r.Best, r.Valid = b.judge.last, b.judge.score
	}
	if b.judge != nil && b.p.EarlyStopping > 0 {
		r.Best, r.Trees, r.Scores, r.Valid = b.judge.best, r.Trees[:b.judge.bestTrees], b.best, b.judge.bestScore
		for _, o := range b.others {
			o.score = o.best
		}
	}
	if b.d.spec.Objective == Binary {
		r.Intercept = intercept(b.d, r.Scores, b.grower.threads)
	}
}

// Splits returns the number of splits of the new trees. Without any the model
// says the same of every row that its base says.
func (r *Result) Splits() (n int) {
	for i := r.Base; i < len(r.Trees); i++ {
		n += len(r.Trees[i].Splits)
	}
	return n
}

// MemberTrees returns how many new trees there are of each member, in the mean;
// without members how many there are.
func (r *Result) MemberTrees() int {
	n := len(r.Trees) - r.Base
	if r.Bagged == nil {
		return n
	}
	return int(math.Round(float64(n) / float64(len(r.Bagged.Members))))
}

// Text returns the model in LightGBM's text format.
func (r *Result) Text() ([]byte, error) {
	var buf bytes.Buffer
	if err := model.WriteEnsemble(&buf, r.Features, r.Objective, r.Trees); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
