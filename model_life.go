package forestall

import "time"

// ModelRef names a model: its trees and its card together. The zero value is the
// model that an engine's configuration names.
type ModelRef struct {
	SHA256  string `json:"sha256"` // of the card, in hex; the card holds that of the trees
	Name    string `json:"name"`
	Version string `json:"version"`
}

// IsZero reports whether it is the configured model.
func (m ModelRef) IsZero() bool { return m.SHA256 == "" }

// ModelStep is one step in the life of a model.
type ModelStep string

// The steps. A candidate is proposed, runs in the champion's shadow once enough
// engines have its files, and is promoted or rejected. A champion is rolled back
// to the one before it. A champion's odds are recalibrated when failures come more
// or less often than it says.
const (
	ModelProposed   ModelStep = "proposed"
	ModelShadowed   ModelStep = "shadow"
	ModelPromoted   ModelStep = "promoted"
	ModelRejected   ModelStep = "rejected"
	ModelRolledBack ModelStep = "rolled_back"

	ModelRecalibrated ModelStep = "recalibrated"
)

// ModelEvent is a step that the cluster agreed on.
type ModelEvent struct {
	Index   uint64    `json:"index"` // of its entry in the log
	Time    time.Time `json:"time"`  // by the proposer's clock
	Kind    Kind      `json:"kind"`  // of component that the model judges
	Step    ModelStep `json:"step"`
	Model   ModelRef  `json:"model"`             // the one that the step is about
	Instead ModelRef  `json:"instead,omitzero"`  // promoted: the champion before; rolled back: the champion since
	Odds    float64   `json:"odds,omitempty"`    // recalibrated: what the model's odds are multiplied by from then on
	Before  float64   `json:"before,omitempty"`  // recalibrated: what they were multiplied by until then
	By      string    `json:"by"`                // node, and whether an operator asked for it
	Reasons []string  `json:"reasons,omitempty"` // in words
}

// ModelRoles is which models of a kind have which part.
type ModelRoles struct {
	Champion  ModelRef   `json:"champion"`       // its risks count
	Since     time.Time  `json:"since,omitzero"` // when it became champion; zero: it always was
	Candidate *ModelRef  `json:"candidate,omitempty"`
	Step      ModelStep  `json:"step,omitempty"`   // of the candidate: proposed or shadow
	Entered   time.Time  `json:"entered,omitzero"` // when the candidate entered the step
	Past      []ModelRef `json:"past,omitempty"`   // earlier champions, the newest last
	Odds      *ModelOdds `json:"odds,omitempty"`   // of the champion; nil: as its card has them
}

// ModelOdds is what the odds of a model's probabilities are multiplied by.
type ModelOdds struct {
	SHA256 string    `json:"sha256"` // of the model; a configured champion may be another on some node
	Factor float64   `json:"factor"`
	Since  time.Time `json:"since"`
}

// OddsOf returns what the odds of a champion are multiplied by, 1 where its card
// holds.
func (r ModelRoles) OddsOf(sha256 string) float64 {
	if r.Odds == nil || r.Odds.SHA256 != sha256 {
		return 1
	}
	return r.Odds.Factor
}

// Shadow returns the model that runs beside the champion: a candidate in shadow,
// or else the champion before, so that a promotion can be seen to be a mistake.
func (r ModelRoles) Shadow() (ModelRef, bool) {
	switch {
	case r.Candidate != nil && r.Step == ModelShadowed:
		return *r.Candidate, true
	case r.Candidate == nil && len(r.Past) > 0:
		return r.Past[len(r.Past)-1], true
	}
	return ModelRef{}, false
}
