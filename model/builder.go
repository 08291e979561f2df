package model

import (
	"errors"
	"fmt"
	"math"
)

// builder flattens checked trees into an ensemble.
type builder struct {
	e      *Ensemble
	counts bool    // every leaf so far has a count
	bound  float64 // of the absolute raw score
}

func newBuilder(features []string, objective string, sigmoid float64) *builder {
	return &builder{e: &Ensemble{features: features, objective: objective, sigmoid: sigmoid}, counts: true}
}

// add checks t and appends it.
func (b *builder) add(t *Tree) error {
	e := b.e
	if err := t.check(len(e.features)); err != nil {
		return err
	}
	if len(e.nodes)+2*len(t.Leaves) > math.MaxInt32 {
		return errors.New("the model has more than 2^31 nodes")
	}
	root := uint32(len(e.nodes))
	e.roots = append(e.roots, root)
	e.addGain(t)
	first := 0
	if len(t.Splits) == 0 {
		first = ^0
	}
	e.nodes = append(e.nodes, node{})
	e.cover = append(e.cover, 0)
	b.place(t, first, root)

	largest := 0.0
	for _, l := range t.Leaves {
		largest = max(largest, math.Abs(l.Value))
		b.counts = b.counts && l.Count > 0
	}
	if b.bound += largest; math.IsInf(b.bound, 0) {
		return errors.New("the leaves' values add up to infinity")
	}
	return nil
}

// place writes the subtree of child, a split or a negative leaf, to node at and
// appends what is below it. It returns the training rows in the subtree.
func (b *builder) place(t *Tree, child int, at uint32) float64 {
	e := b.e
	if child < 0 {
		l := t.Leaves[^child]
		e.nodes[at] = node{threshold: l.Value, left: at, meta: flagLeaf}
		e.cover[at] = float64(l.Count)
		return e.cover[at]
	}
	s := t.Splits[child]
	left := uint32(len(e.nodes))
	n := node{threshold: s.Threshold, left: left, meta: uint32(s.Feature)<<featureShift | flags(s)}
	if s.Category != nil {
		n.threshold = float64(len(e.sets))
		e.sets = append(e.sets, s.Category)
	}
	e.nodes[at] = n
	e.nodes = append(e.nodes, node{}, node{})
	e.cover = append(e.cover, 0, 0)
	e.cover[at] = b.place(t, s.Left, left) + b.place(t, s.Right, left+1)
	return e.cover[at]
}

func flags(s Split) (f uint32) {
	if s.Category != nil {
		return flagSet
	}
	switch s.Missing {
	case MissingNone:
		return flagNaNZero
	case MissingZero:
		f |= flagZero
	}
	if s.DefaultLeft {
		f |= flagNaNLeft
	}
	return f
}

func (b *builder) finish() *Ensemble {
	e := b.e
	if !b.counts {
		e.cover = nil
	}
	e.compile()
	return e
}

// NewEnsemble builds an ensemble from trees, as [ReadEnsemble] would from their
// text. The error wraps [ErrFormat] and names the tree.
func NewEnsemble(features []string, objectiveText string, trees []Tree) (*Ensemble, error) {
	name, sigmoid, err := objective(objectiveText)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if err := checkFeatures(features); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	b := newBuilder(features, name, sigmoid)
	for i := range trees {
		if err := b.add(&trees[i]); err != nil {
			return nil, fmt.Errorf("%w: tree %d: %w", ErrFormat, i, err)
		}
	}
	return b.finish(), nil
}
