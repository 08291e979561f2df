package train

// place finds the leaf of each row. Where the tree was grown on a plain sample, the
// leaves' values then follow from all rows: the others had no say in the splits, so
// they show what the leaves are worth beside the rows that were chosen for. Of what
// GOSS leaves out the gradients are gone; its sums stand for all rows already.
func (b *booster) place() {
	g := b.grower
	if b.leafAt == nil {
		b.leafAt = make([]uint16, b.d.rows)
	}
	type part struct {
		sum  packed
		rows int
	}
	parts := make([][]part, g.threads)
	parallel(g.threads, (b.d.rows+gradientBlock-1)/gradientBlock, func(worker, block int) {
		if parts[worker] == nil {
			parts[worker] = make([]part, len(g.leaves))
		}
		sums := parts[worker]
		for row := block * gradientBlock; row < min((block+1)*gradientBlock, b.d.rows); row++ {
			at := g.leafOf(b.d, row)
			b.leafAt[row] = uint16(at)
			sums[at].sum += b.gradients.rows[row]
			sums[at].rows++
		}
	})
	if b.p.GOSSTop > 0 {
		return
	}
	for i := range g.leaves {
		l := &g.leaves[i]
		l.sum, l.outside = 0, -l.size()
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
