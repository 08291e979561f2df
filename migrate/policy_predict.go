package migrate

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/stratoswarm/forestall"
)

// sight is the risks that can be believed, by component, and what they add up
// to by node.
type sight struct {
	ev    Evidence
	risks map[forestall.Component]forestall.Risk
	signs map[string][]sign // node -> its parts that fail, one sign each, the weightiest first
}

func newSight(ev Evidence, cfg PolicyConfig) sight {
	v := sight{ev, map[forestall.Component]forestall.Risk{}, map[string][]sign{}}
	failed := map[forestall.Component]bool{}
	for _, i := range ev.Ledger.AllIncidents() {
		c := i.Component
		if c.Kind == forestall.KindGPU && i.End.IsZero() && !failed[c] {
			failed[c] = true
			v.signs[c.NodeName()] = append(v.signs[c.NodeName()], sign{component: c, failed: true})
		}
	}
	for _, r := range ev.Risks {
		if !possible(r) || ev.Now.Sub(r.Time).Abs() > cfg.MaxRiskAge {
			continue
		}
		v.risks[r.Component] = r
	}
	for c, r := range v.risks {
		if node := c.NodeName(); node != "" && r.Grade == forestall.Failing && !failed[c] {
			v.signs[node] = append(v.signs[node], sign{component: c, risk: r})
		}
	}
	for _, signs := range v.signs {
		slices.SortFunc(signs, compareSigns)
	}
	return v
}

// possible reports whether a risk is known and a probability: nodes tell of
// others' components too, and a node that tells nonsense must draw or drive off
// no work.
func possible(r forestall.Risk) bool {
	return r.Grade != forestall.Unknown && r.Probability >= 0 && r.Probability <= 1
}

// stake is what a workload has at risk.
type stake struct {
	p       float64        // that at least one of the components fails within the horizon, taken as independent
	horizon time.Duration  // the shortest of theirs: the others are brought to it
	worst   forestall.Risk // by its grade, then its probability within the horizon
}

// over returns the stake over the components that are known; false if none is.
func (v sight) over(components []forestall.Component) (st stake, found bool) {
	var known []forestall.Risk
	for _, c := range components {
		if r, ok := v.risks[c]; ok {
			known = append(known, r)
		}
	}
	st.horizon = forestall.ShortestHorizon(known)
	survive := 1.0
	for i, r := range known {
		survive *= 1 - r.Within(st.horizon)
		if i == 0 || worse(r, st.worst, st.horizon) {
			st.worst = r
		}
	}
	st.p = 1 - survive
	return st, len(known) > 0
}

// worse goes by the grade first: components of different kinds have models, and
// thresholds, of their own.
func worse(a, b forestall.Risk, horizon time.Duration) bool {
	if a.Grade != b.Grade {
		return a.Grade > b.Grade
	}
	return a.Within(horizon) > b.Within(horizon)
}

// predict returns the predictive decisions for a running workload: at most one
// checkpoint and one move.
func (p Policy) predict(w *WorkloadState, v sight, before PolicyState, next *PolicyState) (ds []forestall.Decision) {
	holder, held := w.Holder()
	if !held {
		return nil
	}
	hardware := []forestall.Component{forestall.Node(holder.Node)}
	for _, g := range holder.GPUs {
		hardware = append(hardware, forestall.GPU(holder.Node, g))
	}
	if st, ok := v.over(append(hardware, w.Spec.Component())); ok {
		if d, say := p.checkpoint(w, st, v.ev, before, next); say {
			ds = append(ds, d)
		}
	}
	if st, ok := v.over(hardware); ok {
		if d, say := p.flee(w, st, v, before, next); say {
			ds = append(ds, d)
		}
	}
	return ds
}

