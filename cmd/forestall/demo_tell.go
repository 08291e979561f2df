package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
)

// demoEvent is something that happened, in words.
type demoEvent struct {
	Type      string              `json:"type"` // "event"
	Time      time.Time           `json:"time"`
	Elapsed   float64             `json:"elapsed_s"` // since the demo began
	Kind      string              `json:"kind"`      // "demo", "cluster", "workload", "risk", "checkpoint", a migration's action, "failure"
	Component forestall.Component `json:"component,omitzero"`
	Workload  string              `json:"workload,omitempty"`
	Node      string              `json:"node,omitempty"`
	Phase     forestall.Phase     `json:"phase,omitempty"`
	Text      string              `json:"text"`
	color     sgr
}

// demoTeller turns sights into events and says each thing once, also when
// the engine that is asked changes and the next one knows a little less.
type demoTeller struct {
	said   map[string]bool
	grades map[forestall.Component]forestall.Grade
	leader string
	states map[string]forestall.MemberState
}

func newDemoTeller() *demoTeller {
	return &demoTeller{said: map[string]bool{}, grades: map[forestall.Component]forestall.Grade{}, states: map[string]forestall.MemberState{}}
}

func (t *demoTeller) once(key string) bool {
	first := !t.said[key]
	t.said[key] = true
	return first
}

// tell returns what is new in a sight, by time.
func (t *demoTeller) tell(s demoSight) []demoEvent {
	events := slices.Concat(t.cluster(s), t.checkpoints(s), t.risks(s), t.migrations(s), t.incidents(s))
	slices.SortStableFunc(events, func(a, b demoEvent) int { return a.Time.Compare(b.Time) })
	return events
}

func (t *demoTeller) cluster(s demoSight) (events []demoEvent) {
	for _, m := range s.members {
		if m.State == t.states[m.Name] {
			continue
		}
		e := demoEvent{Time: s.at, Kind: "cluster", Component: forestall.Node(m.Name), Node: m.Name}
		switch {
		case t.states[m.Name] == forestall.MemberUnknown && m.State == forestall.MemberAlive:
			e.Text = fmt.Sprintf("%s joins with %s", m.Name, textCount(m.GPUs, "GPU"))
		case m.State == forestall.MemberSuspect:
			e.Text, e.color = m.Name+" does not answer: suspected, nothing is decided yet", sgrYellow
		case m.State == forestall.MemberFailed: // its incident says it
		default:
			e.Text = fmt.Sprintf("%s is %s", m.Name, m.State)
		}
		t.states[m.Name] = m.State
		if e.Text != "" {
			events = append(events, e)
		}
	}
	if leader := s.status.Leader; leader != "" && leader != t.leader {
		text := leader + " is elected leader"
		if t.leader != "" {
			text += " in the place of " + t.leader
		}
		t.leader = leader
		events = append(events, demoEvent{Time: s.at, Kind: "cluster", Component: forestall.Node(leader), Node: leader, Text: text})
	}
	return events
}

// checkpoints tells of each workload's first, and of those that a risk caused.
func (t *demoTeller) checkpoints(s demoSight) (events []demoEvent) {
	for _, w := range s.workloads {
		if w.Head == nil {
			continue
		}
		c := *w.Head
		e := demoEvent{
			Time: c.Time, Kind: "checkpoint", Component: forestall.Component{Kind: w.Kind, Name: w.Name}, Workload: w.Name, Node: w.Node,
		}
		size := fmt.Sprintf("%s held by %s after %s", textBytes(c.Size), strings.Join(c.Replicas, ", "), textDuration(c.Took))
		switch {
		case preempted(c, s) && t.once("checkpoint/"+c.ID):
			e.Text, e.color = fmt.Sprintf("%s: preemptive checkpoint because of %s, %s", w.Name, labelComponent(c.Label), size), sgrYellow
		case t.once("first checkpoint/" + w.Name):
			e.Text = fmt.Sprintf("%s: first checkpoint, %s", w.Name, size)
		default:
			continue
		}
		events = append(events, e)
	}
	return events
}

// preempted reports whether a checkpoint was taken because of a component that
// is at risk. The policy takes cheap ones ahead of their time on healthy
// hardware too; those are not worth a line.
func preempted(c forestall.Checkpoint, s demoSight) bool {
	component := labelComponent(c.Label)
	return !component.IsZero() && s.risk(component).Grade >= forestall.Suspect
}

// labelComponent returns the component in the label of a preemptive
// checkpoint, the zero value in any other's.
func labelComponent(label string) forestall.Component {
	name, ok := strings.CutPrefix(label, "preemptive: ")
	if !ok {
		return forestall.Component{}
	}
	component, _ := forestall.ParseComponent(name) // zero when it is none
	return component
}

// risks tells of GPUs whose grade changed; of a node's GPUs that became unknown
// together in one line.
func (t *demoTeller) risks(s demoSight) (events []demoEvent) {
	blind := map[string][]forestall.Risk{}
	for _, r := range s.risks {
		before, known := t.grades[r.Component]
		t.grades[r.Component] = r.Grade
		if r.Component.Kind != forestall.KindGPU || r.Grade == before || !known {
			continue
		}
		e := demoEvent{Time: r.Time, Kind: "risk", Component: r.Component, Node: r.Component.NodeName(), color: gradeColors[r.Grade]}
		switch {
		case r.Grade == forestall.Unknown:
			blind[e.Node] = append(blind[e.Node], r)
			continue
		case r.Grade >= forestall.Suspect:
			e.Text = fmt.Sprintf("%s is %s: %s within %s%s", r.Component, r.Grade, textRisk(r), textDuration(r.Horizon), because(r))
		case before == forestall.Unknown:
			continue
		default:
			e.Text = fmt.Sprintf("%s is healthy again: %s", r.Component, textRisk(r))
		}
		events = append(events, e)
	}
	for _, node := range slices.Sorted(maps.Keys(blind)) {
		risks := blind[node]
		text := fmt.Sprintf("risk of %s of %s is unknown: %s", textCount(len(risks), "GPU"), node, risks[0].Note)
		if len(risks) == 1 {
			text = fmt.Sprintf("risk of %s is unknown: %s", risks[0].Component, risks[0].Note)
		}
		events = append(events, demoEvent{Time: s.at, Kind: "risk", Component: forestall.Node(node), Node: node, Text: text, color: sgrMagenta})
	}
	return events
}

