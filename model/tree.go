package model

import (
	"fmt"
	"math"
)

// Missing says which values of a feature count as missing at a split.
type Missing uint8

// The ways of LightGBM. With MissingNone a NaN is read as 0; with MissingZero
// NaN and |x| <= 1e-35 are missing; with MissingNaN only NaN is.
const (
	MissingNone Missing = iota
	MissingZero
	MissingNaN
)

// Bits of LightGBM's decision_type; the two above them hold Missing.
const (
	decisionCategorical = 1 << 0
	decisionDefaultLeft = 1 << 1
	decisionMissing     = 2
	decisionKnown       = 1<<4 - 1
)

// zeroThreshold is LightGBM's kZeroThreshold.
const zeroThreshold = 1e-35

// maxDepth bounds the levels of a tree, and with them the memory and the stack
// that an explanation takes.
const maxDepth = 512

// Split is an inner node of a [Tree]. A row goes left when its value is <=
// Threshold, or is a member of Category; a missing one goes left if DefaultLeft
// says so. Left and Right name an inner node by its index or, when negative,
// leaf ^i (so -1 is leaf 0).
type Split struct {
	Feature     int
	Threshold   float64
	Category    []uint32 // bit set of the categories that go left; nil: a numerical split
	Missing     Missing
	DefaultLeft bool
	Left, Right int
	Gain        float64 // improvement of the loss by this split; informative
}

// Leaf is an end of a [Tree].
type Leaf struct {
	Value  float64 // added to the score
	Count  int     // training rows that fell here; 0: not known
	Weight float64 // sum of their second derivatives; informative
}

// Tree is one regression tree in LightGBM's layout: Splits[0] is the root, and
// there is one more leaf than splits. A tree without splits is a constant.
type Tree struct {
	Splits    []Split
	Leaves    []Leaf
	Shrinkage float64 // already contained in the leaves' values; informative
}

// check reports what keeps t from being a proper tree over that many features.
func (t *Tree) check(features int) error {
	if len(t.Leaves) != len(t.Splits)+1 {
		return fmt.Errorf("%d leaves and %d splits; there must be one more leaf than splits", len(t.Leaves), len(t.Splits))
	}
	for i, l := range t.Leaves {
		if math.IsNaN(l.Value) || math.IsInf(l.Value, 0) {
			return fmt.Errorf("leaf_value %d is %v; it must be finite", i, l.Value)
		}
	}
	for i, s := range t.Splits {
		switch {
		case s.Feature < 0 || s.Feature >= features:
			return fmt.Errorf("split_feature %d is %d; the model has features 0 to %d", i, s.Feature, features-1)
		case math.IsNaN(s.Threshold) || math.IsInf(s.Threshold, 0):
			return fmt.Errorf("threshold %d is %v; it must be finite", i, s.Threshold)
		case s.Missing > MissingNaN:
			return fmt.Errorf("decision_type %d has the unknown missing type %d", i, s.Missing)
		}
	}
	return t.walk()
}

// walk visits the tree from its root and reports unless each split and leaf is
// reached exactly once.
func (t *Tree) walk() error {
	if len(t.Splits) == 0 {
		return nil
	}
	type visit struct{ split, depth int }
	splits, leaves := make([]bool, len(t.Splits)), make([]bool, len(t.Leaves))
	stack := []visit{{0, 1}}
	splits[0] = true
	for len(stack) > 0 {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if v.depth > maxDepth {
			return fmt.Errorf("the tree is deeper than %d levels", maxDepth)
		}
		children := [2]int{t.Splits[v.split].Left, t.Splits[v.split].Right}
		for k, child := range children {
			side := [2]string{"left_child", "right_child"}[k]
			seen, i := splits, child
			if child < 0 {
				seen, i = leaves, ^child
			}
			switch {
			case i >= len(seen):
				return fmt.Errorf("%s %d is %d; the tree has %d splits and %d leaves", side, v.split, child, len(splits), len(leaves))
			case seen[i]:
				return fmt.Errorf("%s %d is %d, which is reached twice", side, v.split, child)
			}
			seen[i] = true
			if child >= 0 {
				stack = append(stack, visit{i, v.depth + 1})
			}
		}
	}
	// One more leaf than splits and nothing reached twice: what was reached
	// from the root is a full binary tree, so it is all only if it counts up.
	for i, ok := range leaves {
		if !ok {
			return fmt.Errorf("leaf %d is not reached from the root", i)
		}
	}
	return nil
}
