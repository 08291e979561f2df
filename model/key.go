package model

import "math"

// A row is scored in two steps. First each value becomes a key, a whole number:
// one for each column, which is a feature and a way of treating what is missing.
// Then every split of every tree is one comparison of whole numbers, whatever it
// was in the text: go right if key & mask > limit.

const (
	signBit  = 1 << 63
	always   = math.MaxUint64 // as a limit: every row goes left
	infinity = 0x7ff << 52    // bits of +Inf
)

// order maps numbers to whole numbers in the same order; -0 comes before 0.
func order(v float64) uint64 {
	b := math.Float64bits(v)
	return b ^ (uint64(int64(b)>>63) | signBit)
}

// numeric is the column of a feature's numerical splits.
type numeric struct {
	feature uint32
	low     uint64 // twice the bits of |v| below which it is missing
	span    uint64 // from low to those of infinity
	missing uint64 // key of what is missing
}

// newNumeric returns the column for the numerical node n. What is missing gets a
// key below or above all limits, or that of 0.
func newNumeric(n node) numeric {
	c := numeric{feature: uint32(n.feature()), missing: always}
	switch {
	case n.meta&flagNaNZero != 0:
		c.missing = order(0)
	case n.meta&flagNaNLeft != 0:
		c.missing = 0
	}
	if n.meta&flagZero != 0 {
		c.low = math.Float64bits(zeroThreshold)<<1 + 1
	}
	c.span = infinity<<1 - c.low
	return c
}

// key is free of jumps: where values are missing at random, a jump would be
// guessed wrong.
func (c *numeric) key(v float64) uint64 {
	b := math.Float64bits(v)
	k, missing := b^(uint64(int64(b)>>63)|signBit), c.missing
	if b<<1-c.low > c.span {
		k = missing
	}
	return k
}

// setsPerColumn is the number of bits of a key.
const setsPerColumn = 64

// categorical is the column of up to 64 of a feature's categorical splits: bit
// j of its key says that the row goes right at split j.
type categorical struct {
	feature uint32
	limit   int        // categories from here on are in no set
	sets    [][]uint32 // of the splits, in the order of their bits
	table   []uint64   // keys of the first categories
}

// tabulate makes the table. Its size is bounded by the number of splits: a large
// set that few splits use is looked up instead.
func (c *categorical) tabulate() {
	c.table = make([]uint64, min(c.limit, setsPerColumn*len(c.sets)))
	for i := range c.table {
		c.table[i] = c.lookup(i)
	}
}

// key cuts v to a whole number; what is missing, negative or unknown goes right.
func (c *categorical) key(v float64) uint64 {
	if !(v > -1 && v < float64(c.limit)) {
		return math.MaxUint64
	}
	i := int(v)
	if i < len(c.table) {
		return c.table[i]
	}
	return c.lookup(i)
}

func (c *categorical) lookup(i int) uint64 {
	k := uint64(math.MaxUint64)
	for j, set := range c.sets {
		if w := i / 32; w < len(set) {
			k &^= uint64(set[w]>>(i%32)&1) << j
		}
	}
	return k
}
