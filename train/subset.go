package train

// Subset returns the given rows as a dataset of its own, in their order. It has
// the bins of d: where they are cut follows from the values of all rows, never
// from a label.
func (d *Dataset) Subset(rows []int) *Dataset {
	s := newDataset(d.features, d.spec, len(rows), d.weight != nil)
	s.binnings, s.digest = d.binnings, d.digest
	for i, row := range rows {
		copy(s.bins[i*s.width:(i+1)*s.width], d.bins[row*d.width:(row+1)*d.width])
		s.label[i] = d.label[row]
		if d.weight != nil {
			s.weight[i] = d.weight[row]
		}
		if d.start != nil {
			s.start[i] = d.start[row]
		}
	}
	return s
}

// AllRows returns the numbers of all rows.
func (d *Dataset) AllRows() []int {
	rows := make([]int, d.rows)
	for i := range rows {
		rows[i] = i
	}
	return rows
}

// Classes returns how many of some rows, nil for all, have label 1 and how many
// have another. Rows of weight 0, which teach nothing, do not count.
func (d *Dataset) Classes(rows []int) (positive, negative int) {
	count := func(row int) {
		switch {
		case d.weight != nil && d.weight[row] == 0:
		case d.label[row] == 1:
			positive++
		default:
			negative++
		}
	}
	if rows == nil {
		for row := range d.rows {
			count(row)
		}
	}
	for _, row := range rows {
		count(row)
	}
	return positive, negative
}

// PositivesOf returns how many of some rows have label 1.
func (d *Dataset) PositivesOf(rows []int) (n int) {
	for _, row := range rows {
		if d.label[row] == 1 {
			n++
		}
	}
	return n
}
