package model

import "math"

// lanes is how many walks go on in step, so that their loads overlap; their
// positions just fit the registers.
const lanes = 8

// record is a split as a walk sees it. The record of a leaf holds the split at
// the root of the next tree: a walk goes through tree after tree without a jump
// that depends on the row, adding the value of each record that it comes to.
type record struct {
	limit uint64  // right if key & mask > limit
	mask  uint64  // the bit of a categorical split, or all
	value float64 // of the leaf; 0 where there is none
	col   uint32  // column of the key
	left  uint32  // record to the left; the right one follows
}

// program is an ensemble made for scoring. The trees are cut into as many
// segments as there are lanes, so that the lanes may walk through one segment for
// different rows or through different segments for one row.
type program struct {
	numeric     []numeric     // the first columns
	categorical []categorical // the others
	records     []record
	trees       []uint32      // tree of each record that is a leaf's; else one more than there are
	starts      [lanes]uint32 // where each segment begins
	end         uint32        // the record that leads to itself
}

// columns returns the number of keys of a row. Where nothing is split there is one
// all the same: the records have to compare something.
func (p *program) columns() int { return max(1, len(p.numeric)+len(p.categorical)) }

// decision is the comparison of a split.
type decision struct {
	limit, mask uint64
	col         uint32
}

// decide returns the decision of each inner node, and p's columns for them.
func (p *program) decide(e *Ensemble) []decision {
	type key struct{ feature, flags uint32 }
	columns := map[key]int{}
	open := map[int]int{} // feature to the categorical column with a free bit
	decisions := make([]decision, len(e.nodes))
	for i, n := range e.nodes {
		if n.leaf() {
			continue
		}
		d := &decisions[i]
		if n.meta&flagSet == 0 {
			k := key{n.meta >> featureShift, n.meta & (flagNaNLeft | flagZero | flagNaNZero)}
			c, ok := columns[k]
			if !ok {
				c = len(p.numeric)
				columns[k] = c
				p.numeric = append(p.numeric, newNumeric(n))
			}
			t := n.threshold
			if t == 0 {
				t = 0 // -0 equals 0 and its key does not
			}
			*d = decision{limit: order(t), mask: math.MaxUint64, col: uint32(c)}
			continue
		}
		c, ok := open[n.feature()]
		if !ok || len(p.categorical[c].sets) == setsPerColumn {
			c = len(p.categorical)
			open[n.feature()] = c
			p.categorical = append(p.categorical, categorical{feature: uint32(n.feature())})
		}
		column := &p.categorical[c]
		set := e.sets[int(n.threshold)]
		*d = decision{mask: 1 << len(column.sets), col: uint32(c)}
		column.sets = append(column.sets, set)
		column.limit = max(column.limit, 32*len(set))
	}
	for i := range p.categorical {
		p.categorical[i].tabulate()
	}
	for i, n := range e.nodes {
		if n.meta&flagSet != 0 {
			decisions[i].col += uint32(len(p.numeric))
		}
	}
	return decisions
}
