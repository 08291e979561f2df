package forestall

import (
	"encoding/json"
	"fmt"
	"math"
	"time"
)

// Usualness says whether a component behaves as it did before. The zero value is
// UsualUnknown: what is still being learnt is never usual.
type Usualness uint8

// The states of an [Anomaly].
const (
	UsualUnknown Usualness = iota
	Usual
	Unusual
)

var usualNames = [...]string{"unknown", "usual", "unusual"}

// String returns the state's name.
func (u Usualness) String() string {
	if int(u) < len(usualNames) {
		return usualNames[u]
	}
	return "unknown"
}

// MarshalText writes the state's name.
func (u Usualness) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText reads the state's name.
func (u *Usualness) UnmarshalText(b []byte) error {
	for i, name := range usualNames {
		if string(b) == name {
			*u = Usualness(i)
			return nil
		}
	}
	return fmt.Errorf("state %q is not one of unknown, usual, unusual", b)
}

// Anomaly is how unusual a component is: for what it has been itself, by no model
// and no label ([Risk.Anomaly]), or for what its model was trained on
// ([Risk.Unlike]). It is no probability: what is unusual need not be failing.
type Anomaly struct {
	State     Usualness
	Score     float64   // how unusual its newest minute, or vector, was; NaN: not known
	Threshold float64   // score from which it is unusual; NaN: still learnt; +Inf: nothing is
	Since     time.Time // when it became unusual; zero: it is not
	Reasons   []string  // what is unusual, in words and units, the most unusual first
	Note      string    // why the state is unknown, or what is to be known of a known one
}

type anomalyJSON struct {
	State     Usualness `json:"state"`
	Score     *float64  `json:"score"`
	Threshold *float64  `json:"threshold"`
	Since     time.Time `json:"since,omitzero"`
	Reasons   []string  `json:"reasons,omitempty"`
	Note      string    `json:"note,omitempty"`
}

// MarshalJSON writes what is not known, and a threshold that nothing reaches, as
// null.
func (a Anomaly) MarshalJSON() ([]byte, error) {
	return json.Marshal(anomalyJSON{a.State, finite(a.Score), finite(a.Threshold), a.Since, a.Reasons, a.Note})
}

// UnmarshalJSON reads what MarshalJSON wrote. A threshold that is null is +Inf
// where the state is known.
func (a *Anomaly) UnmarshalJSON(b []byte) error {
	var j anomalyJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*a = Anomaly{j.State, orNaN(j.Score), orNaN(j.Threshold), j.Since, j.Reasons, j.Note}
	if j.Threshold == nil && j.State != UsualUnknown {
		a.Threshold = math.Inf(1)
	}
	return nil
}
