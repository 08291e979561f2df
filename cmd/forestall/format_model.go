package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
)

func (v view) models(all []api.ModelStatus) {
	if len(all) == 0 {
		fmt.Fprintln(v.out, "No model judges anything on this node: model.gpu and model.node are \"none\".")
	}
	for i, m := range all {
		if i > 0 {
			fmt.Fprintln(v.out)
		}
		v.model(m)
	}
}

func (v view) model(m api.ModelStatus) {
	line := v.modelLine
	horizon := textDuration(time.Duration(m.Horizon * float64(time.Second)))
	fmt.Fprintf(v.out, "%s  %s %s, a failure within %s\n", v.paint(m.Kind.String(), sgrBold), textClean(m.Name), textClean(m.Version), horizon)
	if m.HandMade {
		line("hand-made", "rules, not trained: its probabilities are guesses until you train one; see docs/train.md")
	}
	line("champion", "%s", v.champion(m.Roles))
	if m.Odds != 0 && m.Odds != 1 {
		since := ""
		if m.Roles.Odds != nil {
			since = ", since " + v.ago(m.Roles.Odds.Since)
		}
		line("odds", "x %.3g, recalibrated by what came of its predictions%s", m.Odds, since)
	}
	if c := m.Roles.Candidate; c != nil {
		line("candidate", "%s, %s since %s", textModel(*c), m.Roles.Step, v.ago(m.Roles.Entered))
	}
	if m.Trouble != "" {
		line("trouble", "%s", v.paint(textClean(m.Trouble), sgrRed))
	}
	for _, t := range m.Thresholds {
		line(t.Grade.String(), "from %s, %s", textThreshold(t), textClean(t.Reason))
	}
	v.scores(m.Recent)
	v.drift(m.Drift)
	if u := m.Unlike; u != nil {
		line("unlike", "what it was trained on from a score of %.3g: %s, chosen by %.4g component-days", u.Threshold, textUnlikeAlarms(u.Alarms), u.Days)
	}
	if m.Trial != nil {
		v.trial(m.Trial)
	}
}

func (v view) modelLine(name, format string, args ...any) {
	fmt.Fprintf(v.out, "  %-12s %s\n", name, fmt.Sprintf(format, args...))
}

func (v view) champion(r forestall.ModelRoles) string {
	if r.Champion.IsZero() {
		return "as forestall.toml has it"
	}
	return fmt.Sprintf("%s, since %s", textModel(r.Champion), v.ago(r.Since))
}

// textModel names a model for people.
func textModel(m forestall.ModelRef) string {
	if m.IsZero() {
		return "as configured"
	}
	return textClean(m.Version) + " " + shortID(m.SHA256)
}

// scores shows what came of the predictions.
func (v view) scores(s api.PredictionScores) {
	if s.Matured == 0 {
		v.modelLine("predictions", "none of the last 30 days has matured: no horizon has passed")
		return
	}
	v.modelLine("predictions", "%d matured in the last 30 days; a failure followed %d, %.3g were expected", s.Matured, s.Positive, s.Expected)
	v.modelLine("failures", "%d of %d announced; %s", s.Caught, s.Failures, textCount(s.FalseAlarms, "false alarm"))
	v.modelLine("accuracy", "balanced %s, precision %s, recall %s, Brier %s", textNumber(s.Balanced), textNumber(s.Precision), textNumber(s.Recall), textNumber(s.Brier))
}

func (v view) drift(d api.ModelDrift) {
	if d.Weight == nil {
		v.modelLine("drift", "not known: %s", textClean(orDash(d.Note)))
		return
	}
	text := fmt.Sprintf("%s of what it weighs has drifted, by %s", textShare(*d.Weight), textCount(d.Rows, "row"))
	var features []string
	for _, f := range d.Features[:min(len(d.Features), 3)] {
		features = append(features, fmt.Sprintf("%s (PSI %.2g, weight %s)", textClean(f.Name), f.PSI, textShare(f.Weight)))
	}
	if n := len(d.Features) - len(features); n > 0 {
		features = append(features, fmt.Sprintf("%d more", n))
	}
	if len(features) > 0 {
		text += ": " + strings.Join(features, ", ")
	}
	v.modelLine("drift", "%s", text)
}

