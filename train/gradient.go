package train

import "math"

// The gradient and the hessian of a row are held together in one int64, as
// whole numbers of a step each: the gradient in the upper 32 bits, signed, the
// hessian in the lower 32, unsigned. Adding two such numbers adds both at once,
// exactly and in any order, so that sums, and with them the trees, do not depend
// on the number of threads. The steps are chosen for each tree so that the sum
// over all rows still fits.
type packed = int64

func pack(gradient int32, hessian uint32) packed {
	return int64(gradient)<<32 + int64(hessian)
}

// unpack returns gradient and hessian in steps.
func unpack(p packed) (gradient, hessian float64) {
	return float64(p >> 32), float64(uint32(p))
}

// maxSum bounds the sums of gradients and hessians, in steps: the sign of a
// gradient takes the last bit.
const maxSum = 1<<31 - 1

// slack is what the sums of floating point numbers may be off by, in steps.
const slack = 1 << 10

// gradientBlock is how many rows are summed at a time. It is fixed, so that
// floating point sums do not depend on the number of threads either.
const gradientBlock = 4096

// gradients holds what the next tree is fitted to.
type gradients struct {
	rows []packed
	sums [][2]float64 // of each block: |gradient| and hessian
	// steps per unit of gradient and hessian
	perGradient, perHessian float64
}

func newGradients(rows int) *gradients {
	return &gradients{
		rows: make([]packed, rows),
		sums: make([][2]float64, (rows+gradientBlock-1)/gradientBlock),
	}
}

// derive sets the gradients for the rows' current scores; they are not yet
// packed.
func (g *gradients) derive(d *Dataset, p *Params, score []float64) {
	parallel(threads(p.Threads), len(g.sums), func(_, block int) {
		first := block * gradientBlock
		last := min(first+gradientBlock, d.rows)
		g.sums[block] = g.deriveBlock(d, p, score, first, last)
	})
}

// pack turns the derived gradients into packed ones. tree moves the dither, so
// that the same row is not always rounded the same way.
func (g *gradients) pack(p *Params, tree int) {
	var sum [2]float64
	for _, s := range g.sums {
		sum[0] += s[0]
		sum[1] += s[1]
	}
	room := float64(maxSum - slack - len(g.rows)) // each row is rounded up by less than a step
	g.perGradient, g.perHessian = steps(room, sum[0]), steps(room, sum[1])
	parallel(threads(p.Threads), len(g.sums), func(_, block int) {
		first := block * gradientBlock
		last := min(first+gradientBlock, len(g.rows))
		g.packBlock(first, last, uint32(tree))
	})
}

// steps returns how many steps a unit may have for a sum to fit into room. It is
// a power of two, so that halves and quarters are not rounded: at even odds each
// row has a hessian of 1/4, and a leaf of four rows has 1, not a little less.
func steps(room, sum float64) float64 {
	if sum == 0 {
		return 1
	}
	_, exponent := math.Frexp(min(room/sum, 1<<40))
	return math.Ldexp(1, exponent-1)
}

// deriveBlock puts the first and second derivatives of the loss of some rows
// into g.rows, as two float32, and sums them.
func (g *gradients) deriveBlock(d *Dataset, p *Params, score []float64, first, last int) (sum [2]float64) {
	label, score, out := d.label[first:last], score[first:last], g.rows[first:last]
	for i := range out {
		gradient, hessian := score[i]-label[i], 1.0
		if d.spec.Objective == Binary {
			q := sigmoid(score[i])
			gradient, hessian = q-label[i], q*(1-q)
			if label[i] == 1 {
				gradient, hessian = gradient*p.PosWeight, hessian*p.PosWeight
			}
		}
		if d.weight != nil {
			w := d.weight[first+i]
			gradient, hessian = gradient*w, hessian*w
		}
		g32, h32 := float32(gradient), float32(hessian)
		sum[0] += math.Abs(float64(g32))
		sum[1] += float64(h32)
		out[i] = derived(g32, h32)
	}
	return sum
}

// derived holds a gradient and a hessian before they are packed.
func derived(gradient, hessian float32) int64 {
	return int64(math.Float32bits(gradient))<<32 | int64(math.Float32bits(hessian))
}

// derivatives is derived's way back.
func derivatives(both int64) (gradient, hessian float32) {
	return math.Float32frombits(uint32(both >> 32)), math.Float32frombits(uint32(both))
}

// packBlock turns derived rows into packed ones. Each is rounded up or down so
// that neighbours' errors cancel: the offsets are a golden-ratio sequence.
func (g *gradients) packBlock(first, last int, tree uint32) {
	const golden, silver = 0x9e3779b1, 0x85ebca6b
	for i := first; i < last; i++ {
		dg, dh := derivatives(g.rows[i])
		at := uint32(i) + tree*0x3c6ef372
		gradient := math.Floor(float64(dg)*g.perGradient + float64(at*golden)/(1<<32))
		hessian := math.Floor(float64(dh)*g.perHessian + float64(at*silver)/(1<<32))
		g.rows[i] = pack(int32(gradient), uint32(hessian))
	}
}

// initialScore is where the scores begin: the best constant score, which is the
// log-odds of the positives or the mean, or the share of it that Start asks for.
func initialScore(d *Dataset, p *Params) float64 {
	var sum, total float64
	for i, y := range d.label {
		w := 1.0
		if d.weight != nil {
			w = d.weight[i]
		}
		if d.spec.Objective == Binary && y == 1 {
			w *= p.PosWeight
		}
		sum += w * y
		total += w
	}
	if !(total > 0) {
		return 0
	}
	mean := sum / total
	if d.spec.Objective == Binary {
		mean = min(max(mean, 1e-15), 1-1e-15)
		return p.Start * math.Log(mean/(1-mean))
	}
	return mean
}
