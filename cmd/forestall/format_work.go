package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
)

var stateColors = map[api.WorkloadState]sgr{
	api.StateRunning: sgrGreen, api.StateStarting: sgrYellow, api.StateMoving: sgrYellow, api.StateFrozen: sgrYellow, api.StateFailed: sgrRed,
}

func (v view) workloads(list []api.WorkloadStatus, all bool) {
	t := textTable{header: []string{"WORKLOAD", "STATE", "NODE", "GPUS", ">EPOCH", "CHECKPOINT", ">RISK", ">RESTARTS", "NOTE"}}
	hidden := 0
	for _, w := range list {
		if w.State == api.StateStopped && !all {
			hidden++
			continue
		}
		gpus := strings.Trim(strings.ReplaceAll(fmt.Sprint(w.GPUs), " ", ","), "[]")
		head := "none yet"
		if w.Head != nil {
			head = v.ago(w.Head.Time)
		}
		t.add(cellOf(w.Kind.String()+"/"+w.Name), textCell{string(w.State), stateColors[w.State]}, cellOf(orDash(w.Node)),
			cellOf(orDash(gpus)), cellOf(w.Epoch.String()), cellOf(head),
			textCell{textRisk(w.Risk), gradeColors[w.Risk.Grade]}, cellOf(fmt.Sprint(w.Restarts)), cellOf(w.Note))
	}
	switch {
	case len(list) == 0:
		fmt.Fprintln(v.out, "No workloads are declared; add a [[workload]] to forestall.toml.")
		return
	case len(t.rows) > 0:
		t.write(v)
	}
	if hidden > 0 {
		fmt.Fprintf(v.out, "Finished or retired, not shown: %d. forestall workloads --all\n", hidden)
	}
}

func (v view) checkpoints(all []forestall.Checkpoint, none string) {
	t := textTable{header: []string{"ID", "WORKLOAD", "TAKEN", ">EPOCH", ">SEQUENCE", ">SIZE", ">ADDED", ">TOOK", ">PAUSE", "PINNED", "REPLICAS", "LABEL"}}
	for _, c := range all {
		pin := "-"
		if c.Pinned {
			pin = "pinned"
		}
		t.add(cellOf(shortID(c.ID)), cellOf(c.Workload), cellOf(v.ago(c.Time)), cellOf(c.Epoch.String()),
			cellOf(fmt.Sprint(c.Sequence)), cellOf(textBytes(c.Size)), cellOf(textBytes(c.Added)), cellOf(textDuration(c.Took)),
			cellOf(textDuration(c.Pause)), cellOf(pin), cellOf(orDash(strings.Join(c.Replicas, " "))), cellOf(c.Label))
	}
	t.writeOr(v, none)
}

func (v view) interventions(all []api.Intervention) {
	t := textTable{header: []string{"WHEN", "ACTION", "COMPONENT", "", "DECISION"}}
	for _, i := range all {
		done, c := "done", sgrNone
		if i.HeldOut {
			done, c = "held out", sgrYellow
		}
		t.add(cellOf(v.ago(i.Time)), cellOf(string(i.Action)), cellOf(i.Component.String()), textCell{done, c}, cellOf(i.Decision))
	}
	t.writeOr(v, "Nothing was done about a component, and nothing held out.")
}

func (v view) observed(all []forestall.Decision) {
	t := textTable{header: []string{"WHEN", "ACTION", "WORKLOAD", "FROM", "COMPONENT", ">WORTH", "BECAUSE"}}
	for _, d := range all {
		t.add(cellOf(v.ago(d.Time)), cellOf(string(d.Action)), cellOf(orDash(d.Workload)), cellOf(orDash(d.From)), cellOf(d.Component.String()),
			cellOf(fmt.Sprintf("%.0f GPU-s", d.Price.Net())), cellOf(strings.Join(d.Reasons, "; ")))
	}
	t.writeOr(v, "Nothing that a tier in mode observe would have done in mode act.")
}

func (v view) migrations(all []forestall.Migration) {
	t := textTable{header: []string{"WHEN", "ACTION", "WORKLOAD", "WAY", "PHASE", ">EPOCH", ">PAUSE", ">TOOK", ">WORTH", "BECAUSE"}}
	for _, m := range all {
		c := sgrYellow
		switch m.Phase {
		case forestall.PhaseDone:
			c = sgrGreen
		case forestall.PhaseAborted:
			c = sgrRed
		}
		because := strings.Join(m.Reasons, "; ")
		if m.Note != "" {
			because = m.Note + " (" + because + ")"
		}
		t.add(cellOf(v.ago(m.Time)), cellOf(string(m.Action)), cellOf(orDash(m.Workload)), cellOf(wayOf(m)),
			textCell{string(m.Phase), c}, cellOf(epochOrDash(m.Epoch)), cellOf(pauseOf(m)), cellOf(tookOf(m)),
			cellOf(fmt.Sprintf("%.0f GPU-s", m.Price.Net())), cellOf(because))
	}
	t.writeOr(v, "Nothing was moved, recovered or started yet.")
}

func (v view) incidents(all []forestall.Incident) {
	t := textTable{header: []string{"STARTED", "COMPONENT", "KIND", ">LASTED", "EVIDENCE"}}
	for _, i := range all {
		lasted, c := "open", sgrRed
		if !i.End.IsZero() {
			lasted, c = textDuration(i.End.Sub(i.Start)), sgrNone
		}
		t.add(cellOf(v.ago(i.Start)), cellOf(i.Component.String()), cellOf(string(i.Kind)), textCell{lasted, c},
			cellOf(strings.Join(slices.DeleteFunc(append(slices.Clone(i.Evidence), closedText(i)), func(s string) bool { return s == "" }), "; ")))
	}
	t.writeOr(v, "No incidents: nothing has failed.")
}

func closedText(i forestall.Incident) string {
	if i.Closed == "" {
		return ""
	}
	return "closed " + i.Closed
}

// wayOf writes where a migration goes: "n1 > n2", "> n2" for a first start.
func wayOf(m forestall.Migration) string {
	to := m.To
	if to == "" {
		to = "?"
	}
	return strings.TrimSpace(m.From + " > " + to)
}

// tookOf is the time from the first phase to the final one.
func tookOf(m forestall.Migration) string {
	begin, end := m.At[forestall.PhaseProposed], m.At[m.Phase]
	if !m.Phase.Final() || begin.IsZero() || end.IsZero() {
		return "-"
	}
	return textDuration(end.Sub(begin))
}

func pauseOf(m forestall.Migration) string {
	if m.Pause <= 0 {
		return "-"
	}
	return textDuration(m.Pause)
}

func epochOrDash(e forestall.Epoch) string {
	if e == 0 {
		return "-"
	}
	return e.String()
}

// shortID gives enough of an ID to tell checkpoints apart.
func shortID(id string) string { return id[:min(12, len(id))] }

// textAgo writes how long before now t was; what lies ahead by clock skew is now.
func textAgo(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	switch d := now.Sub(t); {
	case d >= time.Minute:
		return textDuration(d.Truncate(time.Minute)) + " ago"
	case d >= time.Second:
		return textDuration(d.Truncate(time.Second)) + " ago"
	}
	return "now"
}
