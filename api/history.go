package api

import (
	"time"

	"github.com/stratoswarm/forestall"
)

// The risk history of the page's sparklines: 10 minutes in steps of 5 s.
const (
	historyStep   = 5 * time.Second
	historyLength = 120
)

// History is the risk of the last minutes, for sparklines.
type History struct {
	StepSeconds float64 `json:"step_seconds"`
	// Series holds per component up to 120 probabilities, the newest last;
	// null where it was unknown.
	Series map[forestall.Component][]*float64 `json:"series"`
}

// history keeps the last points of every component, at most historyLength.
type history struct {
	series map[forestall.Component][]*float64
}

// add appends one step. A component that is no longer reported gets nulls, and
// is forgotten when nothing but nulls is left.
func (h *history) add(risks []RiskPoint) {
	now := make(map[forestall.Component]*float64, len(risks))
	for _, r := range risks {
		now[r.Component] = r.Probability
		if _, ok := h.series[r.Component]; !ok {
			h.series[r.Component] = nil
		}
	}
	for c, s := range h.series {
		s = append(s, now[c])
		if len(s) > historyLength {
			s = append(s[:0], s[len(s)-historyLength:]...)
		}
		if _, reported := now[c]; !reported && allNull(s) {
			delete(h.series, c)
			continue
		}
		h.series[c] = s
	}
}

// view returns the history as it is, for encoding before the next step.
func (h *history) view() History {
	return History{StepSeconds: historyStep.Seconds(), Series: h.series}
}

func allNull(s []*float64) bool {
	for _, v := range s {
		if v != nil {
			return false
		}
	}
	return true
}
