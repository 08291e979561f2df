package train

import (
	"cmp"
	"slices"

	"github.com/stratoswarm/forestall/model"
)

// PeakShare is the share of the rows of a span of time, the highest
// probabilities, by which later ones are corrected: they are those that raise
// alarms, and hold enough of the failures to count.
const PeakShare = 0.01

// Peak is a row with one of the highest probabilities of its span.
type Peak struct {
	Time        float64
	Probability float64 // before it was corrected
	Positive    bool
}

// Peaks returns the rows with the highest probabilities, [PeakShare] of all, the
// highest first.
func Peaks(probability []float64, positive []bool, time []float64) []Peak {
	order := make([]int, len(probability))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(probability[j], probability[i]) })
	n := min(len(order), max(1, int(PeakShare*float64(len(order)))))
	peaks := make([]Peak, n)
	for k, i := range order[:n] {
		peaks[k] = Peak{time[i], probability[i], positive[i]}
	}
	return peaks
}

// Recalibrate returns what came of the peaks with from <= time <= to: those whose
// outcome is known, and not so old that rates were others.
func Recalibrate(peaks []Peak, from, to float64) model.Recalibration {
	r := model.Recalibration{Prior: model.RecalibrationPrior}
	for _, p := range peaks {
		if p.Time >= from && p.Time <= to {
			r.Add(p.Probability, p.Positive)
		}
	}
	return r
}
