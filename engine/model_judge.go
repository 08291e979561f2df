package engine

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/migrate"
	"github.com/stratoswarm/forestall/predict"
)

// modelReport is what a node tells the leader of a kind's models.
type modelReport struct {
	Champion  string               `json:"champion"`            // digest of what runs
	Candidate string               `json:"candidate,omitempty"` // digest of the candidate, if the node has its files
	Trial     *predict.TrialResult `json:"trial,omitempty"`     // of the champion and what runs in its shadow
	Odds      float64              `json:"odds,omitempty"`      // what the champion's odds are multiplied by; 0: it does not say, 1
	Failures  int                  `json:"failures"`            // of the last 30 days that followed a prediction of the champion, with these odds, in time
	Expected  float64              `json:"expected"`            // and how many were expected
	Rows      int                  `json:"rows,omitempty"`      // that drift was judged by; 0: it was not
	Drift     float64              `json:"drift,omitempty"`     // share of what the champion weighs that has drifted
}

// modelReports says what this node knows of the models.
func (e *Engine) modelReports() map[forestall.Kind]modelReport {
	all := map[forestall.Kind]modelReport{}
	for _, kind := range []forestall.Kind{forestall.KindGPU, forestall.KindNode} {
		champion, _ := e.telemetry.lanes.of(kind)
		if champion == nil || champion.model == nil {
			continue
		}
		odds, version := champion.scorer.Odds(kind)
		r := modelReport{Champion: champion.digest, Odds: odds}
		if roles, _ := e.modelRoles(kind); roles.Candidate != nil && e.models.has(roles.Candidate.SHA256) {
			r.Candidate = roles.Candidate.SHA256
		}
		if t, ok := e.telemetry.judged.trial(kind); ok {
			r.Trial = &t
		}
		s := e.telemetry.judged.accuracy.RecentOf(kind, version)
		r.Failures, r.Expected = s.Followed, s.ExpectedFailures
		if d := champion.scorer.Drift(kind); d != nil {
			if report := d.Report(e.now()); report.Judged {
				r.Rows, r.Drift = report.Rows, report.Weight
			}
		}
		all[kind] = r
	}
	return all
}

// models returns what the nodes that are not silent said of a kind.
func (r *reports) models(kind forestall.Kind, now time.Time, fresh time.Duration) map[string]modelReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[string]modelReport{}
	for name, n := range r.nodes {
		if m, ok := n.models[kind]; ok && now.Sub(n.at) <= fresh {
			all[name] = m
		}
	}
	return all
}

// modelEvidence is what the cluster knows of a kind's models.
type modelEvidence struct {
	now     time.Time
	alive   int // nodes
	reports map[string]modelReport
}

// modelDecision is a step that the evidence asks for, and what it rests on.
type modelDecision struct {
	step    forestall.ModelStep // "": none
	model   forestall.ModelRef
	reasons []string
	acts    bool    // changes what judges: only where the configuration says "act"
	odds    float64 // recalibrated: the factor
}

// drifted is the share of what the champion weighs from which drift takes it
// back.
const drifted = 0.5

// decideModel says what is to be done about a kind's models: a pure function.
//
// A candidate enters the shadow once more than half of the nodes have its files.
// There it is promoted or rejected by the rule. A champion that took another's
// place is rolled back when the one before, now in its shadow, is better by the
// same rule, when failures come far more or less often than it says, or when half
// of what it weighs has drifted.
func decideModel(roles forestall.ModelRoles, configured string, ev modelEvidence, rule predict.TrialRule) modelDecision {
	trial := trialOf(roles, configured, ev)
	switch {
	case roles.Candidate != nil && roles.Step == forestall.ModelProposed:
		n := 0
		for _, r := range ev.reports {
			if r.Candidate == roles.Candidate.SHA256 {
				n++
			}
		}
		if 2*n <= ev.alive {
			return modelDecision{reasons: []string{fmt.Sprintf("%d of %d nodes have its files; more than half must", n, ev.alive)}}
		}
		return modelDecision{step: forestall.ModelShadowed, model: *roles.Candidate, reasons: []string{fmt.Sprintf("%d of %d nodes have its files", n, ev.alive)}}
	case roles.Candidate != nil:
		verdict, reasons := rule.Judge(trial, ev.now)
		d := modelDecision{model: *roles.Candidate, reasons: reasons, acts: true}
		switch verdict {
		case predict.Better:
			d.step = forestall.ModelPromoted
		case predict.Worse, predict.Spent:
			d.step = forestall.ModelRejected
		}
		return d
	case len(roles.Past) == 0:
		return modelDecision{}
	}
	return rollback(roles, trial, ev, rule)
}

func rollback(roles forestall.ModelRoles, trial predict.TrialResult, ev modelEvidence, rule predict.TrialRule) modelDecision {
	d := modelDecision{step: forestall.ModelRolledBack, model: roles.Champion, acts: true}
	champion := roles.Champion.SHA256
	failures, expected, rows, weight := 0, 0.0, 0, 0.0
	for _, name := range sortedNames(ev.reports) { // sums of floats depend on the order
		r := ev.reports[name]
		if r.Champion != champion {
			continue
		}
		failures, expected = failures+r.Failures, expected+r.Expected
		rows, weight = rows+r.Rows, weight+float64(r.Rows)*r.Drift
	}
	if verdict, reasons := rule.Judge(trial, ev.now); verdict == predict.Better {
		d.reasons = append([]string{"the champion before it is better"}, reasons...)
		return d
	}
	if lost, said := predict.CalibrationLost(failures, expected); lost {
		d.reasons = []string{"its calibration is lost: " + said}
		return d
	}
	if rows > 0 && weight/float64(rows) >= drifted {
		d.reasons = []string{fmt.Sprintf("drift: %.0f %% of what it weighs is not as in its training, by %d rows", 100*weight/float64(rows), rows)}
		return d
	}
	return modelDecision{}
}

