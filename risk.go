package forestall

import (
	"encoding/json"
	"fmt"
	"math"
	"time"
)

// Grade is what a probability means to an operator. The zero value is Unknown:
// a component that could not be judged is never Healthy.
type Grade uint8

// The grades, from no judgement to the worst.
const (
	Unknown Grade = iota
	Healthy
	Suspect
	Failing
)

var gradeNames = [...]string{"unknown", "healthy", "suspect", "failing"}

// String returns the grade's name.
func (g Grade) String() string {
	if int(g) < len(gradeNames) {
		return gradeNames[g]
	}
	return "unknown"
}

// MarshalText writes the grade's name.
func (g Grade) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// UnmarshalText reads the grade's name.
func (g *Grade) UnmarshalText(b []byte) error {
	for i, name := range gradeNames {
		if string(b) == name {
			*g = Grade(i)
			return nil
		}
	}
	return fmt.Errorf("grade %q is not one of unknown, healthy, suspect, failing", b)
}

// Reason is one feature's share in a risk.
type Reason struct {
	Feature      string  `json:"feature"`      // name in the model's schema
	Value        float64 `json:"value"`        // in the feature's unit; NaN when it was missing
	Contribution float64 `json:"contribution"` // in log-odds; positive raises the risk
	Text         string  `json:"text"`         // the same in words and units
}

type reasonJSON struct {
	Feature      string   `json:"feature"`
	Value        *float64 `json:"value"`
	Contribution float64  `json:"contribution"`
	Text         string   `json:"text"`
}

// MarshalJSON writes a missing value as null.
func (r Reason) MarshalJSON() ([]byte, error) {
	return json.Marshal(reasonJSON{r.Feature, finite(r.Value), r.Contribution, r.Text})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Reason) UnmarshalJSON(b []byte) error {
	var j reasonJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*r = Reason{j.Feature, orNaN(j.Value), j.Contribution, j.Text}
	return nil
}

// Risk is the probability that a component fails within Horizon of Time.
type Risk struct {
	Component   Component
	Time        time.Time     // of the newest sample it rests on
	Horizon     time.Duration // how far ahead Probability speaks
	Probability float64       // in [0,1]; NaN if and only if Grade is Unknown
	Grade       Grade
	Reasons     []Reason // largest contribution first; empty when Unknown
	Model       string   // version of the model; empty when none judged it
	Note        string   // why it is Unknown, or what a known one leaves out
	Bounds      *Bounds  // of a probability that joins several components; nil: of one alone
	Anomaly     *Anomaly // how unusual it is for itself; nil: that is not watched
	Unlike      *Anomaly // how unlike it is to the ordinary operation that its model was trained on; nil: the model does not know
}

// Bounds are what a probability that takes components as independent may be in
// truth, because they share causes: at least Low, where what shares a node or
// zone fails together, and at most High, whatever the dependence.
type Bounds struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// UnknownRisk returns the risk of a component that could not be judged.
func UnknownRisk(c Component, t time.Time, note string) Risk {
	return Risk{Component: c, Time: t, Probability: math.NaN(), Note: note}
}

// Within returns the probability brought to a shorter horizon at a constant
// hazard, 1-(1-p)^(h/H). One over a horizon that is not named, or no longer than
// the given one, is returned as it is.
func (r Risk) Within(horizon time.Duration) float64 {
	if r.Horizon <= horizon || horizon <= 0 {
		return r.Probability
	}
	return 1 - math.Pow(1-r.Probability, horizon.Seconds()/r.Horizon.Seconds())
}

// ShortestHorizon returns the shortest horizon that is named, which is what
// several risks can be joined over; 0 if none is.
func ShortestHorizon(risks []Risk) (h time.Duration) {
	for _, r := range risks {
		if r.Horizon > 0 && (h == 0 || r.Horizon < h) {
			h = r.Horizon
		}
	}
	return h
}

type riskJSON struct {
	Component   Component `json:"component"`
	Time        time.Time `json:"time,omitzero"`
	HorizonS    float64   `json:"horizon_seconds,omitzero"`
	Probability *float64  `json:"probability"`
	Grade       Grade     `json:"grade"`
	Reasons     []Reason  `json:"reasons,omitempty"`
	Model       string    `json:"model,omitempty"`
	Note        string    `json:"note,omitempty"`
	Bounds      *Bounds   `json:"bounds,omitempty"`
	Anomaly     *Anomaly  `json:"anomaly,omitempty"`
	Unlike      *Anomaly  `json:"unlike,omitempty"`
}

// MarshalJSON writes an unknown probability as null, the horizon in seconds.
func (r Risk) MarshalJSON() ([]byte, error) {
	return json.Marshal(riskJSON{
		r.Component, r.Time, r.Horizon.Seconds(), finite(r.Probability),
		r.Grade, r.Reasons, r.Model, r.Note, r.Bounds, r.Anomaly, r.Unlike,
	})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Risk) UnmarshalJSON(b []byte) error {
	var j riskJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*r = Risk{
		j.Component, j.Time, time.Duration(j.HorizonS * float64(time.Second)), orNaN(j.Probability),
		j.Grade, j.Reasons, j.Model, j.Note, j.Bounds, j.Anomaly, j.Unlike,
	}
	return nil
}

func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

func orNaN(v *float64) float64 {
	if v == nil {
		return math.NaN()
	}
	return *v
}
