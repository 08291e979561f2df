package model

import (
	"cmp"
	"slices"
)

// plan is an ensemble made for explaining scores. It takes about 100 bytes for
// each leaf.
type plan struct {
	trees  []treePlan
	bias   float64 // mean raw score over the training rows
	leaves int     // of the largest tree
}

type treePlan struct {
	branches []branch // those with a split below them, parents first
	pairs    []pair   // those with two leaves
	ends     []end    // leaves below branches
	points   []points // enough for the most features on one way to a leaf
}

// branch is a split. Nodes are numbered within the tree, from 0 at its root.
type branch struct {
	limit, mask uint64     // as in record
	share       [2]float64 // of the node's training rows that go left and right
	col         uint32
	feature     uint32
	node, left  uint32
	// Where the split is not the first on its feature on the way from the root,
	// above is the node that the last one led to, and known the share of the
	// training rows that pass the ones so far. Else they are 0 and 1.
	above uint32
	level uint32 // number of splits above
	known float64
}

// pair is a split of two leaves.
type pair struct {
	branch
	leaves [2]float64 // their values, left and right
}

// end is a leaf.
type end struct {
	node  uint32
	value float64
}

// newPlan makes the plan of an ensemble with counts.
func newPlan(e *Ensemble) *plan {
	p := &plan{trees: make([]treePlan, 0, len(e.roots))}
	var same program // the columns depend on the trees alone, so they are e.program's
	b := planner{e: e, decisions: same.decide(e), ways: map[int]way{}}
	rules := map[int][]points{}
	for t := range e.roots {
		first, last := e.tree(t)
		leaves := int(last-first+1) / 2
		p.leaves = max(p.leaves, leaves)
		b.root, b.most = first, 0
		b.tree = treePlan{}
		p.bias += b.descend(0, 0)
		// Level by level, so that neighbours do not wait for each other.
		slices.SortStableFunc(b.tree.branches, func(x, y branch) int { return cmp.Compare(x.level, y.level) })
		if rules[b.most] == nil {
			rules[b.most] = quadrature(b.most - 1)
		}
		b.tree.points = rules[b.most]
		p.trees = append(p.trees, b.tree)
	}
	return p
}

// planner makes the plan of one tree after the other.
type planner struct {
	e         *Ensemble
	decisions []decision
	root      uint32
	tree      treePlan
	ways      map[int]way // of the features split on the way to the node at hand
	most      int         // features on one way so far
}

// way is where the last split on a feature led, and the share of the training
// rows that pass all of them.
type way struct {
	node  uint32
	known float64
}

// descend plans the subtree of a node and returns the mean score of the training
// rows in it.
func (b *planner) descend(i, level uint32) (mean float64) {
	n := b.e.nodes[b.root+i]
	if n.leaf() {
		b.most = max(b.most, len(b.ways))
		return n.threshold
	}
	before, again := b.ways[n.feature()]
	if !again {
		before.known = 1
	}
	cover := b.e.cover[n.left:]
	d := b.decisions[b.root+i]
	s := branch{
		limit: d.limit, mask: d.mask, col: d.col, feature: uint32(n.feature()),
		node: i, left: n.left - b.root,
		share: [2]float64{cover[0] / (cover[0] + cover[1]), cover[1] / (cover[0] + cover[1])},
		above: before.node, level: level, known: before.known,
	}
	if leaves := b.e.nodes[n.left : n.left+2]; leaves[0].leaf() && leaves[1].leaf() {
		b.tree.pairs = append(b.tree.pairs, pair{s, [2]float64{leaves[0].threshold, leaves[1].threshold}})
	} else {
		b.tree.branches = append(b.tree.branches, s)
		for side, l := range leaves {
			if l.leaf() {
				b.tree.ends = append(b.tree.ends, end{s.left + uint32(side), l.threshold})
			}
		}
	}
	for side, share := range s.share {
		child := s.left + uint32(side)
		b.ways[n.feature()] = way{child, before.known * share}
		mean += share * b.descend(child, level+1)
	}
	if again {
		b.ways[n.feature()] = before
	} else {
		delete(b.ways, n.feature())
	}
	return mean
}
