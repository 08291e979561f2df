package train

import (
	"cmp"
	"math"
	"slices"
)

// ranking is rows in the order of their scores, so that measures can be taken
// again and again under other weights without sorting again. It takes 12 bytes
// a row.
type ranking struct {
	score []float64 // falling
	key   []uint32  // of the same rows: what is resampled as a whole, and in the lowest bit the label
}

// newRanking sorts the rows. unit says which rows are drawn together, numbered
// from 0; nil: each row is alone. No score may be NaN.
func newRanking(score []float64, label []bool, unit []int32) *ranking {
	type scored struct {
		score float64
		row   uint32
	}
	rows := make([]scored, len(score))
	for i, s := range score {
		rows[i] = scored{s, uint32(i)}
	}
	slices.SortFunc(rows, func(a, b scored) int { return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.row, b.row)) })
	r := &ranking{make([]float64, len(rows)), make([]uint32, len(rows))}
	for i, s := range rows {
		key := s.row << 1
		if unit != nil {
			key = uint32(unit[s.row]) << 1
		}
		if label[s.row] {
			key |= 1
		}
		r.score[i], r.key[i] = s.score, key
	}
	return r
}

// separation returns the average precision and the ROC AUC with each row
// counted as often as its unit weighs, NaN where they are not defined. Tied
// rows count together. With all weights 1 they are model.AveragePrecision and
// model.ROCAUC.
func (r *ranking) separation(weight []uint16) (ap, auc float64) {
	var tp, seen, area int64 // area counts each pair twice, a tie once
	for i := 0; i < len(r.score); {
		s := r.score[i]
		var pos, all int64
		for ; i < len(r.score) && r.score[i] == s; i++ {
			k := r.key[i]
			w := int64(weight[k>>1])
			all += w
			pos += w & -int64(k&1)
		}
		area += (all - pos) * (2*tp + pos)
		tp += pos
		seen += all
		if pos > 0 {
			ap += float64(pos) * float64(tp) / float64(seen)
		}
	}
	if tp == 0 {
		return math.NaN(), math.NaN()
	}
	return ap / float64(tp), float64(area) / 2 / float64(tp) / float64(seen-tp) // 0/0 without negatives
}
