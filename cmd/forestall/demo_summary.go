package main

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/stratoswarm/forestall"
)

// demoSummary is what a demo measured and whether all happened that should.
type demoSummary struct {
	Type        string           `json:"type"` // "summary"
	OK          bool             `json:"ok"`
	Seed        uint64           `json:"seed"`
	Nodes       int              `json:"nodes"`
	GPUs        int              `json:"gpus_per_node"`
	Took        float64          `json:"took_s"`
	Interval    float64          `json:"checkpoint_interval_s"`
	Simulated   string           `json:"simulated"` // what is not real
	Forestalled *demoForestalled `json:"forestalled,omitempty"`
	Recovered   *demoRecovered   `json:"recovered,omitempty"`
	Copies      *demoCopies      `json:"copies,omitempty"`
	Checks      []demoCheck      `json:"checks"`
	Logs        []string         `json:"logs,omitempty"` // kept when something did not happen
}

// demoForestalled is the failure that was predicted. Times are seconds.
type demoForestalled struct {
	Component   forestall.Component `json:"component"`
	Mode        string              `json:"mode"`
	Workload    string              `json:"workload"`
	From        string              `json:"from"`
	To          string              `json:"to"`
	Reasons     []string            `json:"reasons"`
	Suspect     float64             `json:"suspect_after_s"` // since the injection
	Decided     float64             `json:"decided_after_s"` // since the injection
	Lead        float64             `json:"lead_time_s"`     // from the decision to the failure
	Clear       float64             `json:"clear_before_s"`  // from the workload's first step elsewhere to the failure
	Pause       float64             `json:"pause_s"`         // from its journal
	PauseEngine float64             `json:"pause_engine_s"`  // as the engine measured it
	StepsRedone uint64              `json:"steps_redone"`
	StepsLost   uint64              `json:"steps_skipped"`
}

// demoRecovered is the failure that was not predicted. Times are seconds from
// the first SIGKILL.
type demoRecovered struct {
	Node      string            `json:"node"`
	Led       bool              `json:"was_leader"`
	Killed    int               `json:"processes_killed"`
	Detection float64           `json:"detection_s"`
	Workloads []demoRecoveredOf `json:"workloads"`
}

type demoRecoveredOf struct {
	Workload  string  `json:"workload"`
	To        string  `json:"to"`
	Recovery  float64 `json:"recovery_s"`
	LostSteps uint64  `json:"lost_steps"`
	Lost      float64 `json:"lost_s"` // of work, done again
}

// demoCheck is something that must have happened.
type demoCheck struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}

func (s *demoSummary) check(ok bool, name, format string, args ...any) {
	s.Checks = append(s.Checks, demoCheck{name, ok, fmt.Sprintf(format, args...)})
}

// settle decides OK: all checks passed and none is missing.
func (s *demoSummary) settle() {
	s.OK = len(s.Checks) > 0
	for _, c := range s.Checks {
		s.OK = s.OK && c.OK
	}
}

// write lays the summary out for people; the last column is wrapped at width,
// 0 for not at all.
func (s demoSummary) write(v view, width int) {
	if figures := s.figures(); len(figures) > 0 {
		writeColumns(v, width, "MEASURED", "", "HOW", figures)
		fmt.Fprintln(v.out)
	}
	var checks [][3]textCell
	for _, c := range s.Checks {
		mark := textCell{"yes", sgrGreen}
		if !c.OK {
			mark = textCell{"NO", sgrRed}
		}
		checks = append(checks, [3]textCell{cellOf(c.Name), mark, cellOf(c.Detail)})
	}
	writeColumns(v, width, "EXPECTED", "HAPPENED", "DETAIL", checks)
	fmt.Fprintln(v.out)
	verdict := v.paint("All of it happened", sgrGreen)
	if !s.OK {
		verdict = v.paint("Not all of it happened", sgrRed)
	}
	fmt.Fprintf(v.out, "%s, in %.0f s with seed %d.\n%s\n", verdict, s.Took, s.Seed, s.Simulated)
	if len(s.Logs) > 0 {
		fmt.Fprintf(v.out, "The engines' logs are kept:\n  %s\n", strings.Join(s.Logs, "\n  "))
	}
}

// figures are what was measured: its name, its value, how.
func (s demoSummary) figures() (rows [][3]textCell) {
	row := func(name, value, how string, args ...any) {
		rows = append(rows, [3]textCell{cellOf(name), {value, sgrBold}, cellOf(fmt.Sprintf(how, args...))})
	}
	if f := s.Forestalled; f != nil {
		row("lead time", inSeconds(f.Lead), "from the decision to move %s until %s failed", f.Workload, f.Component)
		row("pause of "+f.Workload, inSeconds(f.Pause), "last step on %s to first step on %s, by its journal, a step being due every %s; the engine says %s",
			f.From, f.To, demoStepEvery, inSeconds(f.PauseEngine))
		row("work lost by the move", textCount(int(f.StepsRedone+f.StepsLost), "step"), "%d done twice, %d skipped, by its journal", f.StepsRedone, f.StepsLost)
	}
	if r := s.Recovered; r != nil {
		row("detection", inSeconds(r.Detection), "from SIGKILL of the %d processes of %s until a quorum agreed", r.Killed, r.Node)
		for _, w := range r.Workloads {
			row("recovery of "+w.Workload, inSeconds(w.Recovery), "from SIGKILL until its first step on %s, by its journal", w.To)
			row("work lost by "+w.Workload, inSeconds(w.Lost), "%s since its newest checkpoint, done again; interval %s", textCount(int(w.LostSteps), "step"), inSeconds(s.Interval))
		}
	}
	if c := s.Copies; c != nil {
		row("two copies at once", textCount(len(c.Overlaps), "time"), "%s of %s, %d steps, each noted with its epoch and synced",
			textCount(c.Runs, "run"), textCount(c.Workloads, "workload"), c.Steps)
	}
	return rows
}

// writeColumns writes a table of three columns, of which the last is wrapped.
func writeColumns(v view, width int, first, second, third string, rows [][3]textCell) {
	rows = append([][3]textCell{{{first, sgrBold}, {second, sgrBold}, {third, sgrBold}}}, rows...)
	one, two := 0, 0
	for _, r := range rows {
		one, two = max(one, utf8.RuneCountInString(r[0].text)), max(two, utf8.RuneCountInString(r[1].text))
	}
	indent := one + 2 + two + 2
	if width == 0 {
		width = math.MaxInt
	}
	for _, r := range rows {
		for i, text := range wrapWords(r[2].text, max(width-indent, 20)) {
			var l demoLine
			if i == 0 {
				l = demoLine{r[0]}
				l.pad(one + 2 + two - utf8.RuneCountInString(r[1].text))
				l = append(l, r[1])
			}
			l.pad(indent)
			l.add(r[2].color, "%s", text)
			fmt.Fprintln(v.out, strings.TrimRight(l.paint(v, math.MaxInt), " "))
		}
	}
}

// inSeconds writes seconds with what a reader can tell apart.
func inSeconds(s float64) string {
	switch {
	case s >= 10:
		return fmt.Sprintf("%.1f s", s)
	case s > -1 && s < 0.0995:
		return fmt.Sprintf("%.0f ms", s*1000)
	}
	return fmt.Sprintf("%.2f s", s)
}

// seconds between two moments.
func secondsBetween(a, b time.Time) float64 { return b.Sub(a).Seconds() }
