package model

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Reliability is how true a model's probabilities are on some rows.
type Reliability struct {
	Of        string             `json:"of"` // the rows, in words
	Rows      int                `json:"rows"`
	Positives int                `json:"positives"`
	Unseen    bool               `json:"unseen"` // each row was judged by a calibration that was fitted without it
	Before    Probabilities      `json:"before"` // calibration
	After     Probabilities      `json:"after"`
	Curve     []ReliabilityPoint `json:"curve"` // of the calibrated probabilities, which rise
}

// Probabilities are figures of how good some are.
type Probabilities struct {
	LogLoss    float64 `json:"log_loss"` // nats per row
	Brier      float64 `json:"brier"`
	BrierSkill float64 `json:"brier_skill"`
	ECE        float64 `json:"ece"` // over 10 equally wide bins
}

// ReliabilityPoint compares what was said with what came for some rows.
type ReliabilityPoint struct {
	Rows     int     `json:"rows"`
	Mean     float64 `json:"mean"`     // probability
	Observed float64 `json:"observed"` // share of positives
}

// NewReliability compares the probabilities of rows before and after a
// calibration. Both classes must occur. The curve has at most so many points,
// each of rows that together should hold about as many positives: rare failures
// would leave no others than the last of points of equally many rows anything
// to show.
func NewReliability(before, after []float64, label []bool, points int) Reliability {
	return Reliability{
		Rows: len(label), Positives: int(count(label)),
		Before: judgeProbabilities(before, label), After: judgeProbabilities(after, label),
		Curve: reliabilityCurve(after, label, points),
	}
}

func judgeProbabilities(p []float64, label []bool) Probabilities {
	return Probabilities{LogLoss: LogLoss(p, label), Brier: Brier(p, label), BrierSkill: BrierSkill(p, label), ECE: ECE(p, label, 10)}
}

func reliabilityCurve(p []float64, label []bool, points int) (curve []ReliabilityPoint) {
	order := make([]int, len(p))
	total := 0.0
	for i := range order {
		order[i] = i
		total += p[i]
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(p[i], p[j]) })
	var passed, sum, positives float64
	rows := 0
	for at, i := range order {
		rows++
		sum += p[i]
		if label[i] {
			positives++
		}
		last := at == len(order)-1
		full := passed+sum >= total*float64(len(curve)+1)/float64(points)
		if !last && (!full || p[order[at+1]] == p[i]) { // equal ones stay together
			continue
		}
		if last || len(curve) < points-1 {
			// Rounding must not take the mean out of its rows' range.
			mean := min(max(sum/float64(rows), p[order[at-rows+1]]), p[i])
			curve = append(curve, ReliabilityPoint{Rows: rows, Mean: mean, Observed: positives / float64(rows)})
			passed += sum
			rows, sum, positives = 0, 0, 0
		}
	}
	return curve
}

// Validate reports figures that cannot be.
func (r *Reliability) Validate() error {
	if r.Rows < 1 || r.Positives < 0 || r.Positives > r.Rows {
		return fmt.Errorf("has %d positives of %d rows", r.Positives, r.Rows)
	}
	last := math.Inf(-1)
	for i, p := range r.Curve {
		if p.Rows < 1 || !(p.Mean >= max(last, 0) && p.Mean <= 1 && p.Observed >= 0 && p.Observed <= 1) {
			return fmt.Errorf("has the curve point %d (%d rows, %v, %v): rows must be positive, mean must not fall, mean and observed must lie in [0,1]", i, p.Rows, p.Mean, p.Observed)
		}
		last = p.Mean
	}
	return nil
}
