package train

import (
	"math"
	"math/bits"
	"slices"
)

// finderCells is how many equal parts the span of a feature's bounds is cut into, at
// most and for each of few bounds: a table may have many features of a few values.
const (
	finderCells = 1024
	cellsPerKey = 16
)

// binFinder finds the bin of a value: a table of equal parts says where to look,
// and of the few bounds there those below the value are counted.
type binFinder struct {
	low, scale float64
	last       float64  // cell
	start      []uint8  // bounds in front of a cell; of cells a power of two
	step       uint64   // the first of the search within a cell, a power of two; 0: no bounds
	keys       []uint64 // of the bounds, rising; those behind the last are larger than any. A power of two, and more than twice the bounds
}

// init takes the bounds, at most 255, rising.
func (s *binFinder) init(bounds []float64) {
	size := 1 << bits.Len(uint(len(bounds)))
	cells := min(cellsPerKey*size, finderCells)
	s.start, s.keys = make([]uint8, cells), make([]uint64, 2*size)
	s.last = float64(cells - 1)
	for i := range s.keys {
		s.keys[i] = math.MaxUint64
	}
	if len(bounds) == 0 {
		return
	}
	s.low = bounds[0]
	s.scale = s.last / (bounds[len(bounds)-1] - s.low) // infinite for one bound, 0 for an infinite span
	var counts [finderCells]int
	for i, b := range bounds {
		s.keys[i] = key(b)
		counts[s.cell(b)]++
	}
	before := 0
	for c, n := range counts[:cells] {
		s.start[c] = uint8(before)
		before += n
	}
	s.step = 1 << (bits.Len(uint(slices.Max(counts[:]))) - 1)
}

// cell returns the part that a number lies in. It never falls as v rises, so a
// bound in a lower cell is lower, and one in a higher cell is higher.
func (s *binFinder) cell(v float64) int {
	c := (v - s.low) * s.scale
	if !(c > 0) { // also what is 0 times infinite
		c = 0
	}
	if c > s.last {
		c = s.last
	}
	return int(c)
}

// bin returns how many bounds are below v.
func (s *binFinder) bin(v float64) uint64 {
	k, at := key(v), uint64(s.start[s.cell(v)&(len(s.start)-1)])
	for step := s.step; step > 0; step >>= 1 {
		// With a borrow instead of a jump, which could not be foretold.
		_, above := bits.Sub64(s.keys[(at+step-1)&uint64(len(s.keys)-1)], k, 0)
		at += step & -above
	}
	return at
}

// key returns a whole number that orders as v does.
func key(v float64) uint64 {
	k := math.Float64bits(v + 0) // 0 for -0
	return k ^ (uint64(int64(k)>>63) | 1<<63)
}

// unkey returns the value of a key.
func unkey(k uint64) float64 {
	return math.Float64frombits(k ^ (^uint64(int64(k)>>63) | 1<<63))
}

// sortFloats sorts values, NaN anywhere: digit after digit of their keys, 11
// bits each, from the lowest on (Knuth, 5.2.5, Algorithm R). Digits that all
// values share cost nothing.
func sortFloats(values []float64) {
	const digit, digits = 11, 6
	if len(values) < 1<<digit {
		slices.Sort(values)
		return
	}
	from, to := make([]uint64, len(values)), make([]uint64, len(values))
	var counts [digits][1 << digit]uint32
	for i, v := range values {
		k := key(v)
		from[i] = k
		for d := range counts {
			counts[d][k>>(d*digit)&(1<<digit-1)]++
		}
	}
	for d := range counts {
		c, shift := &counts[d], d*digit
		if c[from[0]>>shift&(1<<digit-1)] == uint32(len(from)) {
			continue
		}
		sum := uint32(0)
		for i, n := range c {
			c[i] = sum
			sum += n
		}
		for _, k := range from {
			i := &c[k>>shift&(1<<digit-1)]
			to[*i] = k
			*i++
		}
		from, to = to, from
	}
	for i, k := range from {
		values[i] = unkey(k)
	}
}
