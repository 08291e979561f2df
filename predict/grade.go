package predict

import "github.com/stratoswarm/forestall"

// thresholds are the probabilities from which the grades apply.
type thresholds struct {
	suspect, failing float64
	hysteresis       float64
}

// standing is the grade of a component and the thresholds at which it entered it.
type standing struct {
	grade            forestall.Grade
	suspect, failing float64
}

// grade returns the grade of probability p for a component that had grade
// before. It rises at once and falls only clearly below the threshold, so that
// a probability at a threshold does not flap.
func (t thresholds) grade(p float64, before forestall.Grade) forestall.Grade {
	return t.next(p, standing{before, t.suspect, t.failing}).grade
}

// next is grade for a component that stands. A threshold that has risen since
// does not end what it raised before: for that the lower of the two counts. One
// that has fallen raises no more than what reaches it.
func (t thresholds) next(p float64, before standing) standing {
	keep := 1 - t.hysteresis
	suspect, failing := min(t.suspect, before.suspect), min(t.failing, before.failing)
	now := standing{forestall.Healthy, t.suspect, t.failing}
	switch {
	case p >= t.failing:
		now.grade = forestall.Failing
	case before.grade == forestall.Failing && p >= failing*keep:
		now = standing{forestall.Failing, suspect, failing}
	case p >= t.suspect:
		now.grade = forestall.Suspect
	case before.grade >= forestall.Suspect && p >= suspect*keep:
		now = standing{forestall.Suspect, suspect, t.failing}
	}
	return now
}
