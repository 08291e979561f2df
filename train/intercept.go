package train

import "math"

// intercept returns what the scores lack for the mean probability to be the
// share of positives, by Newton's method: calibration in the large (Cox 1958).
// It looks for it within 50 either way.
func intercept(d *Dataset, score []float64, threads int) (shift float64) {
	blocks := (d.rows + gradientBlock - 1) / gradientBlock
	sums := make([][2]float64, blocks)
	low, high := -50.0, 50.0
	for range 100 {
		parallel(threads, blocks, func(_, block int) {
			var sum [2]float64
			for i := block * gradientBlock; i < min((block+1)*gradientBlock, d.rows); i++ {
				w := 1.0
				if d.weight != nil {
					w = d.weight[i]
				}
				p := sigmoid(score[i] + shift)
				sum[0] += w * (p - d.label[i])
				sum[1] += w * p * (1 - p)
			}
			sums[block] = sum
		})
		var excess, slope float64
		for _, s := range sums {
			excess += s[0]
			slope += s[1]
		}
		if excess > 0 {
			high = shift
		} else {
			low = shift
		}
		next := shift - excess/slope
		if !(next > low && next < high) {
			next = (low + high) / 2
		}
		if math.Abs(next-shift) < 1e-9 {
			return next
		}
		shift = next
	}
	return shift
}
