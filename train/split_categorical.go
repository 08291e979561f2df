package train

import (
	"cmp"
	"slices"
)

// LightGBM's defaults for categorical features.
const (
	oneHotCategories = 4   // up to so many, each is tried against all others
	maxCategories    = 32  // that go left
	categorySmooth   = 10  // added to the hessian by which categories are ordered; also rows of one, at least
	categoryL2       = 10  // further penalty on the leaves of such a split
	rowsPerGroup     = 100 // that a step of the scan adds, at least
)

// category is a bin of a categorical feature in a leaf.
type category struct {
	bin  int
	sum  packed
	rows float64 // estimated from the hessian
	mean float64 // what they are ordered by
}

// categorical returns the best split of the leaf by categorical feature f: the
// categories in the order of their mean gradient, cut in two (Fisher 1958; as
// LightGBM's FindBestThresholdCategorical). What is missing, rare or unknown
// goes right.
func (s *searcher) categorical(c *candidate, f int, bins *[256]packed) split {
	_, hessian := unpack(c.sum)
	perHessian := float64(c.rows) / hessian
	var all []category
	for bin, sum := range bins[:s.d.binnings[f].n] {
		g, h := unpack(sum)
		if h == 0 {
			continue
		}
		all = append(all, category{bin, sum, h * perHessian, g / (h + categorySmooth*s.perHessian)})
	}
	if len(all) <= oneHotCategories {
		return s.oneCategory(c, f, all)
	}
	all = slices.DeleteFunc(all, func(k category) bool { return k.rows < categorySmooth })
	slices.SortFunc(all, func(a, b category) int {
		return cmp.Or(cmp.Compare(a.mean, b.mean), cmp.Compare(a.bin, b.bin))
	})
	up := s.prefix(c, f, all)
	slices.Reverse(all)
	if down := s.prefix(c, f, all); down.gain > up.gain {
		return down
	}
	return up
}

// oneCategory tries each category against all others.
func (s *searcher) oneCategory(c *candidate, f int, all []category) split {
	best, out := s.floor(c), split{}
	for _, k := range all {
		if gain, ok := s.parts(c, s.rate, k.sum); ok && gain > best {
			best = gain
			out = finish(c, s.rate, s.toGain, split{feature: f, set: new([4]uint64)}, k.sum, gain)
			out.set[k.bin/64] = 1 << (k.bin % 64)
		}
	}
	return out
}

// prefix tries to send the first categories of a list left.
func (s *searcher) prefix(c *candidate, f int, all []category) split {
	rate := s.rate
	rate.l2 += categoryL2 * s.perHessian
	best, count := s.floor(c), 0
	var left, bestLeft packed
	group := 0.0 // rows since the last cut that was tried
	for i, k := range all[:min(len(all), maxCategories, (len(all)+1)/2)] {
		left += k.sum
		if group += k.rows; group < rowsPerGroup {
			continue
		}
		gain, ok := s.parts(c, rate, left)
		if !ok {
			continue
		}
		group = 0
		if gain > best {
			best, bestLeft, count = gain, left, i+1
		}
	}
	if count == 0 {
		return split{}
	}
	out := split{feature: f, set: new([4]uint64)}
	for _, k := range all[:count] {
		out.set[k.bin/64] |= 1 << (k.bin % 64)
	}
	return finish(c, rate, s.toGain, out, bestLeft, best)
}

// parts returns the gain of both sides; ok is false where one is too small.
func (s *searcher) parts(c *candidate, rate learning, left packed) (gain float64, ok bool) {
	gl, hl := unpack(left)
	gr, hr := unpack(c.sum - left)
	if hl < c.minSum || hr < c.minSum {
		return 0, false
	}
	return rate.gain(gl, hl, rate.output(gl, hl, c.bounds)) + rate.gain(gr, hr, rate.output(gr, hr, c.bounds)), true
}
