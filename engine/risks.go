package engine

import (
	"slices"
	"strings"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/predict"
)

// mergeRisks returns one risk for each component, by component. What is in own
// stands: this engine scores it itself, and others can only have heard of it. Of
// several that others say of a component, as where two engines scrape one target,
// a known one stands before one that is not, then the newest.
func mergeRisks(own []forestall.Risk, others ...forestall.Risk) []forestall.Risk {
	all := slices.Clone(own)
	at := make(map[forestall.Component]int, len(own)+len(others))
	for i, r := range own {
		at[r.Component] = i
	}
	for _, r := range others {
		i, there := at[r.Component]
		switch {
		case !there:
			at[r.Component] = len(all)
			all = append(all, r)
		case i >= len(own) && preferred(r, all[i]):
			all[i] = r
		}
	}
	slices.SortFunc(all, func(a, b forestall.Risk) int { return a.Component.Compare(b.Component) })
	return all
}

// preferred reports whether a says more of a component than b.
func preferred(a, b forestall.Risk) bool {
	if known := a.Grade != forestall.Unknown; known != (b.Grade != forestall.Unknown) {
		return known
	}
	return a.Time.After(b.Time)
}

// collapsed returns the risks that say that a GPU's telemetry has collapsed, of those
// of which it was not known before.
func (t *telemetry) collapsed(risks []forestall.Risk) (news []forestall.Risk) {
	now := map[forestall.Component]bool{}
	for _, r := range risks {
		if !strings.HasPrefix(r.Note, predict.Collapse) {
			continue
		}
		if now[r.Component] = true; !t.silent[r.Component] {
			news = append(news, r)
		}
	}
	t.silent = now
	return news
}
