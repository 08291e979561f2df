package train

// sumRun is how many rows a goroutine takes at a time to sum.
const sumRun = 8 * blockRows

// sum adds the rows of a leaf to its histogram, and what other goroutines sum
// to g.partial; merge brings them together.
func (g *grower) sum(l *leaf) {
	rows := g.rows[l.begin:l.end]
	clear(g.used)
	parallel(g.threads, (len(rows)+sumRun-1)/sumRun, func(worker, run int) {
		h := l.hist
		if worker > 0 {
			if g.partial[worker] == nil {
				g.partial[worker] = newHistogram(g.d)
			}
			h = g.partial[worker]
			g.used[worker] = true
		}
		if len(rows) == g.d.rows { // in their order: the root
			h.addRange(g.d, g.columns, run*sumRun, min((run+1)*sumRun, len(rows)), g.gradient)
			return
		}
		for first := run * sumRun; first < min((run+1)*sumRun, len(rows)); first += blockRows {
			h.add(g.d, rows[first:min(first+blockRows, len(rows))], g.gradient)
		}
	})
}

// merge adds one word of the partial sums to h and clears them.
func (g *grower) merge(h histogram, w int) {
	for i, used := range g.used {
		if used {
			g.partial[i].addTo(h, w)
			clear(g.partial[i].word(w)[:])
		}
	}
}

// partitionRun is how many rows a goroutine takes at a time to part.
const partitionRun = 1 << 14

// partition writes the rows of a leaf to g.spare, run by run: those that go
// left from the run's start on, the others from its end backwards. It returns
// how many go left.
func (g *grower) partition(l *leaf, feature int, table *[256]uint8) (left int) {
	runs := (l.size() + partitionRun - 1) / partitionRun
	counts := make([]int, runs)
	bins := g.columns[feature*g.d.rows:][:g.d.rows]
	parallel(g.threads, runs, func(_, run int) {
		first := l.begin + run*partitionRun
		last := min(first+partitionRun, l.end)
		counts[run] = part(g.rows[first:last], g.spare[first:last], bins, table)
	})
	for _, n := range counts {
		left += n
	}
	g.lefts = counts
	return left
}

// part is partition for one run.
func part(rows, out []uint32, bins []uint8, table *[256]uint8) int {
	left, right := 0, len(rows)-1
	for _, row := range rows {
		// Written to both places; the one that was wrong is written again.
		out[left], out[right] = row, row
		goes := int(table[bins[row]])
		left += goes
		right -= 1 - goes
	}
	return left
}

// byFeature returns the bins of the first feature of all rows, then those of
// the next, and so on.
func (d *Dataset) byFeature(threads int) []uint8 {
	out := make([]uint8, len(d.features)*d.rows)
	parallel(threads, (d.rows+gradientBlock-1)/gradientBlock, func(_, block int) {
		first := block * gradientBlock
		last := min(first+gradientBlock, d.rows)
		for f := range d.features {
			column := out[f*d.rows+first : f*d.rows+last]
			for i := range column {
				column[i] = d.at(first+i, f)
			}
		}
	})
	return out
}

// commit brings the rows that partition has parted back to g.rows: left of the
// leaf those that go left, and both in the order of the table.
func (g *grower) commit(l *leaf, left int) {
	starts := make([][2]int, len(g.lefts))
	at := [2]int{l.begin, l.begin + left}
	for run, n := range g.lefts {
		starts[run] = at
		at[0] += n
		at[1] += min(partitionRun, l.size()-run*partitionRun) - n
	}
	parallel(g.threads, len(g.lefts), func(_, run int) {
		first := l.begin + run*partitionRun
		last := min(first+partitionRun, l.end)
		n := g.lefts[run]
		copy(g.rows[starts[run][0]:], g.spare[first:first+n])
		to := g.rows[starts[run][1]:]
		for i := range last - first - n {
			to[i] = g.spare[last-1-i]
		}
	})
}
