package train

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"time"

	"github.com/stratoswarm/forestall"
)

// Verdict is what a row of telemetry is to a learner. The zero value is none.
type Verdict uint8

// The verdicts. Only Positive and Negative rows are learned from; in an
// evaluation an alarm on a Late row counts as late.
const (
	Unlabelled Verdict = iota
	Positive           // an incident starts in (t+lead, t+lead+horizon], and the data reaches as far
	Negative           // none does, and the data reaches as far
	Late               // an incident starts in (t, t+lead]: too late to act on
	Inside             // t lies in an incident or in the recovery from it
	Censored           // the data ends before t+lead+horizon
	Intervened         // something was done about the component in [t, t+lead+horizon]
)

var verdictNames = [...]string{"unlabelled", "positive", "negative", "late", "inside", "censored", "intervened"}

// String returns the verdict's name.
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return "verdict(" + strconv.Itoa(int(v)) + ")"
}

// Trains reports whether a learner may use the row.
func (v Verdict) Trains() bool { return v == Positive || v == Negative }

// LabelOptions says what a row's label means.
type LabelOptions struct {
	Lead     time.Duration // the notice that acting needs; 0 or more
	Horizon  time.Duration // how far beyond the lead the prediction speaks; positive
	Recovery time.Duration // how long after an incident's end the telemetry is not yet normal
	// End is up to when incidents would have been seen. A zero End means
	// that it is not known: rows outside of incidents are then Censored.
	End time.Time
	// Interventions are those that can have kept an incident from happening.
	// Leave out what changes nothing about the hardware.
	Interventions []forestall.Intervention
}

// Validate reports the first field that cannot work.
func (o LabelOptions) Validate() error {
	switch {
	case o.Lead < 0:
		return fmt.Errorf("label options: Lead: %v is negative", o.Lead)
	case o.Horizon <= 0:
		return fmt.Errorf("label options: Horizon: %v must be positive", o.Horizon)
	case o.Recovery < 0:
		return fmt.Errorf("label options: Recovery: %v is negative", o.Recovery)
	case o.End.IsZero():
		return errors.New("label options: End: not set; give the time up to which incidents were recorded")
	}
	return nil
}

// Label returns the verdict on the row of component c at time t. The incidents
// may be those of all components, in any order. It looks at every incident;
// use a [Labeler] for many rows.
//
// Where several verdicts would fit, the first of these holds:
//
//  1. Inside, from an incident's start (included) to its end plus the
//     recovery (excluded); an incident without an end lasts for ever.
//  2. Intervened, if an intervention came in [t, t+lead+horizon] and before
//     the next incident: whether one would have come without it is not known.
//     An intervention after the incident answers it and changes nothing.
//  3. Late, if the next incident starts before the lead is over.
//  4. Censored, if t+lead+horizon lies beyond End, also where an incident was
//     seen before: with only those rows left there the last of the data would
//     be all failure.
//  5. Positive or Negative, by the start of the next incident.
func Label(t time.Time, c forestall.Component, incidents []forestall.Incident, opt LabelOptions) Verdict {
	var next, acted time.Time // the earliest start after t, the earliest intervention from t on
	for _, in := range incidents {
		switch {
		case in.Component != c:
		case in.Start.After(t):
			if next.IsZero() || in.Start.Before(next) {
				next = in.Start
			}
		case in.End.IsZero() || t.Before(in.End.Add(opt.Recovery)):
			return Inside
		}
	}
	for _, iv := range opt.Interventions {
		if iv.Component == c && !iv.Time.Before(t) && (acted.IsZero() || iv.Time.Before(acted)) {
			acted = iv.Time
		}
	}
	return outside(t, next, acted, opt)
}

