package train

import (
	"math"
	"math/bits"
)

// sampleFeatures chooses those that the next tree may use.
func (b *booster) sampleFeatures() {
	allowed := b.grower.features
	n := max(1, int(math.Round(b.p.SampleFeatures*float64(len(allowed)))))
	for i := range allowed {
		allowed[i] = i < n
	}
	if n < len(allowed) {
		b.rng.Shuffle(len(allowed), func(i, j int) { allowed[i], allowed[j] = allowed[j], allowed[i] })
	}
}

// fewLeaves is how many leaves the rows of a sample must be enough for. Of smaller
// tables all rows choose the splits. At a MinLeaf of 20, half of them part nothing of
// 60 rows, are no better than all of 150, and better from there on.
const fewLeaves = 4

// sampleRows puts the rows of the next tree in front of the others, rising, and
// returns how many.
func (b *booster) sampleRows(tree int) (n int) {
	rows := b.grower.rows
	switch {
	case b.p.GOSSTop > 0 && float64(tree) >= 1/b.p.LearningRate:
		return b.goss()
	case b.p.SampleRows*float64(len(rows)) < fewLeaves*float64(b.p.MinLeaf) || b.p.SampleRows == 1:
		for i := range rows {
			rows[i] = uint32(i)
		}
		return len(rows)
	}
	limit, last := uint64(b.p.SampleRows*(1<<32)), len(rows)-1
	for i := range rows {
		// Written to both places; the one that was wrong is written again.
		others := last - (i - n)
		rows[n], rows[others] = uint32(i), uint32(i)
		_, in := bits.Sub64(b.random.Uint64()>>32, limit, 0)
		n += int(in)
	}
	if n == 0 { // a handful of rows and a small share
		at := len(rows) - 1 - b.rng.IntN(len(rows))
		rows[0], rows[at] = rows[at], rows[0]
		return 1
	}
	return n
}

// goss chooses the rows with the largest gradients and some of the others, which
// it makes heavier; all derived, not yet packed (Ke et al. 2017, algorithm 2).
// LightGBM ranks by |gradient * hessian|, the paper by |gradient|, as here: with
// the hessian a failure that the trees do not yet see at all would count least.
func (b *booster) goss() (n int) {
	g, chosen := b.gradients, b.grower.rows
	top := int(math.Ceil(b.p.GOSSTop * float64(len(g.rows))))
	bound, tied := largest(g.rows, top)
	share := b.p.GOSSRest / (1 - b.p.GOSSTop)
	heavier := float32(1 / share)
	limit := uint64(share * (1 << 32))
	clear(g.sums)
	others := len(chosen)
	for i, both := range g.rows {
		gradient, hessian := derivatives(both)
		rank := rankOf(gradient)
		if rank == bound && tied > 0 {
			tied--
			rank++
		}
		if rank <= bound {
			if b.rng.Uint64()>>32 >= limit {
				g.rows[i] = 0
				others--
				chosen[others] = uint32(i)
				continue
			}
			gradient, hessian = gradient*heavier, hessian*heavier
			g.rows[i] = derived(gradient, hessian)
		}
		chosen[n] = uint32(i)
		n++
		sum := &g.sums[i/gradientBlock]
		sum[0] += math.Abs(float64(gradient))
		sum[1] += float64(hessian)
	}
	return n
}

// rankOf returns a 16-bit number that does not fall as |gradient| grows.
func rankOf(gradient float32) int { return int(math.Float32bits(gradient) << 1 >> 16) }

// largest returns the rank that all rows above it and the first tied of those at
// it have among the top largest gradients.
func largest(rows []int64, top int) (bound, tied int) {
	var count [1 << 16]int
	for _, both := range rows {
		gradient, _ := derivatives(both)
		count[rankOf(gradient)]++
	}
	for bound = len(count) - 1; bound > 0 && count[bound] <= top; bound-- {
		top -= count[bound]
	}
	return bound, top
}
