package model

import (
	"fmt"
	"slices"
	"sync"
)

// Ensemble is an immutable list of trees over named features. Its methods may
// be called concurrently.
type Ensemble struct {
	features  []string
	objective string
	sigmoid   float64 // slope of the logistic link; 0: no classifier

	// The trees as they were read. program and plan are made from them.
	nodes []node
	roots []uint32
	sets  [][]uint32
	cover []float64 // training rows per node; nil: not known
	gain  []float64 // per feature, of its splits

	program program // what scores rows
	scratch sync.Pool

	planned    sync.Once
	plan       *plan // what explains scores; made when the first one is
	explainers sync.Pool
}

// node is an inner node or a leaf of a tree. Siblings are adjacent; children
// come after their parent, a tree's nodes before those of the next.
type node struct {
	threshold float64 // a leaf's value; a categorical node's index into sets
	left      uint32  // index of the left child; the right one follows
	meta      uint32  // feature<<featureShift | flags
}

const (
	flagLeaf    = 1 << iota
	flagNaNLeft // a NaN, or what is missing, goes left
	flagZero    // |x| <= zeroThreshold is missing
	flagNaNZero // a NaN is read as 0
	flagSet     // categorical

	featureShift = 8
)

func (n node) leaf() bool   { return n.meta&flagLeaf != 0 }
func (n node) feature() int { return int(n.meta >> featureShift) }

// Features returns the names of the features in the order of a row's values.
func (e *Ensemble) Features() []string { return slices.Clone(e.features) }

// NumFeatures returns the width of a row.
func (e *Ensemble) NumFeatures() int { return len(e.features) }

// Trees returns the number of trees.
func (e *Ensemble) Trees() int { return len(e.roots) }

// Objective returns the name of the loss the trees were trained for: "binary",
// "cross_entropy", "regression" and so on.
func (e *Ensemble) Objective() string { return e.objective }

// Slope returns the slope of the logistic link that turns the raw score into a
// probability: LightGBM's sigmoid parameter. It is 0 where there is no such link.
func (e *Ensemble) Slope() float64 { return e.sigmoid }

// Raw returns the raw score of one row: for a classifier its log-odds (times
// 1/sigmoid where the objective names one). The row has one value per feature,
// NaN where it is missing; another width is [ErrWidth].
func (e *Ensemble) Raw(row []float64) (float64, error) {
	if len(row) != len(e.features) {
		return 0, e.errWidth(len(row))
	}
	return e.score(row), nil
}

func (e *Ensemble) score(row []float64) float64 {
	s := e.getScratch()
	sum := e.program.score(row, s)
	e.scratch.Put(s)
	return sum
}

// RawBatch writes the raw score of each row to dst. rows holds len(dst) rows one
// after the other. The scores are bit by bit those of [Ensemble.Raw]. It runs on
// the caller's core; several may share a table by calling it for parts.
func (e *Ensemble) RawBatch(rows, dst []float64) error {
	w := len(e.features)
	if len(rows) != w*len(dst) {
		return fmt.Errorf("%w: %d values for %d rows of %d features", ErrWidth, len(rows), len(dst), w)
	}
	s := e.getScratch()
	e.program.scoreBatch(rows, dst, w, s)
	e.scratch.Put(s)
	return nil
}

func (e *Ensemble) getScratch() *scratch {
	if s, ok := e.scratch.Get().(*scratch); ok {
		return s
	}
	return newScratch(&e.program, len(e.roots))
}

func (e *Ensemble) errWidth(n int) error {
	return fmt.Errorf("%w: the row has %d, the model has %d features", ErrWidth, n, len(e.features))
}

// tree returns the nodes of tree t.
func (e *Ensemble) tree(t int) (first, end uint32) {
	end = uint32(len(e.nodes))
	if t+1 < len(e.roots) {
		end = e.roots[t+1]
	}
	return e.roots[t], end
}
