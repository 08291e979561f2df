package train

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Interval is a 95 % confidence interval: the 2.5 % and 97.5 % quantiles of
// the bootstrap's resamples (Efron 1979, the percentile method). Resamples in
// which a figure is not defined do not count; both ends are NaN where none is.
type Interval struct{ Low, High float64 }

// interval takes the resamples' figures, which it sorts.
func interval(figures []float64) Interval {
	figures = slices.DeleteFunc(figures, math.IsNaN)
	slices.Sort(figures)
	return Interval{percentile(figures, 0.025), percentile(figures, 0.975)}
}

// percentile returns the q-quantile of rising values, linear between two of them;
// NaN of none.
func percentile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	at := q * float64(len(v)-1)
	i := int(at)
	if i+1 == len(v) {
		return v[i]
	}
	return v[i] + (at-float64(i))*(v[i+1]-v[i])
}

// bootstrapStream tells the random numbers of a resample from others of its
// seed; the resample's number is added.
const bootstrapStream = 0x626f6f7473747261

// resamplesOf returns how many resamples there are of so many units. Of a single one
// all are alike, and would say that its figures are certain: there are none.
func resamplesOf(units, wanted int) int {
	if units < 2 {
		return 0
	}
	return wanted
}

// resample draws units with replacement, as many as there are, and calls use
// with how often each was drawn, for each resample from 0 to n-1. Calls with
// the same worker never overlap; the weights are valid during the call. What is
// drawn depends on the seed and the resample, not on the threads.
func resample(threads, units, n int, seed uint64, use func(worker, i int, weight []uint16)) {
	weights := make([][]uint16, threads)
	parallel(threads, n, func(worker, i int) {
		if weights[worker] == nil {
			weights[worker] = make([]uint16, units)
		}
		w := weights[worker]
		draw(w, rand.NewPCG(seed, bootstrapStream+uint64(i)))
		use(worker, i, w)
	})
}

// drawBlock is how many units' weights stay in the caches of a processor.
const drawBlock = 1 << 19

// draw sets how often each of len(weight) units comes up in as many draws. Where
// the units are many, the draws are dealt to blocks of units first and then
// within each block, so that weights need not be visited at random all over
// memory (5 times as fast for 10 million units). One random word
// makes two draws, whose chances differ by less than 0.1 % between units for up
// to 4 million of them.
func draw(weight []uint16, rng *rand.PCG) {
	clear(weight)
	n := len(weight)
	if n <= 4*drawBlock {
		drawWithin(weight, n, rng)
		return
	}
	dealt := make([]int, (n+drawBlock-1)/drawBlock)
	for i := 0; i < n; i += 2 {
		word := rng.Uint64()
		dealt[word>>32*uint64(n)>>32/drawBlock]++
		if i+1 < n {
			dealt[word&math.MaxUint32*uint64(n)>>32/drawBlock]++
		}
	}
	for b, k := range dealt {
		drawWithin(weight[b*drawBlock:min((b+1)*drawBlock, n)], k, rng)
	}
}

func drawWithin(weight []uint16, draws int, rng *rand.PCG) {
	n := uint64(len(weight))
	for i := 0; i < draws; i += 2 {
		word := rng.Uint64()
		weight[word>>32*n>>32]++
		if i+1 < draws {
			weight[word&math.MaxUint32*n>>32]++
		}
	}
}

// ones returns the weights that leave the rows as they are.
func ones(units int) []uint16 {
	w := make([]uint16, units)
	for i := range w {
		w[i] = 1
	}
	return w
}
