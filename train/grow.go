package train

import (
	"math"
	"slices"
)

// grower grows one tree after another over the same data, leaf by leaf: always
// the leaf whose best split lowers the loss most. The rows of a leaf lie next
// to each other in rows, in the order of the table. Of two new leaves only the
// smaller one's histogram is summed; the other's is what remains of their
// parent's.
type grower struct {
	d        *Dataset
	p        *Params
	threads  int
	rows     []uint32
	spare    []uint32 // as long as rows, for partitioning
	columns  []uint8  // the bins once more, feature by feature: to part a leaf takes one feature of each row
	gradient []packed
	features []bool // that the tree may use
	search   searcher
	minSum   float64 // MinHessian in steps

	leaves []leaf
	nodes  []branch

	free    []histogram // not in use
	made    int         // in all
	most    int         // in use between splits, at most
	partial []histogram // of each goroutine but the first that has summed; zero between sums
	used    []bool      // which of partial took part in a sum
	found   [2][]split  // the best split of each word, of the two new leaves
	lefts   []int       // rows that go left, of each run of the last partition
}

// leaf is an end of the tree that grows.
type leaf struct {
	begin, end int // of rows
	outside    int // further rows that its sum holds
	depth      int
	sum        packed
	output     float64 // before shrinkage
	bounds     bounds
	parent     int       // its branch; -1: it is the root
	hist       histogram // nil: it will not be split, or is summed again then
	best       split
	refused    []int // features whose best split leaves too few rows on a side
}

func (l *leaf) size() int { return l.end - l.begin }

// branch is an inner node of the tree.
type branch struct {
	split
	table       *[256]uint8 // of goesLeft
	left, right int         // a branch, or leaf ^i
}

// histogramBytes is how much memory the histograms of a tree's leaves may take. Of very
// many leaves over very many features those that promise least are summed again when
// they are split after all. The sums are exact, and so the same.
const histogramBytes = 1 << 30

var unbounded = bounds{math.Inf(-1), math.Inf(1)}

func newGrower(d *Dataset, p *Params) *grower {
	n := threads(p.Threads)
	g := &grower{
		d: d, p: p, threads: n,
		rows: make([]uint32, d.rows), spare: make([]uint32, d.rows),
		columns:  d.byFeature(n),
		features: make([]bool, len(d.features)),
		search:   searcher{d: d, monotone: make([]int8, len(d.features))},
		leaves:   make([]leaf, 0, p.Leaves),
		partial:  make([]histogram, n),
		used:     make([]bool, n),
		most:     max(2, histogramBytes/(8*wordBins*d.width)),
	}
	for f, name := range d.features {
		g.search.monotone[f] = int8(p.Monotone[name])
	}
	for i := range g.found {
		g.found[i] = make([]split, d.width)
	}
	return g
}

// grow fits a tree to the gradients of the first n of g.rows, which must rise.
// The tree is in g.leaves and g.nodes until the next call.
func (g *grower) grow(gr *gradients, n int) {
	g.scale(gr)
	for i := range g.leaves {
		g.release(&g.leaves[i])
	}
	g.leaves, g.nodes = g.leaves[:1], g.nodes[:0]
	root := &g.leaves[0]
	*root = leaf{end: n, bounds: unbounded, parent: -1}
	g.plant(root)
	for len(g.leaves) < g.p.Leaves {
		best := 0
		for i := range g.leaves {
			if g.leaves[i].best.gain > g.leaves[best].best.gain {
				best = i
			}
		}
		if g.leaves[best].best.gain <= 0 {
			return
		}
		g.split(best)
	}
}

// scale sets what depends on the size of a step.
func (g *grower) scale(gr *gradients) {
	g.gradient = gr.rows
	g.minSum = g.p.MinHessian * gr.perHessian
	s := &g.search
	s.perHessian = gr.perHessian
	s.rate = learning{l1: g.p.L1 * gr.perGradient, l2: g.p.L2 * gr.perHessian, toValue: gr.perHessian / gr.perGradient, maxStep: math.Inf(1)}
	if g.p.MaxStep > 0 {
		s.rate.maxStep = g.p.MaxStep
	}
	s.toGain = gr.perHessian / gr.perGradient / gr.perGradient
	s.minGain = g.p.MinGain / s.toGain
}

// plant sums the root and searches it.
func (g *grower) plant(root *leaf) {
	g.sumWhole(root, g.histogram())
	for _, v := range root.hist.feature(0) {
		root.sum += v
	}
	gradient, hessian := unpack(root.sum)
	root.output = g.search.rate.output(gradient, hessian, unbounded)
	g.find(root)
}

