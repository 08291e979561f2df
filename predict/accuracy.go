package predict

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratoswarm/forestall"
)

// Bounds on what an Accuracy keeps.
const (
	pendingPerHorizon = 60   // predictions of one component that wait for their horizon to pass
	keptLeadTimes     = 1000 // the newest ones
)

// Recently is the span that an Accuracy's metrics speak of.
const Recently = 30 * day

// Accuracy compares predictions with what came of them. A prediction is right
// to alarm (grade Failing) if its component failed within the prediction's
// horizon after its lead, and matures when it failed or the horizon has passed;
// one whose failure came within the lead is not judged. At most one prediction
// per component and sixtieth of the horizon is taken, so that memory is bounded
// and a fast clock does not weigh more. Between a failure and the first Healthy
// grade after it a component's predictions do not count.
//
// What matured is kept by the day on which it did, kind and model for Recently, and
// in one sum for the time before. [Memory] takes all of it across a restart.
//
// Its methods may be called concurrently. Times are those of the arguments.
type Accuracy struct {
	horizon time.Duration
	lead    prometheus.Histogram

	mu     sync.Mutex
	leads  map[forestall.Kind]time.Duration // of the models
	tracks map[forestall.Component]*track
	cells  map[cellKey]*cell
	times  []time.Duration // lead times
	newest time.Time       // of the predictions and of Mature
}

// track is what is remembered of one component.
type track struct {
	Since   time.Time    `json:"since"`             // the first prediction
	Pending []prediction `json:"pending,omitempty"` // oldest first
	Down    bool         `json:"down,omitempty"`    // failed and not healthy since
	Alarm   alarm        `json:"alarm,omitzero"`
	Failed  time.Time    `json:"failed,omitzero"` // the newest failure that was taken

	hazard float64 // that was counted since then, or since a restart, of
	model  string  // predictions by this version
}

// mostHazard is how many failures a component is taken to have been announced
// since its last one. By true probabilities their number is exponential of mean 1
// when the failure comes, so that 5 % of it is cut off; without a bound one
// component that always looks about to fail would weigh more than the fleet.
const mostHazard = 3

// announces returns for how much of a failure a prediction counts: its probability
// for its share of its horizon, as far as the bound goes.
func (t *track) announces(p prediction) float64 {
	if t.model != p.Model {
		t.hazard, t.model = 0, p.Model
	}
	h := min(p.Probability*p.Share, mostHazard-t.hazard)
	t.hazard += h
	return h
}

type prediction struct {
	At          time.Time `json:"at"`
	Until       time.Time `json:"until"`
	Probability float64   `json:"p"`
	Share       float64   `json:"share"` // of the horizon that it speaks for alone: the time since the one before
	Alarm       bool      `json:"alarm,omitempty"`
	Model       string    `json:"model,omitempty"`
}

// alarm is a run of Failing grades. It was right if a failure comes before the
// horizon of the last of them has passed.
type alarm struct {
	Since time.Time `json:"since"` // zero: there is none
	Until time.Time `json:"until"`
	Model string    `json:"model,omitempty"`
}

// NewAccuracy returns an empty record. A risk that names no horizon is judged
// over the given one.
func NewAccuracy(horizon time.Duration) *Accuracy {
	return &Accuracy{
		horizon: horizon,
		lead:    newLeadHistogram(),
		leads:   map[forestall.Kind]time.Duration{},
		tracks:  map[forestall.Component]*track{},
		cells:   map[cellKey]*cell{},
	}
}

// SetLead says that the predictions about a kind speak of what comes after the
// lead.
func (a *Accuracy) SetLead(kind forestall.Kind, lead time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.leads[kind] = lead
}

