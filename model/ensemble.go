package model

import (
	"fmt"
	"slices"
)

// node is an inner node or a leaf of a flattened tree. Siblings are adjacent,
// so that the next node is left + (0 or 1); a leaf leads to itself.
type node struct {
	threshold float64 // a leaf's value; a categorical node's index into sets
	left      uint32  // index of the left child; the right one follows
	meta      uint32  // feature<<featureShift | flags
}

const (
	flagLeaf    = 1 << iota // must be bit 0: it masks the step to the right
	flagNaNLeft             // a NaN, or what is missing, goes left
	flagZero                // |x| <= zeroThreshold is missing
	flagSet                 // categorical

	featureShift = 8
	flagOdd      = flagZero | flagSet // the comparison alone does not decide
)

// Ensemble is an immutable list of trees over named features. Its methods may
// be called concurrently.
type Ensemble struct {
	features  []string
	objective string
	sigmoid   float64 // slope of the logistic link; 0: no classifier
	nodes     []node
	roots     []uint32
	sets      [][]uint32
	cover     []float64 // training rows per node; nil: not known
	expected  float64   // mean raw score over the training rows
	depth     int       // of the deepest tree
	scratch   scratchPool
	gain      []float64 // per feature, of its splits
}

// Features returns the names of the features in the order of a row's values.
func (e *Ensemble) Features() []string { return slices.Clone(e.features) }

// NumFeatures returns the width of a row.
func (e *Ensemble) NumFeatures() int { return len(e.features) }

// Trees returns the number of trees.
func (e *Ensemble) Trees() int { return len(e.roots) }

// Objective returns the name of the loss the trees were trained for: "binary",
// "cross_entropy", "regression" and so on.
func (e *Ensemble) Objective() string { return e.objective }

// Raw returns the raw score of one row: for a classifier its log-odds (times
// 1/sigmoid where the objective names one). The row has one value per feature,
// NaN where it is missing; another width is [ErrWidth]. It does not allocate.
func (e *Ensemble) Raw(row []float64) (float64, error) {
	if len(row) != len(e.features) {
		return 0, e.errWidth(len(row))
	}
	return e.raw(row), nil
}

func (e *Ensemble) raw(row []float64) (sum float64) {
	r := e.roots
	// Four trees at a time: their loads do not wait for each other. The sum is
	// taken in the trees' order, so that batches give the same bits.
	for ; len(r) >= 4; r = r[4:] {
		a, b, c, d := e.walk4(r[0], r[1], r[2], r[3], row, row, row, row)
		sum = sum + a + b + c + d
	}
	for _, root := range r {
		sum += e.walk(root, row)
	}
	return sum
}

// RawBatch writes the raw score of each row to dst. rows holds len(dst) rows one
// after the other. The scores are bit by bit those of [Ensemble.Raw].
func (e *Ensemble) RawBatch(rows, dst []float64) error {
	w := len(e.features)
	if len(rows) != w*len(dst) {
		return fmt.Errorf("%w: %d values for %d rows of %d features", ErrWidth, len(rows), len(dst), w)
	}
	// A block of rows goes through all trees before the next one, so that both
	// the block and the tree at hand stay in the cache.
	const block = 64
	for len(dst) > 0 {
		n := min(block, len(dst))
		e.rawBlock(rows[:n*w], dst[:n])
		rows, dst = rows[n*w:], dst[n:]
	}
	return nil
}

func (e *Ensemble) rawBlock(rows, dst []float64) {
	w := len(e.features)
	clear(dst)
	for _, root := range e.roots {
		i := 0
		for ; i+4 <= len(dst); i += 4 {
			r := rows[i*w : (i+4)*w]
			a, b, c, d := e.walk4(root, root, root, root, r[:w], r[w:2*w], r[2*w:3*w], r[3*w:])
			dst[i] += a
			dst[i+1] += b
			dst[i+2] += c
			dst[i+3] += d
		}
		for ; i < len(dst); i++ {
			dst[i] += e.walk(root, rows[i*w:(i+1)*w])
		}
	}
}

// walk returns the value of the leaf that the row falls into from node i.
func (e *Ensemble) walk(i uint32, row []float64) float64 {
	for {
		n := &e.nodes[i]
		if n.meta&flagLeaf != 0 {
			return n.threshold
		}
		i = e.next(n, row)
	}
}

// walk4 is four walks in step. A walk that has arrived waits at its leaf.
func (e *Ensemble) walk4(i, j, k, l uint32, ri, rj, rk, rl []float64) (a, b, c, d float64) {
	nodes := e.nodes
	for {
		ni, nj, nk, nl := &nodes[i], &nodes[j], &nodes[k], &nodes[l]
		if ni.meta&nj.meta&nk.meta&nl.meta&flagLeaf != 0 {
			return ni.threshold, nj.threshold, nk.threshold, nl.threshold
		}
		i, j, k, l = e.next(ni, ri), e.next(nj, rj), e.next(nk, rk), e.next(nl, rl)
	}
}

// next returns the node that follows n for the row; for a leaf the leaf itself.
func (e *Ensemble) next(n *node, row []float64) uint32 {
	v := row[n.meta>>featureShift]
	right := uint32(1)
	if v <= n.threshold {
		right = 0
	}
	if n.meta&flagOdd != 0 || v != v {
		right = e.odd(n, v)
	}
	return n.left + right&^n.meta
}

// odd decides for what is missing and for categories: 0 is left, 1 is right.
func (e *Ensemble) odd(n *node, v float64) uint32 {
	switch {
	case n.meta&flagSet != 0:
		return outside(e.sets[uint32(n.threshold)], v)
	case v != v || v >= -zeroThreshold && v <= zeroThreshold:
		// Without flagZero only a NaN comes here.
		return n.meta>>1&1 ^ 1
	case v <= n.threshold:
		return 0
	}
	return 1
}

// outside returns 0 if v, cut to a whole number, is a member of the set, and 1
// if it is not, is negative or missing.
func outside(set []uint32, v float64) uint32 {
	if !(v > -1 && v < float64(len(set)*32)) {
		return 1
	}
	c := uint32(int64(v))
	return set[c/32]>>(c%32)&1 ^ 1
}

func (e *Ensemble) errWidth(n int) error {
	return fmt.Errorf("%w: the row has %d, the model has %d features", ErrWidth, n, len(e.features))
}
