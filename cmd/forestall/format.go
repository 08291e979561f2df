package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
)

// view lays answers out for people: times as ages, unknown never as a number.
type view struct {
	out   io.Writer
	color bool
	now   time.Time
}

func (v view) ago(t time.Time) string { return textAgo(v.now, t) }

var gradeColors = map[forestall.Grade]sgr{
	forestall.Unknown: sgrMagenta, forestall.Healthy: sgrGreen, forestall.Suspect: sgrYellow, forestall.Failing: sgrRed,
}

// urgency orders grades for reading: what cannot be judged comes before what
// is fine.
var urgency = map[forestall.Grade]int{forestall.Failing: 0, forestall.Suspect: 1, forestall.Unknown: 2, forestall.Healthy: 3}

// sortRisks puts the worst first: by grade, then by probability, then by name.
func sortRisks(all []forestall.Risk) {
	slices.SortFunc(all, func(a, b forestall.Risk) int {
		return cmp.Or(
			cmp.Compare(urgency[a.Grade], urgency[b.Grade]),
			cmp.Compare(b.Probability, a.Probability),
			a.Component.Compare(b.Component),
		)
	})
}

func (v view) risks(all []forestall.Risk) {
	if len(all) == 0 {
		fmt.Fprintln(v.out, "The engine has judged nothing yet; it does fault_tolerance.prediction_interval after its start, by default a minute.")
		return
	}
	t := textTable{header: []string{"COMPONENT", ">RISK", "GRADE", "WITHIN", "SEEN", "BECAUSE"}}
	count := map[forestall.Grade]int{}
	for _, r := range all {
		count[r.Grade]++
		because := r.Note
		if a := r.Anomaly; because == "" && a != nil && a.State == forestall.Unusual {
			because = "unusual: " + strings.Join(a.Reasons, "; ")
		}
		if a := r.Unlike; because == "" && a != nil && a.State == forestall.Unusual {
			because = "unlike its model's training: " + strings.Join(a.Reasons, "; ")
		}
		if r.Grade >= forestall.Suspect && len(r.Reasons) > 0 {
			because = r.Reasons[0].Text
		}
		c := gradeColors[r.Grade]
		t.add(cellOf(r.Component.String()), textCell{textRisk(r), c}, textCell{r.Grade.String(), c},
			cellOf(textDuration(r.Horizon)), cellOf(v.ago(r.Time)), cellOf(because))
	}
	t.write(v)
	var parts []string
	for _, g := range []forestall.Grade{forestall.Failing, forestall.Suspect, forestall.Unknown, forestall.Healthy} {
		if count[g] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count[g], g))
		}
	}
	fmt.Fprintf(v.out, "\n%s: %s.\n", textCount(len(all), "component"), strings.Join(parts, ", "))
}

func (v view) risk(r forestall.Risk) {
	if r.Grade == forestall.Unknown {
		fmt.Fprintf(v.out, "%s  %s: %s\n", r.Component, v.paint("unknown", sgrMagenta), orDash(r.Note))
		v.anomalies(r)
		return
	}
	fmt.Fprintf(v.out, "%s  %s: %s within %s (model %s, %s)\n", r.Component,
		v.paint(r.Grade.String(), gradeColors[r.Grade]), textRisk(r), textDuration(r.Horizon), orDash(r.Model), v.ago(r.Time))
	if r.Bounds != nil {
		fmt.Fprintf(v.out, "Its parts taken as independent; at least %s where those of a node fail together, at most %s whatever they share.\n", textShare(r.Bounds.Low), textShare(r.Bounds.High))
	}
	if r.Note != "" {
		fmt.Fprintln(v.out, textClean(r.Note))
	}
	v.anomalies(r)
	if len(r.Reasons) == 0 {
		return
	}
	fmt.Fprintln(v.out)
	t := textTable{header: []string{">LOG-ODDS", ">VALUE", "FEATURE", "MEANING"}}
	for _, reason := range r.Reasons {
		value := "missing"
		if !math.IsNaN(reason.Value) {
			value = fmt.Sprintf("%.4g", reason.Value)
		}
		t.add(cellOf(fmt.Sprintf("%+.2f", reason.Contribution)), cellOf(value), cellOf(reason.Feature), cellOf(reason.Text))
	}
	t.write(v)
}

// anomalies says how unusual a component is, for itself and for its model.
func (v view) anomalies(r forestall.Risk) {
	v.anomaly("For itself", r.Anomaly)
	v.anomaly("For what its model was trained on", r.Unlike)
}

