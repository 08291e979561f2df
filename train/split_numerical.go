package train

import "math"

// cut is where the bins of a numerical feature are parted.
type cut struct {
	bin     int    // the last that goes left
	missing bool   // what is missing goes left too
	left    packed // sum of what goes left
	gain    float64
	found   bool
}

// numerical returns the best split of the leaf by feature f.
func (s *searcher) numerical(c *candidate, f int, bins *[256]packed) split {
	n := s.d.binnings[f].n
	if bins[missingBin] == 0 {
		n-- // after the last bin nothing is left for the right
	}
	best := cut{gain: s.floor(c)}
	if sign := s.monotone[f]; c.plain && sign == 0 {
		s.scan(c, bins[:n], bins[missingBin], &best)
	} else {
		s.scanBounded(c, bins[:n], bins[missingBin], sign, &best)
	}
	if !best.found {
		return split{}
	}
	out := split{feature: f, bin: uint8(best.bin), missing: best.missing}
	if bins[missingBin] == 0 {
		// Never missing in this leaf: what will be joins the larger side.
		_, left := unpack(best.left)
		_, all := unpack(c.sum)
		out.missing = 2*left > all
	}
	return finish(c, s.rate, s.toGain, out, best.left, best.gain)
}

// scan tries each bin as the last on the left, with what is missing on the
// right and on the left. A side's gain is at most G^2/(H+l2); the two are
// compared with the best so far without a division.
func (s *searcher) scan(c *candidate, bins []packed, gap packed, best *cut) {
	g, h := unpack(c.sum)
	l2, least, top := s.rate.l2, c.minSum, best.gain
	gm, hm := unpack(gap)
	var left packed
	for b, v := range bins {
		if v == 0 {
			continue // parts the rows as the bin before does
		}
		left += v
		gl, hl := unpack(left)
		gr, hr := g-gl, h-hl
		if hr < least {
			return
		}
		if hl >= least {
			hl2, hr2 := hl+l2, hr+l2
			if gain, all := gl*gl*hr2+gr*gr*hl2, hl2*hr2; gain > top*all {
				if gain = s.limit(gain/all, gl, hl, gr, hr); gain > top {
					top = gain
					*best = cut{b, false, left, top, true}
				}
			}
		}
		if gap == 0 {
			continue
		}
		gl, hl, gr, hr = gl+gm, hl+hm, gr-gm, hr-hm
		if hl >= least && hr >= least {
			hl2, hr2 := hl+l2, hr+l2
			if gain, all := gl*gl*hr2+gr*gr*hl2, hl2*hr2; gain > top*all {
				if gain = s.limit(gain/all, gl, hl, gr, hr); gain > top {
					top = gain
					*best = cut{b, true, left + gap, top, true}
				}
			}
		}
	}
}

// limit returns the gain of two sides whose values MaxStep may bound; without a
// bound it is the gain given.
func (s *searcher) limit(gain, gl, hl, gr, hr float64) float64 {
	r := s.rate
	if math.IsInf(r.maxStep, 1) {
		return gain
	}
	return r.gain(gl, hl, r.output(gl, hl, unbounded)) + r.gain(gr, hr, r.output(gr, hr, unbounded))
}

// scanBounded is scan under penalties, bounds and a monotone constraint.
func (s *searcher) scanBounded(c *candidate, bins []packed, gap packed, sign int8, best *cut) {
	try := func(left packed, bin int, missing bool) {
		gl, hl := unpack(left)
		gr, hr := unpack(c.sum - left)
		if hl < c.minSum || hr < c.minSum {
			return
		}
		ol, or := s.rate.output(gl, hl, c.bounds), s.rate.output(gr, hr, c.bounds)
		if sign > 0 && ol > or || sign < 0 && ol < or {
			return
		}
		if gain := s.rate.gain(gl, hl, ol) + s.rate.gain(gr, hr, or); gain > best.gain {
			*best = cut{bin, missing, left, gain, true}
		}
	}
	var left packed
	for b, v := range bins {
		if v == 0 {
			continue
		}
		left += v
		try(left, b, false)
		if gap != 0 {
			try(left+gap, b, true)
		}
	}
}
