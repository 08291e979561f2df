package train

import (
	"cmp"
	"math"
	"slices"

	"github.com/stratoswarm/forestall/model"
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

// sums returns what the rows of each unit add to the means.
func (r *ranking) sums(units int) []unitSums {
	sums := make([]unitSums, units)
	for i, p := range r.score {
		s := &sums[r.key[i]>>1]
		s.rows++
		p = min(max(p, 1e-15), 1-1e-15)
		if r.key[i]&1 == 1 {
			s.positives++
			s.loss -= math.Log(p)
			s.brier += (1 - r.score[i]) * (1 - r.score[i])
		} else {
			s.loss -= math.Log1p(-p)
			s.brier += r.score[i] * r.score[i]
		}
	}
	return sums
}

// calibrationError returns the sum over equally wide bins of probability of
// |probabilities - labels|; divided by the rows it is model.ECE.
func (r *ranking) calibrationError(weight []uint16) (sum float64) {
	bin, gap := model.ECEBins-1, 0.0
	for i, p := range r.score {
		k := r.key[i]
		if at := max(min(int(p*model.ECEBins), model.ECEBins-1), 0); at != bin {
			sum += math.Abs(gap)
			bin, gap = at, 0
		}
		gap += float64(weight[k>>1]) * (p - float64(k&1))
	}
	return sum + math.Abs(gap)
}

// top returns how many of the first rows by score are positive, that many rows
// by weight; of tied rows at the edge their share.
func (r *ranking) top(weight []uint16, rows float64) (tp float64) {
	seen := 0.0
	for i := 0; i < len(r.score) && seen < rows; {
		s := r.score[i]
		pos, all := 0.0, 0.0
		for ; i < len(r.score) && r.score[i] == s; i++ {
			w := float64(weight[r.key[i]>>1])
			all += w
			pos += w * float64(r.key[i]&1)
		}
		if seen+all > rows {
			return tp + pos*(rows-seen)/all
		}
		tp += pos
		seen += all
	}
	return tp
}

// reach returns how many rows reach the threshold.
func (r *ranking) reach(threshold float64) int {
	return keep(len(r.score), func(i int) bool { return r.score[i] >= threshold })
}

// within returns how many of the first n rows are positive, and how many there
// are, by weight.
func (r *ranking) within(weight []uint16, n int) (tp, all float64) {
	for _, k := range r.key[:n] {
		w := float64(weight[k>>1])
		all += w
		tp += w * float64(k&1)
	}
	return tp, all
}