// decideOdds says whether the champion's odds are to be multiplied by another
// factor: a pure function. champion names it also where it is the configured one. With recalibration off, what
// there is of it is taken back.
func decideOdds(roles forestall.ModelRoles, champion forestall.ModelRef, ev modelEvidence, c ModelConfig) modelDecision {
	before := roles.OddsOf(champion.SHA256)
	d := modelDecision{step: forestall.ModelRecalibrated, model: champion, acts: true}
	if c.Recalibrate != forestall.Act && before != 1 {
		d.odds, d.acts, d.reasons = 1, false, []string{"model.recalibrate = \"observe\": as the card has them"}
		return d
	}
	failures, expected := 0, 0.0
	for _, name := range sortedNames(ev.reports) { // sums of floats depend on the order
		if r := ev.reports[name]; r.Champion == champion.SHA256 && cmp.Or(r.Odds, 1) == before {
			failures, expected = failures+r.Failures, expected+r.Expected
		}
	}
	factor, said := predict.Recalibrated(failures, expected, before, c.RecalibrateMax)
	if factor == before {
		return modelDecision{}
	}
	d.odds, d.reasons = factor, []string{said}
	if most := c.RecalibrateMax; factor == most || factor == 1/most {
		d.reasons = append(d.reasons, fmt.Sprintf("model.recalibrate_max = %g is reached; train it anew", most))
	}
	return d
}

// trialOf adds up what the nodes' trials of the champion and its shadow have
// shown.
func trialOf(roles forestall.ModelRoles, configured string, ev modelEvidence) predict.TrialResult {
	name := func(m forestall.ModelRef) string {
		if m.IsZero() {
			return configured
		}
		return m.SHA256
	}
	sum := predict.TrialResult{Champion: name(roles.Champion)}
	if shadow, ok := roles.Shadow(); ok {
		sum.Challenger = name(shadow)
	}
	for _, node := range sortedNames(ev.reports) {
		if t := ev.reports[node].Trial; t != nil {
			sum.Add(*t)
		}
	}
	if sum.From.IsZero() { // no pair yet: it may never have one, and has its time all the same
		if sum.From = roles.Entered; roles.Candidate == nil {
			sum.From = roles.Since
		}
	}
	return sum
}

func sortedNames(reports map[string]modelReport) []string {
	names := make([]string, 0, len(reports))
	for name := range reports {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// judgeModels is the leader's: it has the steps agreed on that the evidence asks
// for.
func (e *Engine) judgeModels(ctx context.Context) {
	for _, kind := range []forestall.Kind{forestall.KindGPU, forestall.KindNode} {
		roles, _ := e.modelRoles(kind)
		configured, ev := e.configured[kind], e.modelEvidence(kind)
		d := decideModel(roles, configured.digest, ev, e.cfg.Model.rule())
		key, mode := "model.promote", e.cfg.Model.Promote
		if d.step == "" {
			if champion, ok := championOf(roles, configured); ok {
				d = decideOdds(roles, champion, ev, e.cfg.Model)
			}
			key, mode = "model.recalibrate", e.cfg.Model.Recalibrate
		}
		if d.step == "" {
			continue
		}
		if d.acts && mode != forestall.Act {
			if said := fmt.Sprintf("%s %s", d.step, d.model.SHA256); e.models.say(kind, said) {
				e.log.Info("would change the model; "+key+" observes", "kind", kind, "step", d.step, "model", d.model.Version, "why", strings.Join(d.reasons, "; "))
			}
			continue
		}
		c := &migrate.ModelStep{Kind: kind, Step: d.step, Model: d.model, Odds: d.odds, By: e.name, Reasons: d.reasons}
		if err := e.propose(ctx, "", c); err != nil {
			if ctx.Err() == nil {
				e.log.Warn("step of a model not agreed", "kind", kind, "step", d.step, "error", err)
			}
			continue
		}
		e.log.Info("model "+string(d.step), "kind", kind, "model", d.model.Version, "sha256", short(d.model.SHA256), "why", strings.Join(d.reasons, "; "))
	}
}

// championOf names the champion, also where it is the configured model; false where
// that is none.
func championOf(roles forestall.ModelRoles, configured *lane) (forestall.ModelRef, bool) {
	if !roles.Champion.IsZero() {
		return roles.Champion, true
	}
	if configured.model == nil {
		return forestall.ModelRef{}, false
	}
	card := &configured.model.Card
	return forestall.ModelRef{SHA256: configured.digest, Name: card.Name, Version: card.Version}, true
}

func (e *Engine) modelEvidence(kind forestall.Kind) modelEvidence {
	now := e.now()
	ev := modelEvidence{now: now, reports: e.reports.models(kind, now, e.timing.fresh)}
	e.ledger.View(func(s *migrate.State) {
		for _, n := range s.Nodes {
			if n.State == forestall.MemberAlive {
				ev.alive++
			}
		}
	})
	return ev
}

// say reports whether a text about a kind differs from the last.
func (f *modelFiles) say(kind forestall.Kind, text string) (news bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	news = f.told[kind] != text
	f.told[kind] = text
	return news
}

// driftOf returns how far a lane's telemetry is from its training.
func (e *Engine) driftOf(l *lane) predict.DriftReport {
	if d := l.scorer.Drift(l.kind); d != nil {
		return d.Report(e.now())
	}
	return predict.DriftReport{Weight: math.NaN(), Largest: math.NaN()}
}