// Predict takes a prediction. Unknown risks are none.
func (a *Accuracy) Predict(r forestall.Risk) {
	if r.Grade == forestall.Unknown || math.IsNaN(r.Probability) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.see(r.Time)
	t := a.tracks[r.Component]
	if t != nil {
		t.cut(r.Time)
	}
	if t == nil {
		t = &track{Since: r.Time}
		a.tracks[r.Component] = t
	}
	if t.Down {
		if r.Grade != forestall.Healthy {
			return
		}
		t.Down = false
	}
	h := r.Horizon
	if h <= 0 {
		h = a.horizon
	}
	until := r.Time.Add(a.leads[r.Component.Kind] + h)
	p := prediction{At: r.Time, Until: until, Probability: r.Probability, Alarm: r.Grade == forestall.Failing, Model: r.Model}
	if p.Alarm {
		if t.Alarm.Since.IsZero() {
			t.Alarm.Since = p.At
		}
		t.Alarm.Until, t.Alarm.Model = p.Until, p.Model
	}
	if n := len(t.Pending); n == 0 || p.At.Sub(t.Pending[n-1].At) >= h/pendingPerHorizon {
		if n > 0 {
			p.Share = min(1, p.At.Sub(t.Pending[n-1].At).Seconds()/h.Seconds())
		}
		t.Pending = append(t.Pending, p)
	}
}

// Fail takes a failure. Those of components that were never judged do not
// count, nor does a further one before the component was Healthy again, nor one
// that is no later than one that was taken: the ledger's incidents may be given
// again and again. They may be old, and of other clocks: what they say of the time
// is not taken over.
func (a *Accuracy) Fail(f forestall.Failure) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.tracks[f.Component]
	if t == nil || !f.Time.After(t.Failed) {
		return
	}
	if t.Down || !t.Since.Before(f.Time) {
		t.Failed = f.Time
		return
	}
	kind := f.Component.Kind
	a.settle(kind, t, f.Time)
	version, followed := t.Alarm.Model, 0
	for _, p := range t.Pending {
		version = p.Model
		if left := f.Time.Sub(p.At); left > 0 && left >= a.leads[kind] {
			a.cell(kind, f.Time, p.Model).count(p, t.announces(p), true)
			followed = 1
		}
	}
	c := a.cell(kind, f.Time, version)
	c.Failures++
	c.Followed += followed
	if !t.Alarm.Since.IsZero() && t.Alarm.Since.Before(f.Time) {
		lead := f.Time.Sub(t.Alarm.Since)
		c.Caught++
		a.lead.Observe(lead.Seconds())
		if a.times = append(a.times, lead); len(a.times) > keptLeadTimes {
			a.times = slices.Delete(a.times, 0, 1)
		}
	}
	*t = track{Since: t.Since, Down: true, Failed: f.Time}
}

// Mature settles the predictions whose horizon has passed without a failure.
func (a *Accuracy) Mature(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.see(now)
	for c, t := range a.tracks {
		a.settle(c.Kind, t, now)
	}
}

// Forget drops a component that is no more, with the predictions about it that
// have not matured.
func (a *Accuracy) Forget(c forestall.Component) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.tracks, c)
}

// see takes the time. Days that lie ahead of it are of a clock that was set back.
func (a *Accuracy) see(now time.Time) {
	switch {
	case now.After(a.newest):
		a.newest = now
	case ahead(a.newest, now):
		a.newest = now
		a.fold()
	}
}

// cut drops what was noted of the component by a clock that was set back since.
func (t *track) cut(now time.Time) {
	t.Pending = slices.DeleteFunc(t.Pending, func(p prediction) bool { return ahead(p.At, now) })
	if ahead(t.Since, now) {
		t.Since = now
	}
	if ahead(t.Alarm.Since, now) {
		t.Alarm = alarm{}
	}
	if ahead(t.Failed, now) {
		t.Failed = now
	}
}

// settle counts what ended before now as followed by nothing.
func (a *Accuracy) settle(kind forestall.Kind, t *track, now time.Time) {
	n := 0
	for ; n < len(t.Pending) && t.Pending[n].Until.Before(now); n++ {
		p := t.Pending[n]
		a.cell(kind, p.Until, p.Model).count(p, t.announces(p), false)
	}
	t.Pending = slices.Delete(t.Pending, 0, n)
	if !t.Alarm.Since.IsZero() && t.Alarm.Until.Before(now) {
		a.cell(kind, t.Alarm.Until, t.Alarm.Model).FalseAlarms++
		t.Alarm = alarm{}
	}
}