func (v view) anomaly(of string, a *forestall.Anomaly) {
	if a == nil {
		return
	}
	state := v.paint(a.State.String(), map[forestall.Usualness]sgr{forestall.Usual: sgrGreen, forestall.Unusual: sgrYellow, forestall.UsualUnknown: sgrMagenta}[a.State])
	switch {
	case a.State == forestall.Unusual:
		fmt.Fprintf(v.out, "%s it is %s, since %s: %s (score %.2f, threshold %.2f).\n", of, state, v.ago(a.Since), textClean(strings.Join(a.Reasons, "; ")), a.Score, a.Threshold)
	case a.Note != "":
		fmt.Fprintf(v.out, "%s it is %s: %s.\n", of, state, textClean(a.Note))
	default:
		fmt.Fprintf(v.out, "%s it is %s (score %.2f, threshold %.2f).\n", of, state, a.Score, a.Threshold)
	}
}

func (v view) status(s api.Status) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(v.out, "%-9s %s\n", name, textClean(fmt.Sprintf(format, args...)))
	}
	line("engine", "%s, forestall %s, started %s", s.Node, s.Version, v.ago(s.Started))
	leader := "leader " + s.Leader
	if s.Leader == "" {
		leader = "no leader"
	}
	quorum := v.paint("quorum", sgrGreen)
	if !s.Quorum {
		quorum = v.paint("no quorum", sgrRed)
	}
	fmt.Fprintf(v.out, "%-9s %s, %s, %s, %s\n", "cluster", textCount(s.Members, "member"), textCount(s.Voters, "voter"), textClean(leader), quorum)
	replicas := fmt.Sprintf("%d of %d", s.EffectiveReplication, s.ReplicationFactor)
	if s.UnderReplicated() {
		replicas = v.paint(replicas+", under-replicated", sgrYellow)
	}
	fmt.Fprintf(v.out, "%-9s %s\n", "replicas", replicas)
	work := textCount(s.Workloads, "workload")
	if s.NotRunning > 0 {
		work += ", " + v.paint(fmt.Sprintf("%d not running", s.NotRunning), sgrRed)
	}
	if s.OpenIncidents > 0 {
		work += ", " + v.paint(textCount(s.OpenIncidents, "open incident"), sgrYellow)
	}
	fmt.Fprintf(v.out, "%-9s %s\n", "work", work)
	line("risk", "%s, %d of them unknown", textCount(s.Components, "component"), s.Unknown)
	fmt.Fprintf(v.out, "%-9s %s\n", "fleet", v.fleetLine(s.Fleet))
	var tiers []string
	for _, tier := range slices.Sorted(maps.Keys(s.Mode)) {
		tiers = append(tiers, fmt.Sprintf("%s %s", tier, s.Mode[tier]))
	}
	line("modes", "%s", orDash(strings.Join(tiers, ", ")))
	for _, t := range s.Thresholds {
		if t.Grade == forestall.Failing {
			line("alarms", "%s failing from %s%s", t.Kind, textThreshold(t), textWhy(t))
		}
	}
	for _, note := range s.Notes {
		line("note", "%s", note)
	}
	if !s.CanAgree() {
		fmt.Fprintf(v.out, "\n%s\n", v.paint("This side of the cluster can decide nothing: nothing is moved or recovered until a quorum of voters meets.", sgrRed))
	}
}

func (v view) members(all []forestall.Member) {
	t := textTable{header: []string{"NODE", "STATE", "ROLE", "ZONE", ">GPUS", "ADDRESS", "API", "SEEN"}}
	for _, m := range all {
		role := "member"
		switch {
		case m.Leader:
			role = "leader"
		case m.Voter:
			role = "voter"
		}
		state, c := string(m.State), sgrGreen
		switch m.State {
		case forestall.MemberUnknown:
			state, c = "unknown", sgrMagenta
		case forestall.MemberSuspect:
			c = sgrYellow
		case forestall.MemberFailed:
			c = sgrRed
		case forestall.MemberLeft:
			c = sgrNone
		}
		seen := "-"
		if m.LastSeen > 0 {
			seen = textAgo(v.now, v.now.Add(-m.LastSeen))
		}
		t.add(cellOf(m.Name), textCell{state, c}, cellOf(role), cellOf(orDash(m.Zone)), cellOf(fmt.Sprint(m.GPUs)),
			cellOf(orDash(m.Address)), cellOf(orDash(m.API)), cellOf(seen))
	}
	t.writeOr(v, "The engine knows of no members.")
}
