package predict

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/model"
)

// cellKey is a day of one kind's predictions by one model: the day on which they
// matured. Day is counted from 1970; 0 holds what is older than Recently, of every
// model.
type cellKey struct {
	day   int64
	kind  forestall.Kind
	model string
}

// cell sums what matured.
type cell struct {
	Day   int64           `json:"day"`
	Kind  forestall.Kind  `json:"kind"`
	Model string          `json:"model,omitempty"`
	Of    model.Confusion `json:"of"`

	Squares     float64 `json:"squares"`  // sum of squared errors
	Expected    float64 `json:"expected"` // sum of probabilities
	Hazard      float64 `json:"hazard"`   // failures that they announce: each counts for its share of its horizon, of a component at most mostHazard until it fails
	Followed    int     `json:"followed"` // failures that followed a prediction in time
	Failures    int     `json:"failures"`
	Caught      int     `json:"caught"`
	FalseAlarms int     `json:"false_alarms"`
}

func (c *cell) compare(o *cell) int {
	return cmp.Or(cmp.Compare(c.Day, o.Day), cmp.Compare(c.Kind, o.Kind), cmp.Compare(c.Model, o.Model))
}

func (c *cell) count(p prediction, announced float64, failed bool) {
	c.Of.Add(p.Alarm, failed)
	actual := 0.0
	if failed {
		actual = 1
	}
	c.Squares += (p.Probability - actual) * (p.Probability - actual)
	c.Expected += p.Probability
	c.Hazard += announced
}

func (c *cell) add(o *cell) {
	c.Of.TP, c.Of.FP, c.Of.TN, c.Of.FN = c.Of.TP+o.Of.TP, c.Of.FP+o.Of.FP, c.Of.TN+o.Of.TN, c.Of.FN+o.Of.FN
	c.Squares, c.Expected = c.Squares+o.Squares, c.Expected+o.Expected
	c.Hazard, c.Followed = c.Hazard+o.Hazard, c.Followed+o.Followed
	c.Failures, c.Caught, c.FalseAlarms = c.Failures+o.Failures, c.Caught+o.Caught, c.FalseAlarms+o.FalseAlarms
}

func (a *Accuracy) key(kind forestall.Kind, at time.Time, version string) cellKey {
	if at.After(a.newest) {
		at = a.newest // of another clock
	}
	n := at.Unix() / int64(day/time.Second)
	if n <= a.oldest() {
		return cellKey{kind: kind}
	}
	return cellKey{n, kind, version}
}

// oldest is the newest day that is not recent any more.
func (a *Accuracy) oldest() int64 {
	return a.newest.Add(-Recently).Unix() / int64(day/time.Second)
}

// cell returns where what matured at a time is counted.
func (a *Accuracy) cell(kind forestall.Kind, at time.Time, version string) *cell {
	k := a.key(kind, at, version)
	if a.cells[k] == nil {
		a.fold() // which may make the very cell
	}
	c := a.cells[k]
	if c == nil {
		c = &cell{Day: k.day, Kind: k.kind, Model: k.model}
		a.cells[k] = c
	}
	return c
}

// fold adds the days that are not recent any more, or never were because a clock
// was set back, to what was before.
func (a *Accuracy) fold() {
	next := a.newest.Add(leapLimit).Unix() / int64(day/time.Second)
	for k, c := range a.cells {
		if k.day == 0 || k.day > a.oldest() && k.day <= next {
			continue
		}
		delete(a.cells, k)
		before := a.cells[cellKey{kind: k.kind}]
		if before == nil {
			before = &cell{Kind: k.kind}
			a.cells[cellKey{kind: k.kind}] = before
		}
		before.add(c)
	}
}

// Scores says how good the matured predictions were. A score that needs
// evidence which is lacking is NaN.
type Scores struct {
	Balanced    float64 // mean of both classes' recall; NaN until both were seen
	Precision   float64 // share of alarming predictions that a failure followed
	Recall      float64 // share of the predictions before a failure that alarmed
	Brier       float64 // mean squared error of the probabilities
	Matured     int     // predictions
	Positive    int     // those of them that a failure followed
	Expected    float64 // sum of their probabilities: as many as Positive when they are calibrated
	Failures    int     // of components that were judged before
	Caught      int     // failures with an alarm before them
	FalseAlarms int     // alarms that ended, and their horizon passed, without a failure
	// Failures that followed a prediction in time, and how many the probabilities
	// announce, each for its share of its horizon, of a component at
	// most three until it fails: as many when they are calibrated, whatever the
	// number of predictions.
	Followed         int
	ExpectedFailures float64

	LeadTimes []time.Duration // from the alarm to the failure, the newest last, at most 1,000

	Of model.Confusion // matured predictions by whether they alarmed and a failure followed
}

// Calibration returns how many failures followed for each that was expected, 1
// when the probabilities are true; NaN before any was expected.
func (s Scores) Calibration() float64 { return float64(s.Positive) / s.Expected }

func (a *Accuracy) sum(take func(cellKey) bool) Scores {
	var all cell
	var taken []*cell
	for k, c := range a.cells {
		if take(k) {
			taken = append(taken, c)
		}
	}
	slices.SortFunc(taken, (*cell).compare) // sums of floats depend on the order
	for _, c := range taken {
		all.add(c)
	}
	c := all.Of
	s := Scores{
		Balanced:  c.Balanced(),
		Precision: c.Precision(),
		Recall:    c.Recall(),
		Matured:   c.TP + c.FP + c.TN + c.FN,
		Positive:  c.TP + c.FN,
		Expected:  all.Expected,
		Followed:  all.Followed, ExpectedFailures: all.Hazard,
		Failures:    all.Failures,
		Caught:      all.Caught,
		FalseAlarms: all.FalseAlarms,
		Of:          c,
	}
	s.Brier = all.Squares / float64(s.Matured)
	if s.Matured == 0 {
		s.Brier = math.NaN()
	}
	return s
}

// Scores returns the scores since the beginning.
func (a *Accuracy) Scores() Scores {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sum(func(cellKey) bool { return true })
	s.LeadTimes = slices.Clone(a.times)
	return s
}

// Recent returns the scores of the days within Recently of the newest time that
// the Accuracy was told.
func (a *Accuracy) Recent() Scores {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sum(func(k cellKey) bool { return k.day > a.oldest() })
	s.LeadTimes = slices.Clone(a.times)
	return s
}

// RecentOf is [Accuracy.Recent] of one kind's predictions by one version of its
// model, without lead times.
func (a *Accuracy) RecentOf(kind forestall.Kind, version string) Scores {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sum(func(k cellKey) bool { return k.day > a.oldest() && k.kind == kind && k.model == version })
}
