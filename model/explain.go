package model

import (
	"fmt"
	"math/bits"
)

// Contributions writes to dst what each feature of the row adds to its raw
// score, and last, at dst[NumFeatures()], the bias: the mean score over the
// training rows. They sum to [Ensemble.Raw]. They are the exact path-dependent
// Shapley values of Lundberg, Erion, Lee 2018, "Consistent Individualized
// Feature Attribution for Tree Ensembles", and LightGBM's predict_contrib. The
// weight of a node is the sum of its leaves' counts; a model without them gives
// [ErrNoCounts]. The first call prepares the ensemble for the others.
func (e *Ensemble) Contributions(row, dst []float64) error {
	if len(row) != len(e.features) {
		return e.errWidth(len(row))
	}
	if len(dst) != len(e.features)+1 {
		return fmt.Errorf("%w: the destination has %d, %d contributions and a bias are to be written", ErrWidth, len(dst), len(e.features))
	}
	if e.cover == nil {
		return ErrNoCounts
	}
	e.planned.Do(func() { e.plan = newPlan(e) })
	x, ok := e.explainers.Get().(*explainer)
	if !ok {
		x = newExplainer(e.plan, e.program.columns())
	}
	e.program.keys(row, x.keys)
	clear(dst)
	for i := range e.plan.trees {
		x.explain(&e.plan.trees[i], dst)
	}
	dst[len(e.features)] = e.plan.bias
	e.explainers.Put(x)
	return nil
}

// explainer explains one row. What follows is why it is right.
//
// Let every feature be known independently with probability t, and let a split
// on an unknown feature send the row to both sides, in the shares of the training
// rows. The expected score is a polynomial in the features' probabilities, and
// the Shapley value of a feature is the integral over t from 0 to 1 of its
// derivative (Owen 1972, "Multilinear Extensions of Games"). A Gauss quadrature
// gives that integral exactly. For each of its points:
//
// A leaf counts with the product over the features on the way to it of
// t x one + (1-t) x share, where one is 1 if the row passes all of the feature's
// splits there, else 0, and share is that of the training rows that do. The
// product down to a node is its reach; the sum over its leaves, each with the
// product from the node on, its value. Both take one pass over the tree (the
// idea of Linear TreeSHAP: Yu, Bifet, Read, Xu 2022).
//
// Let a split send the row to the near side and the share s of the rows to the
// far side. If the row passes the splits above on the same feature, with share z
// (1 if there are none) and factor f = t + (1-t) z (1 if there are none), then
//
//	far = s z (1-t) / f
//	reach(far side) = reach x far, reach(near side) = reach x (1 - far)
//	value = value(near side) - far x (value(near side) - value(far side))
//
// and the derivative grows by reach x far x (value(near side) - value(far
// side)) / ((1-t) f). If it does not pass them, far = s and the derivative
// does not change: the split above counts both sides already.
type explainer struct {
	keys   []uint64
	passes []float64 // by node: 1 if the row passes all splits of the last feature on the way there, else 0
	near   []uint32  // by branch: 1 if the near side is the right one
	reach  []vector  // by node
	value  []vector  // by node
	far    []vector  // by branch that has one above it
	slope  []vector  // likewise: by what the reach and the difference of the sides count in the integral
}

func newExplainer(p *plan, columns int) *explainer {
	nodes, branches := 2*p.leaves-1, p.leaves-1
	x := &explainer{
		keys:   make([]uint64, columns),
		passes: make([]float64, nodes),
		near:   make([]uint32, branches),
		reach:  make([]vector, nodes),
		value:  make([]vector, nodes),
		far:    make([]vector, branches),
		slope:  make([]vector, branches),
	}
	x.passes[0] = 1
	x.reach[0] = all(1)
	return x
}

// explain adds the contributions of one tree.
func (x *explainer) explain(t *treePlan, dst []float64) {
	for i := range t.branches {
		s := &t.branches[i]
		near := x.side(s)
		x.near[i] = near
		x.passes[s.left+near] = x.passes[s.above]
		x.passes[s.left+1-near] = 0
	}
	for _, l := range t.ends {
		x.value[l.node] = all(l.value)
	}
	for i := range t.points {
		q := &t.points[i]
		x.down(t.branches, q)
		x.pairs(t.pairs, q, dst)
		x.up(t.branches, q, dst)
	}
}

// side returns 0 if the row goes left, 1 if right.
func (x *explainer) side(s *branch) uint32 {
	_, right := bits.Sub64(s.limit, x.keys[s.col]&s.mask, 0)
	return uint32(right) & 1
}

// first returns the share that goes to the far side at a first split on its
// feature, and by what the reach and the difference between the sides count in
// the integral.
func (q *points) first(share float64) (far, slope vector) {
	return q.rest.times(share), q.weight.times(share)
}

// again is first where the feature was split above.
func (q *points) again(share, passes, known float64) (far, slope vector) {
	f := q.t.times(passes).add(q.rest.times(known)).inverse()
	return q.rest.times(known * share).mul(f), q.weight.times(passes * known * share).mul(f).mul(f)
}

func (x *explainer) down(branches []branch, q *points) {
	for i := range branches {
		s := &branches[i]
		near := x.near[i] & 1
		share := s.share[1-near]
		from := x.reach[s.node]
		far := q.rest.times(share)
		if s.above != 0 {
			far, x.slope[i] = q.again(share, x.passes[s.above], s.known)
			x.far[i] = far
		}
		far = far.mul(from)
		x.reach[s.left+1-near] = far
		x.reach[s.left+near] = from.sub(far)
	}
}

func (x *explainer) pairs(pairs []pair, q *points, dst []float64) {
	for i := range pairs {
		s := &pairs[i]
		near := x.side(&s.branch)
		share := s.share[1-near]
		far, slope := q.first(share)
		if s.above != 0 {
			far, slope = q.again(share, x.passes[s.above], s.known)
		}
		value := s.leaves[near]
		d := value - s.leaves[1-near]
		dst[s.feature] += d * slope.mul(x.reach[s.node]).sum()
		x.value[s.node] = all(value).sub(far.times(d))
	}
}

// up integrates.
func (x *explainer) up(branches []branch, q *points, dst []float64) {
	for i := len(branches) - 1; i >= 0; i-- {
		s := &branches[i]
		near := x.near[i] & 1
		far, slope := q.first(s.share[1-near])
		if s.above != 0 {
			far, slope = x.far[i], x.slope[i]
		}
		value := x.value[s.left+near]
		d := value.sub(x.value[s.left+1-near])
		x.value[s.node] = value.sub(d.mul(far))
		dst[s.feature] += d.mul(slope).mul(x.reach[s.node]).sum()
	}
}
