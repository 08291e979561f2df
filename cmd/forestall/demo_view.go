package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/stratoswarm/forestall"
)

// demoMinWidth is the narrowest terminal that the view is laid out for; a
// narrower one sees the left part of it.
const demoMinWidth = 80

// demoAct is one part of the demo.
type demoAct struct {
	title string
	state actState
}

type actState uint8

const (
	actWaits actState = iota
	actRuns
	actDone
	actMissed
)

// demoFrame is everything that the live view shows at one moment.
type demoFrame struct {
	width, height int // of the terminal
	view          view
	elapsed       time.Duration
	plan          demoPlan
	urls          []string // of the web pages that are served
	acts          []demoAct
	sight         demoSight
	killed        map[string]bool // nodes that the demo has killed
	events        []demoEvent
}

// demoLine is one line in parts of one colour each.
type demoLine []textCell

func (l *demoLine) add(color sgr, format string, args ...any) {
	*l = append(*l, textCell{textClean(fmt.Sprintf(format, args...)), color})
}

func (l demoLine) len() (n int) {
	for _, c := range l {
		n += utf8.RuneCountInString(c.text)
	}
	return n
}

// pad lengthens the line to a column.
func (l *demoLine) pad(column int) { l.add(sgrNone, "%s", strings.Repeat(" ", max(0, column-l.len()))) }

// paint returns the line with its colours, cut to a width.
func (l demoLine) paint(v view, width int) string {
	var b strings.Builder
	for _, c := range l {
		runes := []rune(c.text)
		runes = runes[:min(len(runes), width)]
		width -= len(runes)
		if len(runes) > 0 {
			b.WriteString(v.paint(string(runes), c.color))
		}
	}
	return b.String()
}

// lines lays the frame out; there are at most height of them.
func (f demoFrame) lines() []string {
	width := max(f.width, demoMinWidth)
	all := slices.Concat(f.head(width), f.nodes(width))
	if room := f.height - len(all) - 1; room > 1 {
		all = append(all, nil)
		all = append(all, f.log(width, room)...)
	}
	var painted []string
	for _, l := range all[:min(len(all), f.height)] {
		painted = append(painted, strings.TrimRight(l.paint(f.view, f.width), " "))
	}
	return painted
}

func (f demoFrame) head(width int) []demoLine {
	var title, acts, page demoLine
	title.add(sgrBold, "Forestall demo")
	title.add(sgrNone, "  %d nodes on this machine, %d simulated GPUs each, seed %d", f.plan.nodes, f.plan.gpus, f.plan.seed)
	clock := fmt.Sprintf("%.1f s", f.elapsed.Seconds())
	title.pad(width - len(clock))
	title.add(sgrBold, "%s", clock)

	for i, a := range f.acts {
		mark, color := " ", sgrNone
		switch a.state {
		case actRuns:
			mark, color = ">", sgrBold
		case actDone:
			mark, color = "x", sgrGreen
		case actMissed:
			mark, color = "!", sgrRed
		}
		if i > 0 {
			acts.add(sgrNone, "  ")
		}
		acts.add(color, "[%s] %s", mark, a.title)
	}
	if len(f.urls) > 0 {
		page.add(sgrNone, "web page ")
		page.add(sgrBold, "%s", f.urls[0])
		for _, url := range f.urls[1:] {
			if page.len()+2+len(url) <= width { // half an address is none
				page.add(sgrNone, "  %s", url)
			}
		}
	}
	var said demoLine
	said.add(sgrNone, "%s", demoDisclaimer)
	return []demoLine{title, acts, page, said, nil}
}

// demoDisclaimer says what is not real.
const demoDisclaimer = "Simulated: the GPUs. Their model is hand-made, not trained. All else is real."

const (
	demoCellWidth  = 3
	demoGPUsPerRow = 16
)

