package model

// next returns the node that follows the inner node n, by the rules of LightGBM.
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
