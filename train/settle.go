package train

import "slices"

// settle sets the values that the leaves end with, of a tree grown on the first n
// of the grower's rows.
func (b *booster) settle(n int) {
	if n < b.d.rows {
		b.place(n)
	}
	if b.p.PathSmooth > 0 {
		b.grower.smooth(b.p.PathSmooth * b.gradients.perHessian)
	}
}

// place finds the leaves of the rows that the tree was not grown on. Where those it
// was grown on are a plain sample, the leaves' values then follow from all rows: the
// others had no say in the splits, so they show what the leaves are worth beside the
// rows that were chosen for. Of what GOSS leaves out the gradients are gone; its sums
// stand for all rows already.
func (b *booster) place(n int) {
	g := b.grower
	outside, route := g.rows[n:], g.router()
	b.outside = slices.Grow(b.outside[:0], len(outside))[:len(outside)]
	type part struct {
		sum  packed
		rows int
	}
	parts := make([][]part, g.threads)
	parallel(g.threads, (len(outside)+gradientBlock-1)/gradientBlock, func(worker, block int) {
		if parts[worker] == nil {
			parts[worker] = make([]part, len(g.leaves))
		}
		sums := parts[worker]
		first, last := block*gradientBlock, min((block+1)*gradientBlock, len(outside))
		route.leaves(b.d, outside[first:last], b.outside[first:last])
		for i, row := range outside[first:last] {
			sum := &sums[b.outside[first+i]]
			sum.sum += b.gradients.rows[row]
			sum.rows++
		}
	})
	if b.p.GOSSTop > 0 {
		return
	}
	for i := range g.leaves {
		l := &g.leaves[i]
		for _, sums := range parts {
			if sums != nil {
				l.sum += sums[i].sum
				l.outside += sums[i].rows
			}
		}
		gradient, hessian := unpack(l.sum)
		l.output = g.search.rate.output(gradient, hessian, l.bounds)
	}
}

// smooth pulls the values of the leaves towards those of the nodes above them, from
// the root down: a node's own value counts as its hessian, its parent's, smoothed
// before, as strength, in steps. The splits do not see it (hierarchical shrinkage,
// Agarwal et al. 2022; LightGBM's path_smooth counts rows and its splits see it).
func (g *grower) smooth(strength float64) {
	sums := make([]packed, len(g.nodes))
	sumOf := func(at int) packed {
		if at < 0 {
			return g.leaves[^at].sum
		}
		return sums[at]
	}
	for i := len(g.nodes) - 1; i >= 0; i-- { // children come behind their parent
		sums[i] = sumOf(g.nodes[i].left) + sumOf(g.nodes[i].right)
	}
	values := make([]float64, len(g.nodes))
	for i, sum := range sums {
		if i == 0 {
			gradient, hessian := unpack(sum)
			values[0] = g.search.rate.output(gradient, hessian, unbounded)
		}
		for _, child := range []int{g.nodes[i].left, g.nodes[i].right} {
			gradient, hessian := unpack(sumOf(child))
			within := unbounded
			if child < 0 {
				within = g.leaves[^child].bounds
			}
			v := g.search.rate.output(gradient, hessian, within)
			v = (hessian*v + strength*values[i]) / (hessian + strength)
			if child < 0 {
				g.leaves[^child].output = min(max(v, within.low), within.high)
			} else {
				values[child] = v
			}
		}
	}
}
