package model

import (
	"cmp"
	"math"
	"slices"
)

// The metrics below take a score or a probability and a label per row. They
// return NaN where they are not defined: no rows, or a class that is missing.

// AveragePrecision returns the area under the precision-recall curve as the sum
// of precision times the gain in recall over the distinct scores, so tied rows
// count together. A random score gives the share of positives.
func AveragePrecision(score []float64, label []bool) float64 {
	var ap, tp, seen float64
	positives := count(label)
	if positives == 0 {
		return math.NaN()
	}
	ties(score, label, func(pos, neg float64) {
		tp += pos
		seen += pos + neg
		ap += pos / positives * tp / seen
	})
	return ap
}

// ROCAUC returns the probability that a positive row scores above a negative
// one, a tie counting half.
func ROCAUC(score []float64, label []bool) float64 {
	var area, tp float64
	positives := count(label)
	negatives := float64(len(label)) - positives
	if positives == 0 || negatives == 0 {
		return math.NaN()
	}
	ties(score, label, func(pos, neg float64) {
		area += neg * (tp + pos/2)
		tp += pos
	})
	return area / positives / negatives
}

// ties visits the distinct scores from the highest down with the number of
// positive and negative rows at each.
func ties(score []float64, label []bool, visit func(pos, neg float64)) {
	order := make([]int, len(score))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(score[j], score[i]) })
	for len(order) > 0 {
		var pos, neg float64
		n := 0
		for ; n < len(order) && score[order[n]] == score[order[0]]; n++ {
			if label[order[n]] {
				pos++
			} else {
				neg++
			}
		}
		n = max(n, 1) // a NaN equals nothing
		visit(pos, neg)
		order = order[n:]
	}
}

func count(label []bool) (n float64) {
	for _, y := range label {
		if y {
			n++
		}
	}
	return n
}

// LogLoss returns the mean negative log-likelihood in nats. Probabilities are
// kept 1e-15 away from 0 and 1.
func LogLoss(p []float64, label []bool) float64 {
	return mean(p, label, func(p float64, y bool) float64 {
		p = min(max(p, 1e-15), 1-1e-15)
		if y {
			return -math.Log(p)
		}
		return -math.Log1p(-p)
	})
}

// Brier returns the mean squared error of the probabilities.
func Brier(p []float64, label []bool) float64 {
	return mean(p, label, func(p float64, y bool) float64 {
		if y {
			return (1 - p) * (1 - p)
		}
		return p * p
	})
}

// BrierSkill returns 1 - Brier / Brier of always saying the base rate: 1 is
// perfect, 0 is no better than the base rate, negative is worse.
func BrierSkill(p []float64, label []bool) float64 {
	base := count(label) / float64(len(label))
	if base == 0 || base == 1 {
		return math.NaN()
	}
	return 1 - Brier(p, label)/(base*(1-base))
}

func mean(p []float64, label []bool, loss func(float64, bool) float64) float64 {
	sum := 0.0
	for i, v := range p {
		sum += loss(v, label[i])
	}
	return sum / float64(len(p))
}

// ECE returns the expected calibration error over equally wide bins of
// probability: the mean over rows of |mean probability - share of positives| of
// their bin (Naeini et al. 2015).
func ECE(p []float64, label []bool, bins int) float64 {
	gap := make([]float64, bins) // sum of probability - label
	for i, v := range p {
		b := min(max(int(v*float64(bins)), 0), bins-1)
		gap[b] += v
		if label[i] {
			gap[b]--
		}
	}
	sum := 0.0
	for _, g := range gap {
		sum += math.Abs(g)
	}
	return sum / float64(len(p))
}

// Confusion counts what became of yes-or-no predictions.
type Confusion struct{ TP, FP, TN, FN int }

// Add counts one prediction and what came of it.
func (c *Confusion) Add(predicted, actual bool) {
	switch {
	case predicted && actual:
		c.TP++
	case predicted:
		c.FP++
	case actual:
		c.FN++
	default:
		c.TN++
	}
}

// Precision returns the share of alarms that were right.
func (c Confusion) Precision() float64 { return ratio(c.TP, c.TP+c.FP) }

// Recall returns the share of failures that were announced.
func (c Confusion) Recall() float64 { return ratio(c.TP, c.TP+c.FN) }

// Balanced returns the balanced accuracy, the mean of the recall of both
// classes: always saying "no" scores 0.5.
func (c Confusion) Balanced() float64 { return (c.Recall() + ratio(c.TN, c.TN+c.FP)) / 2 }

func ratio(n, of int) float64 {
	if of == 0 {
		return math.NaN()
	}
	return float64(n) / float64(of)
}

// BalancedAccuracy returns the balanced accuracy of calling a row positive when
// its score is at least the threshold.
func BalancedAccuracy(score []float64, label []bool, threshold float64) float64 {
	var c Confusion
	for i, s := range score {
		c.Add(s >= threshold, label[i])
	}
	return c.Balanced()
}
