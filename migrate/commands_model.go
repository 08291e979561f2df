package migrate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
)

const (
	maxPastModels   = 5   // earlier champions of a kind that can be rolled back to
	maxModelEvents  = 500 // steps that are remembered
	maxModelReasons = 20
	maxModelText    = 1000 // bytes of a name, a version or a reason
	maxModelOdds    = 1000
)

// ModelStep is a step in the life of a model of one kind of component. Every
// engine runs what the ledger says, so that a step is an entry and the entries
// are the audit.
//
// A proposal needs that no other candidate is there; shadow, promotion and
// rejection that the model is the candidate, and a promotion of a candidate that
// was not in shadow is allowed: an operator may know more. A rollback names the
// champion that goes. A recalibration names the champion, or, where that is the
// configured one, the model that the leader's configuration names; what it set ends
// with the champion.
type ModelStep struct {
	Kind    forestall.Kind      `json:"component_kind"`
	Step    forestall.ModelStep `json:"step"`
	Model   forestall.ModelRef  `json:"model"`
	Odds    float64             `json:"odds,omitempty"` // recalibrated: what the model's odds are multiplied by
	By      string              `json:"by"`
	Reasons []string            `json:"reasons,omitempty"`
}

func (*ModelStep) kind() string { return "model" }

var modelSteps = []forestall.ModelStep{
	forestall.ModelProposed, forestall.ModelShadowed, forestall.ModelPromoted, forestall.ModelRejected, forestall.ModelRolledBack, forestall.ModelRecalibrated,
}

func (c *ModelStep) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: model step: %s", ErrBadCommand, fmt.Sprintf(format, args...))
	}
	switch {
	case c.Kind != forestall.KindGPU && c.Kind != forestall.KindNode:
		return bad("kind %s is not one of gpu, node", c.Kind)
	case !slices.Contains(modelSteps, c.Step):
		return bad("%q is not one of %v", c.Step, modelSteps)
	case len(c.Model.SHA256) != 64 || strings.Trim(c.Model.SHA256, "0123456789abcdef") != "":
		return bad("%.80q is not a SHA-256 of 64 lower-case hex digits", c.Model.SHA256)
	case c.Step == forestall.ModelRecalibrated && !(c.Odds >= 1/maxModelOdds && c.Odds <= maxModelOdds):
		return bad("odds times %g; a factor is from 1/%d to %d", c.Odds, maxModelOdds, maxModelOdds)
	case c.Step != forestall.ModelRecalibrated && c.Odds != 0:
		return bad("%s does not change odds", c.Step)
	case len(c.Reasons) > maxModelReasons:
		return bad("%d reasons, at most %d are kept", len(c.Reasons), maxModelReasons)
	}
	for _, s := range append([]string{c.Model.Name, c.Model.Version, c.By}, c.Reasons...) {
		if len(s) > maxModelText {
			return bad("a text of %d bytes, at most %d are kept", len(s), maxModelText)
		}
	}
	return nil
}

func (c *ModelStep) apply(s *State, at stamp) any {
	r := s.Models[c.Kind]
	if r == nil {
		r = &forestall.ModelRoles{}
	}
	before := 0.0
	if c.Step == forestall.ModelRecalibrated {
		before = r.OddsOf(c.Model.SHA256)
	}
	next, instead, err := c.next(*r)
	if err != nil {
		return err
	}
	switch c.Step {
	case forestall.ModelProposed, forestall.ModelShadowed:
		next.Entered = at.at
	case forestall.ModelPromoted, forestall.ModelRolledBack:
		next.Since, next.Odds = at.at, nil
	case forestall.ModelRecalibrated:
		next.Odds = &forestall.ModelOdds{SHA256: c.Model.SHA256, Factor: c.Odds, Since: at.at}
	}
	if s.Models == nil {
		s.Models = map[forestall.Kind]*forestall.ModelRoles{}
	}
	s.Models[c.Kind] = &next
	s.ModelEvents = keepLast(s.ModelEvents, forestall.ModelEvent{
		Index: at.index, Time: at.at, Kind: c.Kind, Step: c.Step, Model: c.Model, Instead: instead, Odds: c.Odds, Before: before, By: c.By, Reasons: c.Reasons,
	}, maxModelEvents)
	return nil
}

// next returns the roles after the step, without its time, and the model that
// takes the place of the one it is about, or had it before.
func (c *ModelStep) next(r forestall.ModelRoles) (next forestall.ModelRoles, instead forestall.ModelRef, err error) {
	refuse := func(format string, args ...any) (forestall.ModelRoles, forestall.ModelRef, error) {
		return r, instead, fmt.Errorf("%w: %s model %s: %s", ErrModel, c.Kind, brief12(c.Model.SHA256), fmt.Sprintf(format, args...))
	}
	candidate := r.Candidate != nil && r.Candidate.SHA256 == c.Model.SHA256
	switch c.Step {
	case forestall.ModelProposed:
		switch {
		case r.Champion.SHA256 == c.Model.SHA256:
			return refuse("it is the champion already")
		case candidate:
			return refuse("it is the candidate already, %s", r.Step)
		case r.Candidate != nil:
			return refuse("%s is the candidate, %s; promote or reject it first", brief12(r.Candidate.SHA256), r.Step)
		}
		model := c.Model
		r.Candidate, r.Step = &model, forestall.ModelProposed
		return r, instead, nil
	case forestall.ModelRecalibrated:
		if !r.Champion.IsZero() && r.Champion.SHA256 != c.Model.SHA256 {
			return refuse("it is not the champion, which is %s", brief12(r.Champion.SHA256))
		}
		return r, instead, nil
	case forestall.ModelRolledBack:
		switch {
		case r.Champion.SHA256 != c.Model.SHA256:
			return refuse("it is not the champion, which is %s", brief12(r.Champion.SHA256))
		case len(r.Past) == 0:
			return refuse("there was no champion before it")
		}
		instead = r.Past[len(r.Past)-1]
		r.Champion, r.Past = instead, slices.Clone(r.Past[:len(r.Past)-1])
		return r, instead, nil
	}
	if !candidate {
		return refuse("it is not the candidate")
	}
	switch c.Step {
	case forestall.ModelShadowed:
		if r.Step != forestall.ModelProposed {
			return refuse("it is in shadow already")
		}
		r.Step = forestall.ModelShadowed
		return r, instead, nil
	case forestall.ModelPromoted:
		instead = r.Champion
		r.Past = keepLast(slices.Clone(r.Past), r.Champion, maxPastModels)
		r.Champion = *r.Candidate
	}
	r.Candidate, r.Step, r.Entered = nil, "", time.Time{}
	return r, instead, nil
}

// brief12 shortens a digest for people.
func brief12(sha string) string {
	if sha == "" {
		return "as configured"
	}
	return sha[:min(12, len(sha))]
}
