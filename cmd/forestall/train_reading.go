package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/stratoswarm/forestall/train"
)

// readingProgress shows how far the reading of tables is: a line of JSON each
// second, or one line that is written over and over where standard error is a
// terminal.
type readingProgress struct {
	out   io.Writer
	now   func() time.Time
	json  bool
	live  bool
	shown time.Time

	// The pass under way.
	path    string
	pass    int
	started time.Time
}

func newReadingProgress(g *globals, asJSON bool) *readingProgress {
	f, ok := g.err.(*os.File)
	return &readingProgress{
		out: g.err, now: g.now, json: asJSON, shown: g.now(),
		live: !asJSON && ok && term.IsTerminal(int(f.Fd())),
	}
}

func (r *readingProgress) report(p train.ReadProgress) {
	now := r.now()
	if r.path != p.Path || r.pass != p.Pass {
		r.path, r.pass, r.started = p.Path, p.Pass, now
	}
	share := 1.0
	if p.Size > 0 {
		share = float64(p.Done) / float64(p.Size)
	}
	switch since := now.Sub(r.shown); {
	case r.json && since >= time.Second:
		line := map[string]any{"reading": p.Path, "pass": p.Pass, "rows": p.Rows, "share": share}
		if text, err := json.Marshal(line); err == nil {
			fmt.Fprintf(r.out, "%s\n", text)
		}
	case r.live && since >= 100*time.Millisecond && share > 0:
		const width = 30
		done := int(width * share)
		left := time.Duration(float64(now.Sub(r.started)) * (1 - share) / share)
		fmt.Fprintf(r.out, "\r\x1b[K[%s%s] reading %s, pass %d: %d rows, %s left", strings.Repeat("=", done), strings.Repeat(" ", width-done),
			p.Path, p.Pass, p.Rows, textDuration(left.Round(time.Second)))
	default:
		return
	}
	r.shown = now
}

// end removes the line.
func (r *readingProgress) end() {
	if r.live {
		fmt.Fprint(r.out, "\r\x1b[K")
	}
}
