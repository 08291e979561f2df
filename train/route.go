package train

// router finds the leaves of rows that a tree was not grown on.
type router struct {
	turns []turn // branches, then leaves
	nodes int32  // branches
}

// turn is a branch, or a leaf, which leads to itself.
type turn struct {
	table *[256]uint8 // of goesLeft
	word  int         // of a row
	shift uint8       // of the bin in the word
	next  [2]int32    // right and left
}

// router returns one for the tree that the grower holds.
func (g *grower) router() router {
	n := int32(len(g.nodes))
	r := router{make([]turn, len(g.nodes)+len(g.leaves)), n}
	of := func(at int) int32 {
		if at < 0 {
			return n + int32(^at)
		}
		return int32(at)
	}
	for i := range g.nodes {
		b := &g.nodes[i]
		r.turns[i] = turn{b.table, b.feature / wordFeatures, uint8(b.feature % wordFeatures * 8), [2]int32{of(b.right), of(b.left)}}
	}
	nowhere := new([256]uint8)
	for i := n; i < int32(len(r.turns)); i++ {
		r.turns[i] = turn{table: nowhere, next: [2]int32{i, i}}
	}
	return r
}

// after returns the turn after one, for a row's words.
func (r *router) after(at int32, words []uint64) int32 {
	s := &r.turns[at]
	return s.next[s.table[uint8(words[s.word]>>s.shift)]&1]
}

// leaf returns the leaf of a row.
func (r *router) leaf(d *Dataset, row int) int {
	words := d.words(row)
	at := int32(0)
	for at < r.nodes {
		at = r.after(at, words)
	}
	return int(at - r.nodes)
}

// leaves sets the leaves of rows, four at a time: a turn waits for the one before
// it, those of other rows do not.
func (r *router) leaves(d *Dataset, rows []uint32, out []uint16) {
	for ; len(rows) >= 4; rows, out = rows[4:], out[4:] {
		a, b, c, e := d.words(int(rows[0])), d.words(int(rows[1])), d.words(int(rows[2])), d.words(int(rows[3]))
		var i, j, k, l int32
		for min(i, j, k, l) < r.nodes {
			i, j, k, l = r.after(i, a), r.after(j, b), r.after(k, c), r.after(l, e)
		}
		out[0], out[1], out[2], out[3] = uint16(i-r.nodes), uint16(j-r.nodes), uint16(k-r.nodes), uint16(l-r.nodes)
	}
	for i, row := range rows {
		out[i] = uint16(r.leaf(d, int(row)))
	}
}