// outside is the verdict on a row outside every incident, given the start of
// the next incident and the time of the next intervention; zero: there is
// none.
func outside(t, next, acted time.Time, opt LabelOptions) Verdict {
	lead := t.Add(opt.Lead)
	limit := lead.Add(opt.Horizon)
	switch {
	case !acted.IsZero() && !acted.After(limit) && (next.IsZero() || acted.Before(next)):
		return Intervened
	case !next.IsZero() && !next.After(lead):
		return Late
	case limit.After(opt.End):
		return Censored
	case !next.IsZero() && !next.After(limit):
		return Positive
	}
	return Negative
}

// Labeler gives the same verdicts as [Label], with a binary search per row. It
// may be used concurrently.
type Labeler struct {
	opt        LabelOptions
	components map[forestall.Component]*course
}

// course is what happened to one component, in order.
type course struct {
	starts []time.Time // of its incidents, ascending
	until  []time.Time // until[i]: when the last of incidents 0..i is over, recovery included; zero: never
	acted  []time.Time // interventions, ascending
}

// NewLabeler sorts the incidents and interventions by component.
func NewLabeler(incidents []forestall.Incident, opt LabelOptions) (*Labeler, error) {
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	l := &Labeler{opt: opt, components: make(map[forestall.Component]*course)}
	of := func(c forestall.Component) *course {
		h := l.components[c]
		if h == nil {
			h = &course{}
			l.components[c] = h
		}
		return h
	}
	byStart := slices.Clone(incidents)
	slices.SortStableFunc(byStart, func(a, b forestall.Incident) int { return a.Start.Compare(b.Start) })
	for _, in := range byStart {
		h := of(in.Component)
		until := in.End
		if !until.IsZero() {
			until = until.Add(opt.Recovery)
		}
		if n := len(h.until); n > 0 {
			until = later(h.until[n-1], until)
		}
		h.starts, h.until = append(h.starts, in.Start), append(h.until, until)
	}
	for _, iv := range opt.Interventions {
		h := of(iv.Component)
		h.acted = append(h.acted, iv.Time)
	}
	for _, h := range l.components {
		slices.SortFunc(h.acted, time.Time.Compare)
	}
	return l, nil
}

// later returns the later of two ends, zero being never.
func later(a, b time.Time) time.Time {
	if a.IsZero() || b.IsZero() {
		return time.Time{}
	}
	if a.After(b) {
		return a
	}
	return b
}

// Label returns the verdict on the row of component c at time t.
func (l *Labeler) Label(t time.Time, c forestall.Component) Verdict {
	h := l.components[c]
	if h == nil {
		return outside(t, time.Time{}, time.Time{}, l.opt)
	}
	i := sort.Search(len(h.starts), func(i int) bool { return h.starts[i].After(t) })
	if i > 0 && (h.until[i-1].IsZero() || t.Before(h.until[i-1])) {
		return Inside
	}
	var next, acted time.Time
	if i < len(h.starts) {
		next = h.starts[i]
	}
	if j := sort.Search(len(h.acted), func(j int) bool { return !h.acted[j].Before(t) }); j < len(h.acted) {
		acted = h.acted[j]
	}
	return outside(t, next, acted, l.opt)
}

// Announces reports whether an incident of c is known to start in
// (t+lead, t+lead+horizon], also of a row that is Censored: an alarm there was
// right, though nobody can say of its neighbours whether theirs were.
func (l *Labeler) Announces(t time.Time, c forestall.Component) bool {
	lead := t.Add(l.opt.Lead)
	next := l.Next(t, c)
	return next.After(lead) && !next.After(lead.Add(l.opt.Horizon))
}

// Next returns when the next incident of c after t starts, zero if none is
// known.
func (l *Labeler) Next(t time.Time, c forestall.Component) time.Time {
	h := l.components[c]
	if h == nil {
		return time.Time{}
	}
	i := sort.Search(len(h.starts), func(i int) bool { return h.starts[i].After(t) })
	if i == len(h.starts) {
		return time.Time{}
	}
	return h.starts[i]
}
