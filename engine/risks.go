package engine

import (
	"fmt"
	"slices"

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

// sourceless makes risks unknown that rest on metrics which vanished of all GPUs
// of a node at once: it is their source that gives less, as after an update of an
// exporter, and a monitor that fails is not hardware that fails. One GPU that
// falls silent while its siblings answer stands.
func sourceless(risks []forestall.Risk) {
	nodes := map[string][]int{}
	for i, r := range risks {
		if r.Component.Kind == forestall.KindGPU {
			nodes[r.Component.NodeName()] = append(nodes[r.Component.NodeName()], i)
		}
	}
	for _, gpus := range nodes {
		if len(gpus) < 2 || slices.ContainsFunc(gpus, func(i int) bool { return !restsOnSilence(risks[i]) }) {
			continue
		}
		for _, i := range gpus {
			r := &risks[i]
			*r = forestall.UnknownRisk(r.Component, r.Time, "its source gives less than before, of all GPUs of the node alike: "+r.Reasons[0].Text)
		}
	}
}

// collapsed says of GPUs that report nothing while siblings on their node answer
// that this is evidence about them, unlike a source that is away, and returns those
// of which it was not known before. Their risk stays unknown: there is nothing to
// compute a probability from.
func (t *telemetry) collapsed(risks []forestall.Risk) (news []forestall.Component) {
	answering := map[string]int{}
	for _, r := range risks {
		if r.Component.Kind == forestall.KindGPU && r.Grade != forestall.Unknown {
			answering[r.Component.NodeName()]++
		}
	}
	now := map[forestall.Component]bool{}
	for i := range risks {
		r := &risks[i]
		n := answering[r.Component.NodeName()]
		if r.Component.Kind != forestall.KindGPU || r.Grade != forestall.Unknown || r.Note != predict.Silent || n == 0 {
			continue
		}
		r.Note = fmt.Sprintf("telemetry collapse: it reports nothing, while %d of its siblings answer", n)
		if now[r.Component] = true; !t.silent[r.Component] {
			news = append(news, r.Component)
		}
	}
	t.silent = now
	return news
}

// restsOnSilence reports whether a component is suspect mostly for metrics that
// are not reported any more.
func restsOnSilence(r forestall.Risk) bool {
	return r.Grade >= forestall.Suspect && len(r.Reasons) > 0 && r.Reasons[0].Contribution > 0 && isSeries(r.Reasons[0].Feature)
}

func isSeries(feature string) bool {
	return len(feature) > 7 && feature[:7] == "series_"
}
