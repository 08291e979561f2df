package model

// compile makes the program of e's trees.
func (e *Ensemble) compile() {
	e.program = program{}
	c := compiler{e: e, p: &e.program}
	c.decisions = c.p.decide(e)
	c.place()
	for s := range lanes {
		first, end := c.segment(s)
		c.p.starts[s] = c.p.end
		if first == end {
			continue
		}
		c.p.starts[s] = c.first[s]
		c.lead(c.first[s], first, end)
		for t := first; t < end; t++ {
			c.fill(t, end)
		}
	}
	*c.at(c.p.end) = record{limit: always, left: c.p.end}
}

type compiler struct {
	e         *Ensemble
	p         *program
	decisions []decision
	position  []uint32      // record of each node that has one
	first     [lanes]uint32 // record that leads to the segment's first tree
}

func (c *compiler) at(i uint32) *record { return &c.p.records[i] }

// segment returns the trees of segment s.
func (c *compiler) segment(s int) (first, end int) {
	n := len(c.e.roots)
	return s * n / lanes, (s + 1) * n / lanes
}

// place assigns the records: one for each node but a root that is split.
func (c *compiler) place() {
	c.position = make([]uint32, len(c.e.nodes))
	n := uint32(0)
	for s := range lanes {
		first, end := c.segment(s)
		if first < end {
			c.first[s] = n
			n++
		}
		for t := first; t < end; t++ {
			from, to := c.e.tree(t)
			if !c.e.nodes[from].leaf() {
				from++
			}
			for i := from; i < to; i++ {
				c.position[i] = n
				n++
			}
		}
	}
	c.p.end = n
	c.p.records = make([]record, n+1)
	c.p.trees = make([]uint32, n+1)
	for i := range c.p.trees {
		c.p.trees[i] = uint32(len(c.e.roots))
	}
}

// lead makes record i go on with tree t, or to the end after the segment's last.
func (c *compiler) lead(i uint32, t, end int) {
	r := c.at(i)
	if t == end {
		r.limit, r.left = always, c.p.end
		return
	}
	root := c.e.roots[t]
	if c.e.nodes[root].leaf() {
		r.limit, r.left = always, c.position[root]
		return
	}
	c.split(r, root)
}

func (c *compiler) split(r *record, i uint32) {
	d := c.decisions[i]
	r.limit, r.mask, r.col, r.left = d.limit, d.mask, d.col, c.position[c.e.nodes[i].left]
}

func (c *compiler) fill(t, end int) {
	from, to := c.e.tree(t)
	for i := from; i < to; i++ {
		r := c.at(c.position[i])
		switch n := c.e.nodes[i]; {
		case n.leaf():
			r.value = n.threshold
			c.p.trees[c.position[i]] = uint32(t)
			c.lead(c.position[i], t+1, end)
		case i > from:
			c.split(r, i)
		}
	}
}
