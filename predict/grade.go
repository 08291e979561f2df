package predict

import "github.com/stratoswarm/forestall"

// thresholds are the probabilities from which the grades apply.
type thresholds struct {
	suspect, failing float64
	hysteresis       float64
}

// grade returns the grade of probability p for a component that had grade
// before. It rises at once and falls only clearly below the threshold, so that
// a probability at a threshold does not flap.
func (t thresholds) grade(p float64, before forestall.Grade) forestall.Grade {
	keep := 1 - t.hysteresis
	switch {
	case p >= t.failing, before == forestall.Failing && p >= t.failing*keep:
		return forestall.Failing
	case p >= t.suspect, before >= forestall.Suspect && p >= t.suspect*keep:
		return forestall.Suspect
	}
	return forestall.Healthy
}
