package model

import (
	"errors"
	"math"
)

// Recalibration says what came of probabilities that were given before: rates
// drift, and a calibration is true of the time that it was fitted to. Where more
// failures came than were expected, the odds of those to come are raised
// (recalibration in the large: Steyerberg 2004, of the odds and not only of the
// mean).
type Recalibration struct {
	Observed float64 `json:"observed"` // failures among the highest probabilities
	Expected float64 `json:"expected"` // sum of these probabilities
	// Prior is how many failures that came as expected are added to both, so that
	// few do not correct much.
	Prior float64 `json:"prior"`
}

// RecalibrationPrior is the prior that was best, of those that were tried, on
// Backblaze's quarters; docs/benchmarks-risk.md has what it gives.
const RecalibrationPrior = 50

// Add takes a probability and what came of it.
func (r *Recalibration) Add(probability float64, failed bool) {
	r.Expected += probability
	if failed {
		r.Observed++
	}
}

// Factor returns what the odds are to be multiplied by.
func (r Recalibration) Factor() float64 {
	if r.Expected+r.Prior == 0 {
		return 1
	}
	return (r.Observed + r.Prior) / (r.Expected + r.Prior)
}

// Validate reports counts that are not usable.
func (r Recalibration) Validate() error {
	for _, v := range []float64{r.Observed, r.Expected, r.Prior} {
		if !(v >= 0) || math.IsInf(v, 0) {
			return errors.New("observed, expected and prior must be finite and at least 0")
		}
	}
	if r.Observed+r.Prior == 0 {
		return errors.New("observed and prior are 0: every probability would be 0")
	}
	return nil
}

// TimesOdds returns the probability whose odds are those of p, times a factor.
func TimesOdds(p, factor float64) float64 { return p * factor / (p*factor + 1 - p) }

// TimesOdds returns the calibration whose odds are those of c, times a positive
// factor. No calibration is taken for the logistic link with slope 1.
func (c Calibration) TimesOdds(factor float64) Calibration {
	switch c.Method {
	case Platt:
		c.Intercept += math.Log(factor)
	case Isotonic:
		points := make([]Point, len(c.Points))
		for i, p := range c.Points {
			points[i] = Point{p.Raw, TimesOdds(p.Probability, factor)}
		}
		c.Points = points
	default:
		return Calibration{Method: Platt, Slope: 1, Intercept: math.Log(factor)}
	}
	return c
}