// split parts a leaf by its best split. If that would leave a side with too few
// rows, the leaf gets another best split instead.
func (g *grower) split(at int) {
	l := &g.leaves[at]
	s := l.best
	table := s.goesLeft()
	left := g.partition(l, s.feature, table)
	if left < g.p.MinLeaf || l.size()-left < g.p.MinLeaf {
		l.refused = append(l.refused, s.feature)
		g.find(l)
		return
	}
	g.commit(l, left)

	node := len(g.nodes)
	g.nodes = append(g.nodes, branch{split: s, table: table, left: ^at, right: ^len(g.leaves)})
	if l.parent >= 0 {
		parent := &g.nodes[l.parent]
		if parent.left == ^at {
			parent.left = node
		} else {
			parent.right = node
		}
	}
	low, high := l.bounds, l.bounds
	switch g.search.monotone[s.feature] {
	case 1:
		mid := (s.leftOutput + s.rightOutput) / 2
		low.high, high.low = mid, mid
	case -1:
		mid := (s.leftOutput + s.rightOutput) / 2
		low.low, high.high = mid, mid
	}
	parent := *l
	g.leaves = append(g.leaves, leaf{
		begin: l.begin + left, end: l.end, depth: l.depth + 1,
		sum: l.sum - s.left, output: s.rightOutput, bounds: high, parent: node,
	})
	*l = leaf{
		begin: l.begin, end: l.begin + left, depth: l.depth + 1,
		sum: s.left, output: s.leftOutput, bounds: low, parent: node,
	}
	g.search2(parent.hist, l, &g.leaves[len(g.leaves)-1])
}

// search2 finds the best splits of the two parts of a leaf, whose histogram it
// takes over.
func (g *grower) search2(parent histogram, left, right *leaf) {
	small, large := left, right
	if small.size() > large.size() {
		small, large = large, small
	}
	if len(g.leaves) == g.p.Leaves || !g.splittable(large) {
		if parent != nil {
			g.free = append(g.free, parent) // neither will be split
		}
		return
	}
	whole := parent != nil
	if !whole {
		parent = g.histogram()
		g.sumWhole(large, parent)
	}
	small.hist, large.hist = g.histogram(), parent
	g.sum(small)
	both := []*leaf{large, small}
	if !g.splittable(small) {
		both = both[:1]
	}
	of := [2]candidate{}
	for i, l := range both {
		of[i] = g.candidate(l)
	}
	parallel(g.threads, g.d.width, func(_, w int) {
		g.merge(small.hist, w)
		if whole {
			large.hist.subtract(small.hist, w)
		}
		for i, l := range both {
			g.found[i][w] = g.searchWord(l, &of[i], w)
		}
	})
	for i, l := range both {
		g.choose(l, g.found[i])
	}
	if len(both) == 1 {
		g.release(small)
	}
	g.makeRoom()
}

// makeRoom lets go of the histograms of the leaves that promise least while there are
// too many.
func (g *grower) makeRoom() {
	for g.made-len(g.free) > g.most {
		var least *leaf
		for i := range g.leaves {
			if l := &g.leaves[i]; l.hist != nil && (least == nil || l.best.gain < least.best.gain) {
				least = l
			}
		}
		g.release(least)
	}
}

// sumWhole sums the rows of a leaf to an empty histogram, which becomes the leaf's.
func (g *grower) sumWhole(l *leaf, h histogram) {
	l.hist = h
	g.sum(l)
	parallel(g.threads, g.d.width, func(_, w int) { g.merge(h, w) })
}

// find finds the best split of one leaf.
func (g *grower) find(l *leaf) {
	l.best = split{}
	if !g.splittable(l) {
		g.release(l)
		return
	}
	if l.hist == nil {
		g.sumWhole(l, g.histogram())
	}
	c := g.candidate(l)
	parallel(g.threads, g.d.width, func(_, w int) { g.found[0][w] = g.searchWord(l, &c, w) })
	g.choose(l, g.found[0])
}

func (g *grower) splittable(l *leaf) bool {
	return l.size() >= 2*g.p.MinLeaf && (g.p.MaxDepth == 0 || l.depth < g.p.MaxDepth) && l.depth < maxDepth
}

func (g *grower) candidate(l *leaf) candidate {
	return g.search.candidate(l.sum, l.size(), l.bounds, g.minSum, g.p.MinLeaf)
}

// choose takes the best of the words' splits; of equal ones the first.
func (g *grower) choose(l *leaf, found []split) {
	for _, s := range found {
		if s.gain > l.best.gain {
			l.best = s
		}
	}
	if l.best.gain <= 0 {
		g.release(l)
	}
}

// searchWord returns the best split by a feature of word w.
func (g *grower) searchWord(l *leaf, c *candidate, w int) (best split) {
	for f := w * wordFeatures; f < min((w+1)*wordFeatures, len(g.d.features)); f++ {
		if !g.features[f] || slices.Contains(l.refused, f) {
			continue
		}
		var s split
		if bins := l.hist.feature(f); g.d.binnings[f].categorical() {
			s = g.search.categorical(c, f, bins)
		} else {
			s = g.search.numerical(c, f, bins)
		}
		if s.gain > best.gain {
			best = s
		}
	}
	return best
}

// histogram returns an empty one.
func (g *grower) histogram() histogram {
	n := len(g.free)
	if n == 0 {
		g.made++
		return newHistogram(g.d)
	}
	h := g.free[n-1]
	g.free = g.free[:n-1]
	clear(h)
	return h
}

func (g *grower) release(l *leaf) {
	if l.hist != nil {
		g.free = append(g.free, l.hist)
		l.hist = nil
	}
}
