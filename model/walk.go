package model

import "math/bits"

// Groups of rows go through a segment one after the other, so that it stays in the
// cache: at most maxGroups, and no more than maxKeys allow.
const (
	maxGroups = 4
	maxKeys   = 1 << 18
)

// scratch is what one caller needs to score rows.
type scratch struct {
	keys   []uint64        // of one row, by column
	leaves []float64       // values of one row's leaves, by tree, and one place for what is none
	groups [][lanes]uint64 // of the rows of a block, by group and column; made by the first batch, and none where a row has very many
}

func newScratch(p *program, trees int) *scratch {
	return &scratch{keys: make([]uint64, p.columns()), leaves: make([]float64, trees+1)}
}

// score returns the sum of one row's leaves, in the order of the trees.
func (p *program) score(row []float64, s *scratch) (sum float64) {
	p.keys(row, s.keys)
	walkSegments(p.records, p.trees, s.keys, p.starts, p.end, s.leaves)
	for _, v := range s.leaves[:len(s.leaves)-1] {
		sum += v
	}
	return sum
}

// scoreBatch writes the scores of rows of width w. It adds in the same order.
func (p *program) scoreBatch(rows, dst []float64, w int, s *scratch) {
	n := p.columns()
	most := min(maxGroups, maxKeys/(lanes*n))
	if s.groups == nil {
		s.groups = make([][lanes]uint64, most*n)
	}
	for most > 0 && len(dst) >= lanes {
		groups := min(most, len(dst)/lanes)
		for g := range groups {
			p.groupKeys(rows[g*lanes*w:], w, s.groups[g*n:(g+1)*n])
		}
		clear(dst[:groups*lanes])
		for _, start := range p.starts {
			for g := range groups {
				walkRows(p.records, s.groups[g*n:(g+1)*n], start, p.end, (*[lanes]float64)(dst[g*lanes:]))
			}
		}
		rows, dst = rows[groups*lanes*w:], dst[groups*lanes:]
	}
	for i := range dst {
		dst[i] = p.score(rows[i*w:(i+1)*w], s)
	}
}

// keys writes the key of each column.
func (p *program) keys(row []float64, keys []uint64) {
	keys = keys[:len(p.numeric)+len(p.categorical)]
	for i := range p.numeric {
		c := &p.numeric[i]
		keys[i] = c.key(row[c.feature])
	}
	keys = keys[len(p.numeric):]
	for i := range p.categorical {
		c := &p.categorical[i]
		keys[i] = c.key(row[c.feature])
	}
}

// groupKeys is keys for the first rows, one for each lane.
func (p *program) groupKeys(rows []float64, w int, keys [][lanes]uint64) {
	for i := range p.numeric {
		c := p.numeric[i]
		at := int(c.feature)
		for l := range lanes {
			keys[i][l] = c.key(rows[at])
			at += w
		}
	}
	keys = keys[len(p.numeric):]
	for i := range p.categorical {
		c := &p.categorical[i]
		for l := range lanes {
			keys[i][l] = c.key(rows[l*w+int(c.feature)])
		}
	}
}

// step returns the record that follows r for a row with that key in r's column.
func step(r *record, key uint64) uint32 {
	_, right := bits.Sub64(r.limit, key&r.mask, 0)
	return r.left + uint32(right)
}

// walkRows adds to each row's score the values of one segment, one by one.
func walkRows(records []record, keys [][lanes]uint64, start, end uint32, dst *[lanes]float64) {
	a, b, c, d, e, f, g, h := start, start, start, start, start, start, start, start
	s0, s1, s2, s3, s4, s5, s6, s7 := dst[0], dst[1], dst[2], dst[3], dst[4], dst[5], dst[6], dst[7]
	for a&b&c&d&e&f&g&h != end { // end is the last record, so all are there
		r := &records[a]
		a, s0 = step(r, keys[r.col][0]), s0+r.value
		r = &records[b]
		b, s1 = step(r, keys[r.col][1]), s1+r.value
		r = &records[c]
		c, s2 = step(r, keys[r.col][2]), s2+r.value
		r = &records[d]
		d, s3 = step(r, keys[r.col][3]), s3+r.value
		r = &records[e]
		e, s4 = step(r, keys[r.col][4]), s4+r.value
		r = &records[f]
		f, s5 = step(r, keys[r.col][5]), s5+r.value
		r = &records[g]
		g, s6 = step(r, keys[r.col][6]), s6+r.value
		r = &records[h]
		h, s7 = step(r, keys[r.col][7]), s7+r.value
	}
	*dst = [lanes]float64{s0, s1, s2, s3, s4, s5, s6, s7}
}

// walkSegments writes the values of one row's leaves. It walks through all
// segments, so it cannot add on the way and keep to the order of the trees.
func walkSegments(records []record, trees []uint32, keys []uint64, starts [lanes]uint32, end uint32, leaves []float64) {
	trees = trees[:len(records)]
	a, b, c, d, e, f, g, h := starts[0], starts[1], starts[2], starts[3], starts[4], starts[5], starts[6], starts[7]
	for a&b&c&d&e&f&g&h != end {
		r := &records[a]
		leaves[trees[a]] = r.value
		a = step(r, keys[r.col])
		r = &records[b]
		leaves[trees[b]] = r.value
		b = step(r, keys[r.col])
		r = &records[c]
		leaves[trees[c]] = r.value
		c = step(r, keys[r.col])
		r = &records[d]
		leaves[trees[d]] = r.value
		d = step(r, keys[r.col])
		r = &records[e]
		leaves[trees[e]] = r.value
		e = step(r, keys[r.col])
		r = &records[f]
		leaves[trees[f]] = r.value
		f = step(r, keys[r.col])
		r = &records[g]
		leaves[trees[g]] = r.value
		g = step(r, keys[r.col])
		r = &records[h]
		leaves[trees[h]] = r.value
		h = step(r, keys[r.col])
	}
}
