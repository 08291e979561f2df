package train

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Paired says how two models compare on the same rows.
type Paired struct {
	AUC, AP   Difference
	Units     int // that were resampled: components, or rows
	Resamples int
}

// Difference is how much better the first of two models is in one measure.
type Difference struct {
	A, B   float64  // the measure of each
	Delta  float64  // A - B
	CI     Interval // of Delta
	Better float64  // share of the resamples in which A is above B, a tie counting half; NaN without resamples
}

// PairedBootstrap compares the scores a and b that two models gave the same
// rows, by ROC AUC and average precision. Whole groups are drawn with
// replacement, single rows where group is nil, and both models are measured on
// each draw, so what makes a draw easy or hard cancels out (Efron and
// Tibshirani 1993, chapter 16). The result depends on the seed, not on the
// number of processors.
//
// It is an error when the lengths differ, a score is NaN, or the labels are all
// the same.
func PairedBootstrap(a, b []float64, label []bool, group []int, resamples int, seed uint64) (Paired, error) {
	return pairedBootstrap(a, b, label, numbered(group), resamples, seed, 0)
}

func pairedBootstrap(a, b []float64, label []bool, unit []int32, resamples int, seed uint64, workers int) (Paired, error) {
	if len(a) != len(label) || len(b) != len(label) || unit != nil && len(unit) != len(label) {
		return Paired{}, fmt.Errorf("compare: %d and %d scores, %d labels, %d groups; there must be one of each per row", len(a), len(b), len(label), len(unit))
	}
	if len(label) == 0 {
		return Paired{}, errors.New("compare: there are no rows")
	}
	if len(label) > maxRows {
		return Paired{}, fmt.Errorf("compare: %d rows; %d can be compared", len(label), maxRows)
	}
	if resamples < 0 {
		return Paired{}, fmt.Errorf("compare: resamples is %d; it must not be negative", resamples)
	}
	for i := range label {
		if math.IsNaN(a[i]) || math.IsNaN(b[i]) {
			return Paired{}, fmt.Errorf("compare: row %d has no score", i)
		}
	}
	units := len(label)
	if unit != nil {
		units = int(slices.Max(unit)) + 1
	}
	scores, rankings := [2][]float64{a, b}, [2]*ranking{}
	parallel(threads(workers), 2, func(_, i int) { rankings[i] = newRanking(scores[i], label, unit) })
	return compare(rankings, units, resamples, seed, threads(workers))
}

func compare(r [2]*ranking, units, resamples int, seed uint64, threads int) (Paired, error) {
	resamples = resamplesOf(units, resamples)
	p := Paired{Units: units, Resamples: resamples}
	all := ones(units)
	p.AP.A, p.AUC.A = r[0].separation(all)
	p.AP.B, p.AUC.B = r[1].separation(all)
	if math.IsNaN(p.AUC.A) {
		return Paired{}, errors.New("compare: all labels are the same; both classes are needed")
	}
	ap, auc := make([]float64, resamples), make([]float64, resamples)
	resample(threads, units, resamples, seed, func(_, i int, weight []uint16) {
		apA, aucA := r[0].separation(weight)
		apB, aucB := r[1].separation(weight)
		ap[i], auc[i] = apA-apB, aucA-aucB
	})
	p.AP.judge(ap)
	p.AUC.judge(auc)
	return p, nil
}

// judge fills in what follows from the resamples' differences.
func (d *Difference) judge(deltas []float64) {
	d.Delta = d.A - d.B
	better, defined := 0.0, 0.0
	for _, v := range deltas {
		switch {
		case v > 0:
			better++
		case v == 0:
			better += 0.5
		case v != v:
			continue
		}
		defined++
	}
	d.Better = better / defined
	d.CI = interval(deltas)
}

// numbered numbers the groups from 0 in the order in which they appear; nil
// stays nil.
func numbered(group []int) []int32 {
	if group == nil {
		return nil
	}
	seen := map[int]int32{}
	out := make([]int32, len(group))
	for i, g := range group {
		n, ok := seen[g]
		if !ok {
			n = int32(len(seen))
			seen[g] = n
		}
		out[i] = n
	}
	return out
}
