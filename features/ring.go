package features

import (
	"math"
	"slices"
	"time"
)

// ring holds the buckets of one window. Most metrics keep their value for the
// length of a bucket, and mostly all are reported: a bucket has one clock, and a
// metric has one value there for as long as that says all. What says more is
// held apart and given back when the bucket's turn is over.
type ring struct {
	span  int64                   // ms, the window
	width int64                   // ms, one bucket
	id    [bucketsPerWindow]int64 // floor(ms/width) of what the slot holds
	clock [bucketsPerWindow]clock // of the slot's scrapes; n = 0: never used

	value  []float64 // slot-major: slot*metrics + metric; NaN: reported in none of the scrapes
	more   []int32   // likewise; 0: value says all; i: varied holds its levels; -i: patchy its moments
	varied stock[levels]
	patchy stock[moments]
	ewma   []float64 // by metric
}

func newRing(span time.Duration, metrics int) ring {
	ms := span.Milliseconds()
	return ring{
		span:  ms,
		width: ms / bucketsPerWindow,
		value: make([]float64, bucketsPerWindow*metrics),
		more:  make([]int32, bucketsPerWindow*metrics),
		ewma:  nans(metrics),
	}
}

// push adds one scrape at now. seenAt says when each metric was reported
// before.
func (r *ring) push(now int64, values []float64, seenAt []int64) {
	id := now / r.width
	slot := int(id % bucketsPerWindow)
	c := &r.clock[slot]
	value := r.value[slot*len(values) : (slot+1)*len(values)]
	more := r.more[slot*len(values) : (slot+1)*len(values)]
	if r.id[slot] != id || c.n == 0 {
		r.reuse(more)
		r.id[slot], *c = id, clock{}
	}
	t := float64(now-id*r.width) / 1000
	var alpha float64
	age := int64(-1) // that alpha is for: metrics mostly share it
	for m, v := range values {
		r.take(c, &value[m], &more[m], t, v)
		if !finite(v) {
			continue
		}
		if math.IsNaN(r.ewma[m]) || now-seenAt[m] > r.span {
			r.ewma[m] = v
			continue
		}
		if d := now - seenAt[m]; d != age {
			age, alpha = d, -math.Expm1(-2*float64(d)/float64(r.span))
		}
		r.ewma[m] += alpha * (v - r.ewma[m])
	}
	c.add(t)
}

// take adds a metric's reading at t, NaN if it was not reported, to what the
// bucket holds of it: value and more. c is the bucket's clock before t.
func (r *ring) take(c *clock, value *float64, more *int32, t, v float64) {
	switch {
	case *more < 0:
		if finite(v) {
			r.patchy.at(-*more).add(t, v)
		}
	case *more > 0 && finite(v):
		r.varied.at(*more).add(c, t, v)
	case *more > 0: // reported until now
		i := r.patchy.get()
		*r.patchy.at(i) = moments{*c, *r.varied.at(*more)}
		r.varied.put(*more)
		*more = -i
	case c.n == 0:
		if *value = v; !finite(v) {
			*value = math.NaN()
		}
	case unmoved(*value, v) || !finite(v) && math.IsNaN(*value):
	case math.IsNaN(*value): // missing until now
		i := r.patchy.get()
		*r.patchy.at(i) = moments{}
		r.patchy.at(i).add(t, v)
		*more = -i
	case finite(v):
		*more = r.varied.get()
		a := r.varied.at(*more)
		*a = constant(*value)
		a.add(c, t, v)
	default: // reported until now
		i := r.patchy.get()
		*r.patchy.at(i) = moments{*c, constant(*value)}
		*more = -i
	}
}

// unmoved reports whether readings of v and then w have constant(v) as their
// levels. Those of -0 have a mean of 0.
func unmoved(v, w float64) bool {
	const negativeZero = 1 << 63
	bits := math.Float64bits(v)
	return bits == math.Float64bits(w) && bits != negativeZero
}

// reuse gives back what a bucket has held, so that it is lent again in the
// order of the metrics: they are read in that order.
func (r *ring) reuse(more []int32) {
	for m, i := range slices.Backward(more) {
		switch {
		case i > 0:
			r.varied.put(i)
		case i < 0:
			r.patchy.put(-i)
		}
		more[m] = 0
	}
}

// merge writes the moments of the window that ends at now into dst, one per
// metric, oldest bucket first, and returns the number of scrapes in it.
func (r *ring) merge(now int64, dst []moments) (scrapes float64) {
	clear(dst)
	newest := now / r.width
	oldest := newest - bucketsPerWindow + 1
	var own joint
	var all clock // of the scrapes so far, and of each metric that they all reported
	for id := max(oldest, 0); id <= newest; id++ {
		slot := int(id % bucketsPerWindow)
		c := &r.clock[slot]
		if r.id[slot] != id || c.n == 0 {
			continue
		}
		shift := float64((id-oldest)*r.width) / 1000
		before := all
		all.merge(c, shift)
		shared := joinClocks(&before, c, shift)
		value := r.value[slot*len(dst) : (slot+1)*len(dst)]
		for m, i := range r.more[slot*len(dst) : (slot+1)*len(dst)] {
			a := &dst[m]
			if i < 0 {
				b := r.patchy.at(-i)
				a.merge(&b.clock, &b.levels, shift)
				continue
			}
			v := value[m]
			if i == 0 && v != v {
				continue
			}
			j := &shared
			if a.n == before.n {
				a.clock = all
			} else {
				own = joinClocks(&a.clock, c, shift)
				a.clock.merge(c, shift)
				j = &own
			}
			if i > 0 {
				a.levels.merge(r.varied.at(i), j)
			} else {
				a.mergeConstant(v, j)
			}
		}
	}
	return all.n
}

// stock lends values out by number, from 1. It grows a piece at a time and
// never shrinks: what comes back is lent again.
type stock[T any] struct {
	pieces []*[stockPiece]T
	lent   int32   // the highest number ever given
	back   []int32 // numbers that came back
}

const stockPiece = 16

// get returns a number that is no one's; what it holds is anything.
func (s *stock[T]) get() int32 {
	if n := len(s.back); n > 0 {
		i := s.back[n-1]
		s.back = s.back[:n-1]
		return i
	}
	if int(s.lent) == len(s.pieces)*stockPiece {
		s.pieces = append(s.pieces, new([stockPiece]T))
	}
	s.lent++
	return s.lent
}

func (s *stock[T]) at(i int32) *T { return &s.pieces[(i-1)/stockPiece][(i-1)%stockPiece] }

func (s *stock[T]) put(i int32) { s.back = append(s.back, i) }