// nodes draws one row per node: who it is, the risk of its GPUs, its workloads.
func (f demoFrame) nodes(width int) []demoLine {
	perRow := min(f.plan.gpus, demoGPUsPerRow, (width-40)/demoCellWidth)
	gpuColumn := 18
	workColumn := gpuColumn + max(perRow*demoCellWidth, len("GPU risk")) + 2
	var header demoLine
	header.add(sgrBold, "node")
	header.pad(gpuColumn)
	header.add(sgrBold, "GPU risk")
	header.pad(workColumn)
	header.add(sgrBold, "workloads: epoch, age of checkpoint")
	lines := []demoLine{header}
	for i := range f.plan.nodes {
		name := demoNodeName(i)
		state, color := f.state(name)
		var row demoLine
		row.add(sgrBold, "%-3s", name)
		mark := " "
		if f.sight.status.Leader == name {
			mark = "*"
		}
		row.add(sgrGreen, "%s ", mark)
		row.add(color, "%s", state)
		for g := 0; g < f.plan.gpus; g += perRow {
			if g > 0 {
				lines = append(lines, row)
				row = nil
			}
			row.pad(gpuColumn)
			for i := g; i < min(g+perRow, f.plan.gpus); i++ {
				row = append(row, f.cell(forestall.GPU(name, i)))
			}
			if g == 0 {
				row.pad(workColumn)
				f.workloads(&row, name, width)
			}
		}
		lines = append(lines, row)
	}
	var legend demoLine
	legend.add(sgrNone, "* leader  [] in use  0-9 tenths of risk")
	if h := f.horizon(); h > 0 {
		legend.add(sgrNone, " within %s", textDuration(h))
	}
	legend.add(sgrMagenta, "  · ")
	legend.add(sgrNone, "unknown")
	legend.add(sgrRed, "  X ")
	legend.add(sgrNone, "failed")
	return append(lines, legend)
}

// horizon is the one that GPUs' risks speak of.
func (f demoFrame) horizon() time.Duration {
	for _, r := range f.sight.risks {
		if r.Component.Kind == forestall.KindGPU && r.Horizon > 0 {
			return r.Horizon
		}
	}
	return 0
}

func (f demoFrame) state(node string) (string, sgr) {
	for _, m := range f.sight.members {
		if m.Name != node {
			continue
		}
		switch m.State {
		case forestall.MemberAlive:
			if f.killed[node] {
				return "silent", sgrYellow
			}
			return "alive", sgrGreen
		case forestall.MemberSuspect:
			return "suspect", sgrYellow
		case forestall.MemberFailed:
			return "failed", sgrRed
		}
		return string(m.State), sgrNone
	}
	return "starting", sgrYellow
}

// cell shows a GPU: tenths of its risk, in brackets when a workload uses it.
func (f demoFrame) cell(gpu forestall.Component) textCell {
	r := f.sight.risk(gpu)
	mark, color := "·", gradeColors[r.Grade]
	if _, failed := f.sight.incident(gpu); failed {
		mark, color = "X", sgrRed
	} else if r.Grade != forestall.Unknown {
		mark = fmt.Sprint(int(math.Min(9, math.Floor(r.Probability*10))))
	}
	if len(f.sight.uses(gpu)) > 0 {
		return textCell{"[" + mark + "]", color}
	}
	return textCell{" " + mark + " ", color}
}

// workloads adds those of a node to its row, as many as fit.
func (f demoFrame) workloads(row *demoLine, node string, width int) {
	on := f.sight.on(node)
	for i, w := range on {
		age := "none yet"
		if w.Head != nil {
			age = fmt.Sprintf("%.0f s", math.Max(0, f.sight.at.Sub(w.Head.Time).Seconds()))
		}
		text := fmt.Sprintf("%s e%s, %s", w.Name, w.Epoch, age)
		if left := len(on) - i; row.len()+len(text) > width {
			row.add(sgrNone, "+%d", left)
			return
		}
		row.add(stateColors[w.State], "%s", text)
		row.add(sgrNone, "   ")
	}
}

// log shows the newest events that fit into room lines.
func (f demoFrame) log(width, room int) (lines []demoLine) {
	for _, e := range slices.Backward(f.events) {
		wrapped := e.lines(width)
		if len(lines)+len(wrapped) > room {
			break
		}
		lines = append(wrapped, lines...)
	}
	return lines
}

const demoClockWidth = 9

// lines wraps the event's text beside its time.
func (e demoEvent) lines(width int) (lines []demoLine) {
	for i, text := range wrapWords(e.Text, width-demoClockWidth) {
		var l demoLine
		if i == 0 {
			l.add(sgrNone, "%6.1f s ", e.Elapsed)
		}
		l.pad(demoClockWidth)
		l.add(e.color, "%s", text)
		lines = append(lines, l)
	}
	return lines
}

// wrapWords breaks a text into lines of at most width characters, between
// words where that is possible.
func wrapWords(text string, width int) (lines []string) {
	rest := []rune(textClean(text))
	for len(rest) > width {
		cut := width
		for i := width; i > width/2; i-- {
			if rest[i] == ' ' {
				cut = i
				break
			}
		}
		lines = append(lines, strings.TrimRight(string(rest[:cut]), " "))
		rest = []rune(strings.TrimLeft(string(rest[cut:]), " "))
	}
	return append(lines, string(rest))
}
