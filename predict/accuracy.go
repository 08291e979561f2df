package predict

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/model"
)

// Bounds on what an Accuracy keeps.
const (
	pendingPerHorizon = 60   // predictions of one component that wait for their horizon to pass
	keptLeadTimes     = 1000 // the newest ones
)

// Accuracy compares predictions with what came of them. A prediction is right
// to alarm (grade Failing) if its component failed within the prediction's
// horizon, and matures when it failed or the horizon has passed. At most one
// prediction per component and sixtieth of the horizon is taken, so that memory
// is bounded and a fast clock does not weigh more. Between a failure and the
// first Healthy grade after it a component's predictions do not count.
//
// Its methods may be called concurrently. Times are those of the arguments.
type Accuracy struct {
	horizon time.Duration
	lead    prometheus.Histogram

	mu          sync.Mutex
	tracks      map[forestall.Component]*track
	confusion   model.Confusion
	squares     float64 // sum of squared errors
	failures    int
	caught      int
	falseAlarms int
	leads       []time.Duration
}

// track is what is remembered of one component.
type track struct {
	pending []prediction // oldest first
	down    bool         // failed and not healthy since
	alarm   alarm
}

type prediction struct {
	at, until   time.Time
	probability float64
	alarm       bool
}

// alarm is a run of Failing grades. It was right if a failure comes before the
// horizon of the last of them has passed.
type alarm struct{ since, until time.Time } // zero: there is none

// NewAccuracy returns an empty record. A risk that names no horizon is judged
// over the given one.
func NewAccuracy(horizon time.Duration) *Accuracy {
	return &Accuracy{
		horizon: horizon,
		lead:    newLeadHistogram(),
		tracks:  map[forestall.Component]*track{},
	}
}

// Predict takes a prediction. Unknown risks are none.
func (a *Accuracy) Predict(r forestall.Risk) {
	if r.Grade == forestall.Unknown || math.IsNaN(r.Probability) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.tracks[r.Component]
	if t == nil {
		t = &track{}
		a.tracks[r.Component] = t
	}
	if t.down {
		if r.Grade != forestall.Healthy {
			return
		}
		t.down = false
	}
	h := r.Horizon
	if h <= 0 {
		h = a.horizon
	}
	p := prediction{r.Time, r.Time.Add(h), r.Probability, r.Grade == forestall.Failing}
	if p.alarm {
		if t.alarm.since.IsZero() {
			t.alarm.since = p.at
		}
		t.alarm.until = p.until
	}
	if n := len(t.pending); n == 0 || p.at.Sub(t.pending[n-1].at) >= h/pendingPerHorizon {
		t.pending = append(t.pending, p)
	}
}

// Fail takes a failure. Those of components that were never judged do not
// count, nor does a further one before the component was Healthy again.
func (a *Accuracy) Fail(f forestall.Failure) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.tracks[f.Component]
	if t == nil || t.down {
		return
	}
	a.failures++
	a.settle(t, f.Time)
	for _, p := range t.pending {
		a.count(p, p.at.Before(f.Time))
	}
	if !t.alarm.since.IsZero() && t.alarm.since.Before(f.Time) {
		lead := f.Time.Sub(t.alarm.since)
		a.caught++
		a.lead.Observe(lead.Seconds())
		if a.leads = append(a.leads, lead); len(a.leads) > keptLeadTimes {
			a.leads = slices.Delete(a.leads, 0, 1)
		}
	}
	*t = track{down: true}
}

// Mature settles the predictions whose horizon has passed without a failure.
func (a *Accuracy) Mature(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.tracks {
		a.settle(t, now)
	}
}

// settle counts what ended before now as followed by nothing.
func (a *Accuracy) settle(t *track, now time.Time) {
	n := 0
	for ; n < len(t.pending) && t.pending[n].until.Before(now); n++ {
		a.count(t.pending[n], false)
	}
	t.pending = slices.Delete(t.pending, 0, n)
	if !t.alarm.since.IsZero() && t.alarm.until.Before(now) {
		a.falseAlarms++
		t.alarm = alarm{}
	}
}

func (a *Accuracy) count(p prediction, failed bool) {
	a.confusion.Add(p.alarm, failed)
	actual := 0.0
	if failed {
		actual = 1
	}
	a.squares += (p.probability - actual) * (p.probability - actual)
}

// Scores says how good the matured predictions were. A score that needs
// evidence which is lacking is NaN.
type Scores struct {
	Balanced    float64         // mean of both classes' recall; NaN until both were seen
	Precision   float64         // share of alarming predictions that a failure followed
	Recall      float64         // share of the predictions before a failure that alarmed
	Brier       float64         // mean squared error of the probabilities
	Matured     int             // predictions
	Failures    int             // of components that were judged before
	Caught      int             // failures with an alarm before them
	FalseAlarms int             // alarms that ended, and their horizon passed, without a failure
	LeadTimes   []time.Duration // from the alarm to the failure, the newest last, at most 1,000
}

// Scores returns the scores since the beginning.
func (a *Accuracy) Scores() Scores {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.confusion
	matured := c.TP + c.FP + c.TN + c.FN
	return Scores{
		Balanced:    c.Balanced(),
		Precision:   c.Precision(),
		Recall:      c.Recall(),
		Brier:       a.squares / float64(matured),
		Matured:     matured,
		Failures:    a.failures,
		Caught:      a.caught,
		FalseAlarms: a.falseAlarms,
		LeadTimes:   slices.Clone(a.leads),
	}
}
