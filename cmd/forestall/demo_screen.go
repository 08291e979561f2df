package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// demoOutput shows a demo as it goes.
type demoOutput interface {
	event(demoEvent)
	frame(demoFrame)
	summary(demoSummary)
	close() // leaves the terminal as it was; may be repeated
}

// newDemoOutput chooses: JSON lines if asked for, a live view on a terminal,
// plain lines elsewhere.
func newDemoOutput(g *globals, asJSON bool) demoOutput {
	if asJSON {
		return demoJSON{json.NewEncoder(g.out)}
	}
	v := view{out: g.out, color: g.color}
	if f := terminal(g.out); f != nil && os.Getenv("TERM") != "dumb" {
		return &demoScreen{f: f, view: v}
	}
	return demoLines{v}
}

// demoJSON writes one JSON object per line: events, then the summary.
type demoJSON struct{ enc *json.Encoder }

func (o demoJSON) event(e demoEvent)     { _ = o.enc.Encode(e) } // nobody reads it any more
func (o demoJSON) frame(demoFrame)       {}
func (o demoJSON) summary(s demoSummary) { _ = o.enc.Encode(s) }
func (o demoJSON) close()                {}

// demoLines writes one line per event.
type demoLines struct{ view view }

func (o demoLines) event(e demoEvent) {
	fmt.Fprintf(o.view.out, "[%5.1f s] %s\n", e.Elapsed, o.view.paint(textClean(e.Text), e.color))
}
func (o demoLines) frame(demoFrame)       {}
func (o demoLines) summary(s demoSummary) { s.write(o.view, 0) }
func (o demoLines) close()                {}

// demoScreen redraws a live view in place.
type demoScreen struct {
	f    *os.File
	view view
	open bool // frames have been drawn and the cursor is hidden
}

func (o *demoScreen) event(demoEvent) {}

const (
	hideCursor  = "\x1b[?25l"
	showCursor  = "\x1b[?25h"
	beginUpdate = "\x1b[?2026h" // the terminal, if it can, shows all until endUpdate at once
	endUpdate   = "\x1b[?2026l"
	cursorHome  = "\x1b[H"
	eraseLine   = "\x1b[K" // to its end
	eraseBelow  = "\x1b[J"
)

// size returns the terminal's.
func (o *demoScreen) size() (width, height int) {
	width, height, err := term.GetSize(int(o.f.Fd()))
	if err != nil || width < 1 || height < 2 {
		return demoMinWidth, 24
	}
	return width, height
}

func (o *demoScreen) frame(f demoFrame) {
	width, height := o.size()
	var b strings.Builder
	if !o.open {
		o.open = true
		// What is on the screen scrolls up and is not lost.
		b.WriteString(hideCursor + strings.Repeat("\n", height))
	}
	f.width, f.height, f.view = width, height-1, o.view
	b.WriteString(beginUpdate + cursorHome)
	for _, line := range f.lines() {
		b.WriteString(line + eraseLine + "\n")
	}
	b.WriteString(eraseBelow + endUpdate)
	_, _ = io.WriteString(o.f, b.String()) // a terminal that has gone ends the demo by SIGHUP
}

// summary follows the last frame, which stays.
func (o *demoScreen) summary(s demoSummary) {
	o.close()
	width, _ := o.size()
	fmt.Fprintln(o.f)
	s.write(o.view, width)
}

func (o *demoScreen) close() {
	if o.open {
		o.open = false
		fmt.Fprint(o.f, showCursor)
	}
}
