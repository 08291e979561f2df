package model

// What a split is, by LightGBM's rules and one at a time: what the program, the
// plan and their keys are held against.

func (e *Ensemble) next(n node, row []float64) uint32 {
	v := row[n.feature()]
	left := false
	switch missing := v != v || n.meta&flagZero != 0 && v >= -zeroThreshold && v <= zeroThreshold; {
	case n.meta&flagSet != 0:
		set := e.sets[int(n.threshold)]
		left = v > -1 && v < float64(32*len(set)) && set[int(v)/32]>>(int(v)%32)&1 == 1
	case missing && n.meta&flagNaNZero != 0:
		left = 0 <= n.threshold
	case missing:
		left = n.meta&flagNaNLeft != 0
	default:
		left = v <= n.threshold
	}
	if left {
		return n.left
	}
	return n.left + 1
}

// definition returns the sum of the leaves that the row falls into.
func (e *Ensemble) definition(row []float64) (sum float64) {
	for _, i := range e.roots {
		for !e.nodes[i].leaf() {
			i = e.next(e.nodes[i], row)
		}
		sum += e.nodes[i].threshold
	}
	return sum
}