// because gives the weightiest reasons for a risk.
func because(r forestall.Risk) string {
	why := raising(r)
	if len(why) == 0 {
		return ""
	}
	return ", because " + strings.Join(why[:min(2, len(why))], " and ")
}

// raising returns the reasons that raise a risk, in words.
func raising(r forestall.Risk) (why []string) {
	for _, reason := range r.Reasons {
		if reason.Contribution > 0 && reason.Text != "" {
			why = append(why, reason.Text)
		}
	}
	return why
}

func (t *demoTeller) incidents(s demoSight) (events []demoEvent) {
	for _, i := range s.incidents {
		if !t.once(fmt.Sprintf("incident/%s/%d", i.Component, i.Start.UnixNano())) {
			continue
		}
		e := demoEvent{Time: cmp.Or(i.Agreed, i.Start), Kind: "failure", Component: i.Component, Node: i.Component.NodeName(), color: sgrRed}
		e.Text = fmt.Sprintf("%s has failed: %s", i.Component, orDash(strings.Join(i.Evidence, "; ")))
		if i.Component.Kind == forestall.KindGPU {
			users := s.uses(i.Component)
			if len(users) == 0 {
				e.Text += "; nothing was on it"
			} else {
				e.Text += "; on it: " + strings.Join(users, ", ")
			}
		}
		events = append(events, e)
	}
	return events
}

// demoPhases are a migration's in the order in which they are told.
var demoPhases = []forestall.Phase{
	forestall.PhaseProposed, forestall.PhaseSaved, forestall.PhaseGranted, forestall.PhaseFenced,
	forestall.PhaseStopped, forestall.PhaseDone, forestall.PhaseAborted,
}

func (t *demoTeller) migrations(s demoSight) (events []demoEvent) {
	for _, m := range s.migrations {
		for _, phase := range demoPhases {
			at, entered := m.At[phase]
			if !entered || !t.once(fmt.Sprintf("migration/%s/%s/%d", m.ID, phase, at.UnixNano())) {
				continue
			}
			if text, color := phaseWords(m, phase); text != "" {
				events = append(events, demoEvent{
					Time: at, Kind: string(m.Action), Component: m.Component, Workload: m.Workload, Node: m.To, Phase: phase, Text: text, color: color,
				})
			}
		}
	}
	return events
}

// phaseWords says what it means that a migration has come to a phase. Of a
// first start only the end is told.
func phaseWords(m forestall.Migration, phase forestall.Phase) (string, sgr) {
	start, recovery := m.Action == forestall.ActionStart, m.Action == forestall.ActionRecover
	if start && phase != forestall.PhaseDone && phase != forestall.PhaseAborted {
		return "", sgrNone
	}
	switch phase {
	case forestall.PhaseProposed:
		verb, why := "is to leave "+m.From, m.Reasons
		if recovery {
			verb = "is to be recovered"
		}
		if len(why) > 2 { // what is between them was told with the risk or the failure
			why = []string{why[0], why[len(why)-1]}
		}
		return fmt.Sprintf("%s %s, agreed by Raft: %s", m.Workload, verb, strings.Join(why, "; ")), sgrYellow
	case forestall.PhaseSaved:
		return m.Workload + ": final checkpoint counts, it stands still from here", sgrNone
	case forestall.PhaseGranted:
		return fmt.Sprintf("%s: granted to %s as epoch %s", m.Workload, m.To, m.Epoch), sgrNone
	case forestall.PhaseFenced:
		return fmt.Sprintf("%s: a quorum of stores now refuses every epoch before %s", m.Workload, m.Epoch), sgrNone
	case forestall.PhaseStopped:
		if recovery {
			return fmt.Sprintf("%s: no earlier run can be alive any more, its lease has run out", m.Workload), sgrNone
		}
		return fmt.Sprintf("%s: its run on %s has ended", m.Workload, m.From), sgrNone
	case forestall.PhaseDone:
		if start {
			return fmt.Sprintf("%s starts on %s, %s, epoch %s", m.Workload, m.To, gpusWords(m.GPUs), m.Epoch), sgrNone
		}
		text := fmt.Sprintf("%s goes on at %s, %s, epoch %s", m.Workload, m.To, gpusWords(m.GPUs), m.Epoch)
		if m.Pause > 0 && !recovery {
			text += ", after a pause of " + textDuration(m.Pause)
		}
		return text, sgrGreen
	case forestall.PhaseAborted:
		return fmt.Sprintf("%s: %s given up: %s", m.Workload, m.Action, orDash(m.Note)), sgrRed
	}
	return "", sgrNone
}

func gpusWords(gpus []int) string {
	var s []string
	for _, g := range gpus {
		s = append(s, fmt.Sprint(g))
	}
	if len(gpus) == 1 {
		return "GPU " + s[0]
	}
	return "GPUs " + strings.Join(s, " ")
}
