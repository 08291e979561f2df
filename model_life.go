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
// to the one before it.
const (
	ModelProposed   ModelStep = "proposed"
	ModelShadowed   ModelStep = "shadow"
	ModelPromoted   ModelStep = "promoted"
	ModelRejected   ModelStep = "rejected"
	ModelRolledBack ModelStep = "rolled_back"
)

// ModelEvent is a step that the cluster agreed on.
type ModelEvent struct {
	Index   uint64    `json:"index"` // of its entry in the log
	Time    time.Time `json:"time"`  // by the proposer's clock
	Kind    Kind      `json:"kind"`  // of component that the model judges
	Step    ModelStep `json:"step"`
	Model   ModelRef  `json:"model"`             // the one that the step is about
	Instead ModelRef  `json:"instead,omitzero"`  // promoted: the champion before; rolled back: the champion since
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
