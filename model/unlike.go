package model

import (
	"errors"
	"fmt"
	"math"
)

// Unlike is how ordinary operation looked in the rows that a model was trained on,
// and from when a component is unlike it, in whatever way: failures of a kind that
// the model has never seen show there. The surprise of a row is the mean of
// log(1+z²) over the Worst most unusual of its features, z a feature's distance from
// its level in standard deviations, at most Clip. What is missing takes no part.
type Unlike struct {
	Worst     int     `json:"worst"`
	Clip      float64 `json:"clip"`
	Threshold float64 `json:"threshold"` // surprise above which a component is unlike
	Alarms    float64 `json:"alarms"`    // for each 1,000 component-days, that the threshold is for
	Rows      int     `json:"rows"`      // of ordinary operation, that the levels are of
	Days      float64 `json:"days"`      // component-days of newer ones, that chose the threshold
	Levels    []Level `json:"levels"`    // of the card's features that take part
}

// Level is a feature's usual value.
type Level struct {
	Feature string  `json:"feature"`
	Mean    float64 `json:"mean"`
	Spread  float64 `json:"spread"` // standard deviation
}

// Most returns the greatest surprise that there is.
func (u *Unlike) Most() float64 { return math.Log1p(u.Clip * u.Clip) }

// Validate reports what cannot be said of these features.
func (u *Unlike) Validate(features []string) error {
	positive := func(v float64) bool { return v > 0 && !math.IsInf(v, 0) }
	switch {
	case u.Worst < 1 || u.Worst > 64:
		return fmt.Errorf("worst is %d; it must be 1 to 64 features", u.Worst)
	case !positive(u.Clip):
		return fmt.Errorf("clip is %v; it must be above 0", u.Clip)
	case !(u.Threshold > 0 && u.Threshold < u.Most()):
		return fmt.Errorf("threshold is %v; it must be above 0 and below %.3g, the greatest surprise", u.Threshold, u.Most())
	case !positive(u.Alarms) || !positive(u.Days) || u.Rows < 1:
		return fmt.Errorf("%v alarms, %d rows and %v days must be above 0", u.Alarms, u.Rows, u.Days)
	case len(u.Levels) == 0:
		return errors.New("it has no levels")
	}
	known := make(map[string]bool, len(features))
	for _, name := range features {
		known[name] = true
	}
	for _, l := range u.Levels {
		if !known[l.Feature] {
			return fmt.Errorf("level of %.60q: it is not among the card's features, or there twice", l.Feature)
		}
		known[l.Feature] = false
		if math.IsNaN(l.Mean) || math.IsInf(l.Mean, 0) || !positive(l.Spread) {
			return fmt.Errorf("level of %.60q: mean %v must be finite, spread %v above 0", l.Feature, l.Mean, l.Spread)
		}
	}
	return nil
}