// textUnlikeAlarms says how often ordinary operation is to pass a threshold.
func textUnlikeAlarms(alarms float64) string {
	return fmt.Sprintf("%.4g in 1,000 component-days of ordinary operation", alarms)
}

func (v view) trial(t *api.ModelTrial) {
	c := map[string]sgr{"better": sgrGreen, "worse": sgrRed}[t.Verdict]
	v.modelLine("in shadow", "%s: %s, by %s", textModel(t.Model), v.paint(t.Verdict, c), textCount(t.Nodes, "node"))
	for _, r := range t.Reasons {
		v.modelLine("", "%s", textClean(r))
	}
}

func (v view) modelList(all []api.ModelStatus) {
	t := textTable{header: []string{"KIND", "PART", "VERSION", "SHA-256", "SINCE"}}
	for _, m := range all {
		row := func(part string, ref forestall.ModelRef, since time.Time, c sgr) {
			at := "-"
			if !since.IsZero() {
				at = v.ago(since)
			}
			version, sha := ref.Version, shortID(ref.SHA256)
			if ref.IsZero() {
				version, sha = "as configured", ""
			}
			t.add(cellOf(m.Kind.String()), textCell{part, c}, cellOf(version), cellOf(sha), cellOf(at))
		}
		row("champion", m.Roles.Champion, m.Roles.Since, sgrGreen)
		if m.Roles.Candidate != nil {
			row(string(m.Roles.Step), *m.Roles.Candidate, m.Roles.Entered, sgrYellow)
		}
		for i := len(m.Roles.Past) - 1; i >= 0; i-- {
			row("past", m.Roles.Past[i], time.Time{}, sgrNone)
		}
	}
	t.writeOr(v, "No model judges anything on this node.")
}

var stepColors = map[forestall.ModelStep]sgr{
	forestall.ModelPromoted: sgrGreen, forestall.ModelRejected: sgrRed, forestall.ModelRolledBack: sgrRed, forestall.ModelShadowed: sgrYellow, forestall.ModelRecalibrated: sgrYellow,
}

func (v view) modelHistory(all []forestall.ModelEvent) {
	t := textTable{header: []string{"WHEN", ">ENTRY", "KIND", "STEP", "MODEL", "SHA-256", "INSTEAD OF", "BY", "BECAUSE"}}
	for _, e := range all {
		instead := ""
		if e.Step == forestall.ModelPromoted || e.Step == forestall.ModelRolledBack {
			instead = textModel(e.Instead)
		}
		word := strings.ReplaceAll(string(e.Step), "_", " ")
		if e.Step == forestall.ModelRolledBack {
			instead = "now " + instead
		}
		if e.Step == forestall.ModelRecalibrated {
			instead = fmt.Sprintf("odds x %.3g, now x %.3g", e.Before, e.Odds)
		}
		t.add(cellOf(v.ago(e.Time)), cellOf(fmt.Sprint(e.Index)), cellOf(e.Kind.String()), textCell{word, stepColors[e.Step]},
			cellOf(e.Model.Version), cellOf(shortID(e.Model.SHA256)), cellOf(instead), cellOf(e.By), cellOf(strings.Join(e.Reasons, "; ")))
	}
	t.writeOr(v, "No step: every model is as configured.")
}

// textNumber writes a number that may lack evidence.
func textNumber(v *float64) string {
	if v == nil {
		return "not known"
	}
	return fmt.Sprintf("%.3g", *v)
}

// textThreshold writes the probability from which a grade applies.
func textThreshold(t api.AlarmThreshold) string {
	if t.At == nil {
		return "no probability"
	}
	return textShare(*t.At)
}

// textWhy gives the reason of a threshold that a budget sets.
func textWhy(t api.AlarmThreshold) string {
	if t.Budget == 0 {
		return ""
	}
	return " (" + t.Reason + ")"
}

// textShare writes a share in percent, three digits.
func textShare(p float64) string {
	if math.IsNaN(p) {
		return "unknown"
	}
	return fmt.Sprintf("%.3g %%", 100*p)
}