// checkpoint weighs a preemptive checkpoint. However cheap one is, it needs a
// component that is at least suspect: work at no unusual risk is what periodic
// checkpoints are for.
func (p Policy) checkpoint(w *WorkloadState, st stake, ev Evidence, before PolicyState, next *PolicyState) (forestall.Decision, bool) {
	age := w.unsaved(ev.Now)
	d := decision(forestall.ActionCheckpoint, w, st.worst.Component, ev.Now)
	d.Mode = p.cfg.Modes.Checkpoint
	if w.Head != nil {
		d.ID += fmt.Sprintf("-%d", w.Head.Sequence)
	}
	d.Price = priceCheckpoint(st, age, p.interval(w), ev.Costs[w.Spec.Name].or(p.cfg.Defaults), w.Spec.CostPerSecond())
	d.Reasons = []string{riskSentence(st.worst), span(age) + " of work is not saved", priced(d.Price)}
	if d.Mode == forestall.Act && heldOut(d.ID, p.cfg.HoldOut) {
		d.Mode, d.HeldOut = forestall.Observe, true
		d.Reasons = append(d.Reasons, fmt.Sprintf("held out: %s of these are left undone, so that the model can learn from what follows", percent(p.cfg.HoldOut)))
	}
	single := p
	single.cfg.Confirm = 1
	return d, single.due(d, st.worst.Grade >= forestall.Suspect && age >= p.cfg.CheckpointGap && d.Price.Net() > 0, st.worst.Time, before, next)
}

// flee weighs leaving the hardware: a move when what the workload itself uses
// is failing, a drain when its node shows two independent signs of failing.
func (p Policy) flee(w *WorkloadState, st stake, v sight, before PolicyState, next *PolicyState) (forestall.Decision, bool) {
	ev := v.ev
	signs := v.signs[w.Node]
	action, mode, component := forestall.ActionMigrate, p.cfg.Modes.Migrate, st.worst.Component
	why := append([]string{riskSentence(st.worst)}, sentences(signs, component)...)
	if st.worst.Grade != forestall.Failing {
		if len(signs) < 2 {
			return forestall.Decision{}, false
		}
		action, mode, component = forestall.ActionDrain, p.cfg.Modes.Drain, forestall.Node(w.Node)
		st.p = max(st.p, v.nodeRisk(w.Node, st.horizon))
		why = sentences(signs, component)
	}
	d := decision(action, w, component, ev.Now)
	d.Mode = mode
	d.Price = priceMove(st, w.unsaved(ev.Now), p.interval(w), ev.Costs[w.Spec.Name].or(p.cfg.Defaults), w.Spec.CostPerSecond())
	d.Reasons = append(why, priced(d.Price))
	wanted := p.cfg.Margin * d.Price.Costs
	if p.alarmed(d, before) {
		wanted = 0
	}
	return d, p.due(d, d.Price.Net() > wanted && !p.rests(w, ev), st.worst.Time, before, next)
}

// rests reports whether a move of the workload was given up so lately that the
// next one would fare no better: there is no room, or its hook does not answer.
func (p Policy) rests(w *WorkloadState, ev Evidence) bool {
	for _, m := range slices.Backward(ev.Ledger.Closed) {
		if m.Workload == w.Spec.Name {
			return saves(m.Action) && m.Phase == forestall.PhaseAborted && ev.Now.Sub(m.At[m.Phase]).Abs() < p.cfg.Repeat
		}
	}
	return false
}

// nodeRisk is the greatest probability among a node's failing parts, within a
// horizon.
func (v sight) nodeRisk(node string, horizon time.Duration) (p float64) {
	for c, r := range v.risks {
		if c.NodeName() == node && r.Grade == forestall.Failing {
			p = max(p, r.Within(horizon))
		}
	}
	return p
}

func (p Policy) interval(w *WorkloadState) time.Duration {
	if w.Spec.Interval > 0 {
		return w.Spec.Interval
	}
	return p.cfg.CheckpointInterval
}

// unsaved is how much work a failure would destroy now.
func (w *WorkloadState) unsaved(now time.Time) time.Duration {
	since := w.Started
	if w.Head != nil && w.Head.Time.After(since) {
		since = w.Head.Time
	}
	return max(0, now.Sub(since))
}

// heldOut decides by the ID alone, so that every leader decides alike.
func heldOut(id string, share float64) bool {
	sum := sha256.Sum256([]byte(id))
	return float64(binary.BigEndian.Uint64(sum[:8])>>11)/(1<<53) < share
}
