package model

import (
	"fmt"
	"math"
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
	ECE        float64 `json:"ece"` // over ECEBins bins
}

// ECEBins is how many bins the calibration errors of cards and evaluations have.
const ECEBins = 10

// ReliabilityPoint compares what was said with what came for some rows.
type ReliabilityPoint struct {
	Rows     int     `json:"rows"`
	Mean     float64 `json:"mean"`     // probability
	Observed float64 `json:"observed"` // share of positives
}

// NewReliability compares the probabilities of rows before and after a
// calibration. Both classes must occur. The curve is that of [ReliabilityBins].
func NewReliability(before, after []float64, label []bool, bins int) Reliability {
	r := Reliability{
		Rows: len(label), Positives: int(count(label)),
		Before: judgeProbabilities(before, label), After: judgeProbabilities(after, label),
	}
	for _, b := range ReliabilityBins(after, label, bins) {
		r.Curve = append(r.Curve, b.ReliabilityPoint)
	}
	return r
}

func judgeProbabilities(p []float64, label []bool) Probabilities {
	return Probabilities{LogLoss: LogLoss(p, label), Brier: Brier(p, label), BrierSkill: BrierSkill(p, label), ECE: ECE(p, label, ECEBins)}
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
