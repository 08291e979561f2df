package model

import (
	"fmt"
	"sync"
)

// Contributions writes to dst what each feature of the row adds to its raw
// score, and last, at dst[NumFeatures()], the bias: the mean score over the
// training rows. They sum to [Ensemble.Raw]. They are exact path-dependent
// Shapley values (Lundberg, Erion, Lee 2018, "Consistent Individualized Feature
// Attribution for Tree Ensembles", algorithm 2), LightGBM's predict_contrib.
// The weight of a node is the sum of its leaves' counts; a model without them
// gives [ErrNoCounts].
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
	s := e.paths.get()
	defer e.paths.put(s)
	clear(dst)
	x := explainer{Ensemble: e, row: row, dst: dst, paths: s}
	for _, root := range e.roots {
		x.descend(root, 0, 0, pathStep{feature: -1, zero: 1, one: 1})
	}
	dst[len(e.features)] = e.expected
	return nil
}

// mean returns the mean score of the training rows below node i.
func (e *Ensemble) mean(i uint32) float64 {
	n := e.nodes[i]
	if n.meta&flagLeaf != 0 {
		return n.threshold
	}
	l, r := n.left, n.left+1
	return (e.cover[l]*e.mean(l) + e.cover[r]*e.mean(r)) / e.cover[i]
}

// step is one feature on the way to a leaf.
type pathStep struct {
	feature int
	zero    float64 // share of the training rows that pass where the feature is not known
	one     float64 // 1 if the row itself passes, else 0
	weight  float64 // of the subsets of i known features, over all i features on the path
}

// paths holds the paths of one explanation: one of width steps per level.
type paths struct {
	steps []pathStep
	width int
}

type pathPool struct {
	pool        sync.Pool
	size, width int
}

// init sizes the paths. A path holds each feature once, and one step before
// them; a level more is needed for the leaf.
func (p *pathPool) init(depth, features int) {
	p.width = min(depth, features) + 2
	p.size = (depth + 2) * p.width
}

func (p *pathPool) get() *paths {
	if s, ok := p.pool.Get().(*paths); ok {
		return s
	}
	return &paths{make([]pathStep, p.size), p.width}
}

func (p *pathPool) put(s *paths) { p.pool.Put(s) }

type explainer struct {
	*Ensemble
	row, dst []float64
	*paths
}

// descend explains the subtree of node i at that level. The path that led here
// has n steps on the level above; s is the one from there to here.
func (x *explainer) descend(i uint32, level, n int, s pathStep) {
	path := x.steps[level*x.width : (level+1)*x.width]
	if level > 0 {
		copy(path, x.steps[(level-1)*x.width:][:n])
	}
	extend(path, n, s)
	n++
	nd := &x.nodes[i]
	if nd.meta&flagLeaf != 0 {
		for k := 1; k < n; k++ {
			w := unwound(path[:n], k)
			x.dst[path[k].feature] += w * (path[k].one - path[k].zero) * nd.threshold
		}
		return
	}
	hot := x.next(*nd, x.row)
	cold := nd.left + nd.left + 1 - hot
	feature := int(nd.meta >> featureShift)
	zero, one := 1.0, 1.0
	for k := 1; k < n; k++ {
		if path[k].feature == feature {
			// The feature decided before: its two steps become one.
			zero, one = path[k].zero, path[k].one
			unwind(path[:n], k)
			n--
			break
		}
	}
	x.descend(hot, level+1, n, pathStep{feature: feature, zero: zero * x.cover[hot] / x.cover[i], one: one})
	x.descend(cold, level+1, n, pathStep{feature: feature, zero: zero * x.cover[cold] / x.cover[i]})
}

// extend appends s as step n and spreads the weights over the longer path.
func extend(path []pathStep, n int, s pathStep) {
	if n == 0 {
		s.weight = 1
	}
	path[n] = s
	size := float64(n + 1)
	for i := n - 1; i >= 0; i-- {
		path[i+1].weight += s.one * path[i].weight * float64(i+1) / size
		path[i].weight *= s.zero * float64(n-i) / size
	}
}

// unwind takes step k out of the path, as if it had never been extended by it.
func unwind(path []pathStep, k int) {
	last := len(path) - 1
	size := float64(len(path))
	one, zero := path[k].one, path[k].zero
	carry := path[last].weight
	for i := last - 1; i >= 0; i-- {
		if one != 0 {
			w := path[i].weight
			path[i].weight = carry * size / (float64(i+1) * one)
			carry = w - path[i].weight*zero*float64(last-i)/size
		} else {
			path[i].weight *= size / (zero * float64(last-i))
		}
	}
	for i := k; i < last; i++ {
		path[i].feature, path[i].zero, path[i].one = path[i+1].feature, path[i+1].zero, path[i+1].one
	}
}

// unwound returns the sum of the weights that unwind(path, k) would leave.
func unwound(path []pathStep, k int) (sum float64) {
	last := len(path) - 1
	size := float64(len(path))
	one, zero := path[k].one, path[k].zero
	carry := path[last].weight
	for i := last - 1; i >= 0; i-- {
		if one != 0 {
			w := carry * size / (float64(i+1) * one)
			sum += w
			carry = path[i].weight - w*zero*float64(last-i)/size
		} else {
			sum += path[i].weight * size / (zero * float64(last-i))
		}
	}
	return sum
}
