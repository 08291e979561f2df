package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/stratoswarm/forestall/train"
)

// trainProgress shows how far a training is, stage by stage: each pass over a
// table, the folds or trials that judge parameters, the trees of the model. It
// writes lines of JSON, or one line over and over where standard error is a
// terminal.
type trainProgress struct {
	out   io.Writer
	now   func() time.Time
	json  bool
	live  bool
	shown time.Time // the last time that is not shown each time
	pace  pace      // of the stage

	columns func() int // of the terminal, 0: not known

	reading train.ReadProgress // the pass under way
	search  struct {
		trials   int // 0: as many as there is time for
		done     int // trials
		best     string
		bestMean float64
	}
}

func newTrainProgress(g *globals, asJSON bool) *trainProgress {
	t := &trainProgress{out: g.err, now: g.now, json: asJSON, shown: g.now()}
	if f := terminal(g.err); f != nil && !asJSON {
		t.live = true
		t.columns = func() int {
			n, _, _ := term.GetSize(int(f.Fd()))
			return n
		}
	}
	t.begin()
	return t
}

// begin begins a stage.
func (t *trainProgress) begin() { t.pace = pace{started: t.now()} }

// took returns how long the stage takes so far.
func (t *trainProgress) took() time.Duration { return t.now().Sub(t.pace.started) }

// pace tells from how long a part of a stage took how long the rest will take.
type pace struct {
	started time.Time
	done    float64       // share of the stage
	at      time.Time     // when that was reached
	most    time.Duration // that the stage may take; 0: not bounded
}

func (p *pace) reach(done float64, now time.Time) {
	if done != p.done {
		p.done, p.at = done, now
	}
}

// left returns how long the rest will take; false: nothing is done yet that
// would tell.
func (p *pace) left(now time.Time) (time.Duration, bool) {
	whole := p.most
	if p.done > 0 {
		whole = time.Duration(float64(p.at.Sub(p.started)) / p.done)
		if p.most > 0 {
			whole = min(whole, p.most)
		}
	}
	return max(p.started.Add(whole).Sub(now), 0), whole > 0
}

// due reports whether it is time to show what changes too fast to be shown each
// time: a line on a terminal ten times a second, a line of JSON each second.
func (t *trainProgress) due() bool {
	every := 100 * time.Millisecond
	if t.json {
		every = time.Second
	}
	now := t.now()
	if !t.json && !t.live || now.Sub(t.shown) < every {
		return false
	}
	t.shown = now
	return true
}

// draw shows how much of the stage is done, on a terminal.
func (t *trainProgress) draw(what, more string) {
	const width = 30
	done := int(width * min(t.pace.done, 1))
	line := fmt.Sprintf("[%s%s] %s", strings.Repeat("=", done), strings.Repeat(" ", width-done), what)
	if left, known := t.pace.left(t.now()); known {
		line += fmt.Sprintf(", %s left", textDuration(left.Round(time.Second)))
	}
	line += more
	if n := t.columns(); n > 0 && len(line) >= n { // a line that wraps could not be written over
		line = line[:n-1]
	}
	fmt.Fprintf(t.out, "\r\x1b[K%s", line)
}

// line writes fields as a line of JSON, null for a number that is not defined.
func (t *trainProgress) line(fields map[string]any) {
	for name, v := range fields {
		if f, ok := v.(float64); ok && math.IsNaN(f) {
			fields[name] = nil
		}
	}
	if text, err := json.Marshal(fields); err == nil {
		fmt.Fprintf(t.out, "%s\n", text)
	}
}

// say tells something beside the progress.
func (t *trainProgress) say(text string) {
	t.end()
	if t.json {
		t.line(map[string]any{"note": text})
		return
	}
	fmt.Fprintf(t.out, "forestall train: %s\n", text)
}

// end removes the line from a terminal.
func (t *trainProgress) end() {
	if t.live {
		fmt.Fprint(t.out, "\r\x1b[K")
	}
}

// read is called now and then while a table is read.
func (t *trainProgress) read(p train.ReadProgress) {
	if t.reading.Path != p.Path || t.reading.Pass != p.Pass {
		t.begin()
	}
	t.reading = p
	share := 1.0
	if p.Size > 0 {
		share = float64(p.Done) / float64(p.Size)
	}
	t.pace.reach(share, t.now())
	switch {
	case !t.due():
	case t.json:
		t.line(map[string]any{"reading": p.Path, "pass": p.Pass, "rows": p.Rows, "share": share})
	default:
		t.draw(fmt.Sprintf("reading %s, pass %d: %d rows", p.Path, p.Pass, p.Rows), "")
	}
}

// tree is called after each tree of the model that is written.
func (t *trainProgress) tree(p train.Progress) {
	t.pace.reach(shareOf(p), t.now())
	switch {
	case t.json:
		t.line(t.treeLine(p))
	case t.due():
		t.draw(memberOf(p)+fmt.Sprintf("tree %d of %d", p.Tree, p.Trees), metricOf(p))
	}
}

// shareOf returns how much of a training is done.
func shareOf(p train.Progress) float64 {
	done := float64(p.Tree) / float64(p.Trees)
	if p.Members > 0 {
		done = (float64(p.Member-1) + done) / float64(p.Members)
	}
	return done
}

// metricOf says how good the model is by now, where that is judged after each tree.
func metricOf(p train.Progress) string {
	if p.Metric == "" {
		return ""
	}
	return fmt.Sprintf(", %s %.5f", p.Metric, p.Valid)
}

// memberOf says which member is trained, where there are some.
func memberOf(p train.Progress) string {
	if p.Members == 0 {
		return ""
	}
	return fmt.Sprintf("member %d of %d, ", p.Member, p.Members)
}

func (t *trainProgress) treeLine(p train.Progress) map[string]any {
	line := map[string]any{"tree": p.Tree, "trees": p.Trees, "leaves": p.Leaves, "seconds": t.took().Seconds()}
	if p.Members > 0 {
		line["member"], line["members"] = p.Member, p.Members
	}
	if p.Metric != "" {
		line[string(p.Metric)] = p.Valid
	}
	return line
}
