package model

// definition returns the sum of the leaves that the row falls into, found split
// by split: what the program and its keys are held against.
func (e *Ensemble) definition(row []float64) (sum float64) {
	for _, i := range e.roots {
		for !e.nodes[i].leaf() {
			i = e.next(e.nodes[i], row)
		}
		sum += e.nodes[i].threshold
	}
	return sum
}
