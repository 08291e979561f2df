package predict

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
)

// FleetRisk is how a fleet stands: is it good?
type FleetRisk struct {
	Components int // that were judged, could not be judged, or have failed
	Known      int // that were judged
	Failed     int // that have an open incident
	Suspect    int
	Failing    int
	Horizon    time.Duration // that the following speak of: the shortest of the models'

	// Health is the one number: the share of the components, of those that are
	// known or have failed, that is expected to work through the horizon. NaN
	// while nothing is known; a fleet of which little is known may look good, so
	// it is read with Known and Components.
	Health   float64
	Expected float64 // failures within the horizon, among the known

	Any    float64          // that at least one of the known fails within the horizon, taken as independent
	Bounds forestall.Bounds // of Any, as of [JointRisk]
}

// FleetOf joins the risks of a fleet's nodes and GPUs. What has failed is named
// by failed, whatever its risk says.
func FleetOf(risks []forestall.Risk, failed func(forestall.Component) bool, domain Domain) FleetRisk {
	f := FleetRisk{Components: len(risks), Health: math.NaN(), Any: math.NaN(), Expected: math.NaN()}
	var known []forestall.Risk
	for _, r := range risks {
		switch {
		case failed(r.Component):
			f.Failed++
			continue
		case r.Grade == forestall.Unknown || math.IsNaN(r.Probability):
			continue
		case r.Grade == forestall.Suspect:
			f.Suspect++
		case r.Grade == forestall.Failing:
			f.Failing++
		}
		known = append(known, r)
	}
	f.Known, f.Horizon = len(known), forestall.ShortestHorizon(known)
	if f.Known+f.Failed == 0 {
		return f
	}
	f.Expected = 0
	for _, r := range known {
		f.Expected += r.Within(f.Horizon)
	}
	f.Health = (float64(f.Known) - f.Expected) / float64(f.Known+f.Failed)
	if f.Known > 0 {
		joint := anyOf(known, f.Horizon, domain)
		f.Any, f.Bounds = joint.independent, joint.Bounds
	}
	return f
}

// Trend is where a fleet's health goes.
type Trend string

// The trends. TrendUnknown is the zero value.
const (
	TrendUnknown Trend = ""
	TrendSteady  Trend = "steady"
	TrendBetter  Trend = "better"
	TrendWorse   Trend = "worse"
)

const (
	fleetHours = 7 * 24
	trendHours = 24 // that the last hour is compared with
	trendNeeds = 6
)

// Fleet remembers a fleet's health by the hour, for a week. Its methods may be
// called concurrently. Times are those of the arguments.
type Fleet struct {
	mu    sync.Mutex
	hours []FleetHour // rising, the last one under way
}

// FleetHour is the mean of a fleet's health over an hour, as it was looked at.
type FleetHour struct {
	Hour   int64   `json:"hour"` // since 1970
	Health float64 `json:"health"`
	Looks  int     `json:"looks"`
}

// Start returns when the hour began.
func (h FleetHour) Start() time.Time { return time.Unix(h.Hour*3600, 0).UTC() }

// NewFleet returns one that remembers nothing.
func NewFleet() *Fleet { return &Fleet{} }

// Observe takes how the fleet stands. A health that is not known is passed over.
func (f *Fleet) Observe(now time.Time, health float64) {
	if math.IsNaN(health) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	hour := now.Unix() / 3600
	f.hours = slices.DeleteFunc(f.hours, func(h FleetHour) bool { return h.Hour > hour+1 }) // of a clock that was set back
	n := len(f.hours)
	switch {
	case n > 0 && f.hours[n-1].Hour > hour:
		return
	case n == 0 || f.hours[n-1].Hour < hour:
		f.hours = append(f.hours, FleetHour{Hour: hour})
		n++
	}
	h := &f.hours[n-1]
	h.Looks++
	h.Health += (health - h.Health) / float64(h.Looks)
	f.hours = slices.DeleteFunc(f.hours, func(h FleetHour) bool { return h.Hour <= hour-fleetHours })
}

// History returns the hours, the newest last.
func (f *Fleet) History() []FleetHour {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.hours)
}

// Trend compares the hour under way with the hours of the day before: a change is
// one of more than two standard deviations of those, and of more than one in
// 10,000. delta is the difference. Fewer than six hours before tell nothing.
func (f *Fleet) Trend(now time.Time) (trend Trend, delta float64, why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	hour := now.Unix() / 3600
	var before []float64
	last := math.NaN()
	for _, h := range f.hours {
		switch {
		case h.Hour == hour:
			last = h.Health
		case h.Hour >= hour-trendHours:
			before = append(before, h.Health)
		}
	}
	if math.IsNaN(last) || len(before) < trendNeeds {
		return TrendUnknown, math.NaN(), fmt.Sprintf("%d hours of the last day are known; %d are needed", len(before), trendNeeds)
	}
	mean, square := 0.0, 0.0
	for _, v := range before {
		mean += v / float64(len(before))
	}
	for _, v := range before {
		square += (v - mean) * (v - mean)
	}
	sd := math.Sqrt(square / float64(len(before)-1))
	delta = last - mean
	why = fmt.Sprintf("%+.3g points in the hour under way against the %d before, which vary by %.3g", 100*delta, len(before), 100*sd)
	switch limit := max(2*sd, 1e-4); {
	case delta > limit:
		return TrendBetter, delta, why
	case delta < -limit:
		return TrendWorse, delta, why
	}
	return TrendSteady, delta, why
}

// fleetState is a Fleet on disk.
type fleetState struct {
	Hours []FleetHour `json:"hours"`
}

func (f *Fleet) state() *fleetState { return &fleetState{f.History()} }

func (s *fleetState) check() error {
	for i, h := range s.Hours {
		if !(h.Health >= 0 && h.Health <= 1) || h.Looks < 1 || i > 0 && h.Hour <= s.Hours[i-1].Hour {
			return errors.New("the hours of the fleet's health do not rise, or are none")
		}
	}
	return nil
}

func (f *Fleet) adopt(s *fleetState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hours = s.Hours
}
