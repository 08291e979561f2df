package train

// split is a way to part the rows of a leaf in two.
type split struct {
	gain    float64 // of the loss, in real units; 0: there is no split
	feature int
	bin     uint8      // numerical: bins up to this one go left
	set     *[4]uint64 // categorical: the bins that go left
	missing bool       // numerical: missing goes left

	left        packed  // sum of the rows that go left
	leftOutput  float64 // best value of the left leaf, before shrinkage
	rightOutput float64
}

// goesLeft returns for each bin 1 if it goes left and 0 otherwise.
func (s *split) goesLeft() *[256]uint8 {
	var t [256]uint8
	if s.set != nil {
		for b := range t {
			t[b] = uint8(s.set[b/64] >> (b % 64) & 1)
		}
		return &t
	}
	for b := 0; b <= int(s.bin); b++ {
		t[b] = 1
	}
	t[missingBin] = 0
	if s.missing {
		t[missingBin] = 1
	}
	return &t
}

// searcher finds the best split of a leaf. Sums are in steps; so are the
// parameters that it compares them with.
type searcher struct {
	d          *Dataset
	monotone   []int8
	rate       learning
	perHessian float64 // steps per unit
	minGain    float64 // in steps
	toGain     float64 // from steps to real units
}

// learning is what turns sums of gradients into a leaf's value; all in steps.
type learning struct {
	l1, l2  float64
	toValue float64 // from gradient steps per hessian step to real units
	maxStep float64 // of the value, in real units; +Inf: none
}

// output returns the best value of a leaf within its bounds.
func (r learning) output(gradient, hessian float64, b bounds) float64 {
	if !(hessian+r.l2 > 0) {
		return 0 // the rows are as certain as numbers can say: nothing is left to learn from them
	}
	v := -shrink(gradient, r.l1) / (hessian + r.l2) * r.toValue
	v = min(max(v, -r.maxStep), r.maxStep)
	return min(max(v, b.low), b.high)
}

// gain returns how much a leaf of this value lowers the loss, in steps.
func (r learning) gain(gradient, hessian, output float64) float64 {
	v := output / r.toValue
	return -(2*shrink(gradient, r.l1)*v + (hessian+r.l2)*v*v)
}

// shrink moves a sum of gradients towards 0, the effect of an L1 penalty.
func shrink(g, l1 float64) float64 {
	switch {
	case g > l1:
		return g - l1
	case g < -l1:
		return g + l1
	}
	return 0
}

// candidate is a leaf that is searched.
type candidate struct {
	sum      packed
	rows     int
	bounds   bounds
	minSum   float64 // hessian of either side, at least
	baseline float64 // gain of not splitting
	plain    bool    // no penalty on the gradient, no bounds: the quick formula holds, or is too high
}

// bounds keep a leaf on the right side of its neighbours where a feature above
// it is monotone.
type bounds struct{ low, high float64 }

func (s *searcher) candidate(sum packed, rows int, b bounds, minHessian float64, minLeaf int) candidate {
	g, h := unpack(sum)
	c := candidate{sum: sum, rows: rows, bounds: b}
	// Rows are not counted by bin. Their hessians stand for them, as in
	// LightGBM; the true number is checked when the leaf is split.
	c.minSum = max(1, minHessian, (float64(minLeaf)-0.5)*h/float64(rows))
	c.plain = s.rate.l1 == 0 && b == unbounded
	c.baseline = s.rate.gain(g, h, s.rate.output(g, h, b))
	return c
}

// floor returns the gain that a split must exceed: that of the leaf as it is,
// the least improvement asked for, and what the rounding of gradients may feign.
func (s *searcher) floor(c *candidate) float64 {
	_, h := unpack(c.sum)
	return c.baseline + max(s.minGain, 1e-12*c.baseline, float64(c.rows)/h)
}

// finish fills in what follows from a split's left sum.
func finish(c *candidate, rate learning, toGain float64, out split, left packed, gain float64) split {
	gl, hl := unpack(left)
	gr, hr := unpack(c.sum - left)
	out.left = left
	out.gain = (gain - c.baseline) * toGain
	out.leftOutput = rate.output(gl, hl, c.bounds)
	out.rightOutput = rate.output(gr, hr, c.bounds)
	return out
}
