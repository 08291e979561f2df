package main

import (
	"fmt"
	"time"

	"github.com/stratoswarm/forestall/features"
)

// importProgress tells how far an import is: on a terminal in one line that it
// writes over, elsewhere in a line every half minute.
type importProgress struct {
	g        *globals
	terminal bool
	told     time.Time
	open     bool // a line of the terminal is to be ended
}

func newImportProgress(g *globals) *importProgress {
	return &importProgress{g: g, terminal: terminal(g.err) != nil, told: g.now()}
}

func (p *importProgress) show(now features.PrometheusProgress) {
	every := 30 * time.Second
	if p.terminal {
		every = 200 * time.Millisecond
	}
	if p.g.now().Sub(p.told) < every && now.Done < now.Steps {
		return
	}
	p.told = p.g.now()
	line := fmt.Sprintf("%3.0f %%  read up to %s, %s", 100*float64(now.Done)/float64(now.Steps), now.At.Format(time.DateTime), textCount(now.Components, "component"))
	if p.terminal {
		fmt.Fprintf(p.g.err, "\r%s\x1b[K", line)
		p.open = true
		return
	}
	fmt.Fprintln(p.g.err, line)
}

// end ends the line that is open.
func (p *importProgress) end() {
	if p.open {
		fmt.Fprintln(p.g.err)
		p.open = false
	}
}
