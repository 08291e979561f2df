package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/checkpoint"
)

// progress tells how far work on a store is: in one line over and over where
// standard error is a terminal, with --json in a line of JSON each second, and
// not at all elsewhere. Its methods may be called by several goroutines at once.
type progress struct {
	out     io.Writer
	now     func() time.Time
	json    bool
	live    bool
	columns func() int // of the terminal, 0: not known

	what  string // restore, verify, ...
	about string // a checkpoint, a workload; may be empty
	unit  string // what is counted when it is not bytes

	mu    sync.Mutex
	done  int64
	total int64 // 0: not known
	bytes int64
	shown time.Time
	pace  pace
	at    checkpoint.Step
}

// newProgress begins to count up to total bytes, 0: nobody knows how many.
func newProgress(g *globals, asJSON bool, what, about string, total int64) *progress {
	p := &progress{out: g.err, now: g.now, json: asJSON, what: what, about: about, total: max(0, total), shown: g.now(), pace: pace{started: g.now()}}
	if f := terminal(g.err); f != nil && !asJSON {
		p.live = true
		p.columns = func() int {
			n, _, _ := term.GetSize(int(f.Fd()))
			return n
		}
	}
	return p
}

// add counts bytes.
func (p *progress) add(n int) { p.count(int64(n), int64(n)) }

// step takes in how far a store has come.
func (p *progress) step(s checkpoint.Progress) {
	if !p.json && !p.live {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.Step != p.at { // another step begins
		p.at, p.done, p.bytes, p.pace = s.Step, 0, 0, pace{started: p.now()}
	}
	p.unit, p.total = "", s.Total
	if s.Step == checkpoint.StepMark {
		p.unit = "checkpoints"
	}
	more := s.Done - p.done // calls overtake each other
	switch {
	case more <= 0:
	case s.Step == checkpoint.StepMark:
		p.counted(more, 0)
	default:
		p.counted(more, more)
	}
}

// count counts units, and the bytes that they were.
func (p *progress) count(units, bytes int64) {
	if !p.json && !p.live {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counted(units, bytes)
}

// counted is count for who holds the lock.
func (p *progress) counted(units, bytes int64) {
	p.done += units
	p.bytes += bytes
	if p.total > 0 {
		p.pace.reach(min(1, float64(p.done)/float64(p.total)), p.now())
	}
	every := 100 * time.Millisecond
	if p.json {
		every = time.Second
	}
	now := p.now()
	if now.Sub(p.shown) < every {
		return
	}
	p.shown = now
	if p.json {
		p.line(now)
		return
	}
	p.draw(now)
}

// rate is in bytes per second, since the beginning.
func (p *progress) rate(now time.Time) float64 {
	return float64(p.bytes) / max(now.Sub(p.pace.started).Seconds(), 1e-3)
}

func (p *progress) line(now time.Time) {
	what := p.what
	if p.at != "" {
		what += " " + string(p.at)
	}
	fields := map[string]any{"progress": what, "bytes": p.bytes, "bytes_per_second": int64(p.rate(now))}
	if p.about != "" {
		fields["about"] = p.about
	}
	if p.unit != "" {
		fields[p.unit] = p.done
	}
	if p.total > 0 {
		fields["share"] = p.pace.done
		if left, known := p.pace.left(now); known {
			fields["seconds_left"] = left.Seconds()
		}
	}
	if text, err := json.Marshal(fields); err == nil {
		fmt.Fprintf(p.out, "%s\n", text)
	}
}

func (p *progress) draw(now time.Time) {
	var line strings.Builder
	line.WriteString(strings.TrimSpace(p.what+" "+p.about) + ": ")
	switch {
	case p.unit != "" && p.total > 0:
		fmt.Fprintf(&line, "%d of %d %s", p.done, p.total, p.unit)
		if p.bytes > 0 {
			line.WriteString(", " + textBytes(p.bytes))
		}
	case p.total > 0:
		fmt.Fprintf(&line, "%s of %s", textBytes(min(p.done, p.total)), textBytes(p.total))
	default:
		line.WriteString(textBytes(p.bytes))
	}
	if p.bytes > 0 {
		fmt.Fprintf(&line, ", %s/s", textBytes(int64(p.rate(now))))
	}
	if left, known := p.pace.left(now); known && p.total > 0 {
		fmt.Fprintf(&line, ", %s left", textDuration(max(left.Round(time.Second), time.Second)))
	}
	text, columns := line.String(), p.columns()
	if columns == 0 {
		columns = 80
	}
	// A line that wraps could not be written over. The bar has what is left.
	if width := min(30, columns-len(text)-len("[] ")-1); p.total > 0 && width >= 5 {
		full := int(float64(width) * p.pace.done)
		text = fmt.Sprintf("[%s%s] %s", strings.Repeat("=", full), strings.Repeat(" ", width-full), text)
	}
	fmt.Fprintf(p.out, "\r\x1b[K%s", text[:min(len(text), columns-1)])
}

// end removes the line from a terminal.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// chunks has p count the chunks that a parcel gives; those that the receiver has
// already it does not ask for.
func (p *progress) chunks(of *checkpoint.Parcel) {
	p.unit, p.total = "chunks", int64(len(of.Chunks))
	fetch := of.Fetch
	of.Fetch = func(ctx context.Context, chunks []checkpoint.Hash, deliver func(checkpoint.Hash, []byte) error) error {
		return fetch(ctx, chunks, func(h checkpoint.Hash, file []byte) error {
			err := deliver(h, file)
			p.count(1, int64(len(file)))
			return err
		})
	}
}

// waitFor shows on a terminal, or with --json in a line each second, how far an
// engine is with something, or that it is being waited for, until the returned
// function is called. at returns what of the engine's work that is.
func waitFor(g *globals, asJSON bool, what, about string, at func(ctx context.Context) (api.StoreWork, bool)) (done func()) {
	p, began := newProgress(g, asJSON, what, about, 0), g.now()
	if !p.json && !p.live {
		return func() {}
	}
	ctx, stop := context.WithCancel(g.ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				p.end()
				return
			case <-tick.C:
				p.look(ctx, began, at)
			}
		}
	}()
	return func() {
		stop()
		<-ended
	}
}

// lookEvery is how often an engine is asked how far its work is.
const lookEvery = time.Second

// look shows what is to be seen of an engine's work.
func (p *progress) look(ctx context.Context, began time.Time, at func(ctx context.Context) (api.StoreWork, bool)) {
	w, known := at(ctx)
	switch {
	case ctx.Err() != nil:
	case known && w.Total > 0:
		s := checkpoint.Progress{Step: checkpoint.Step(w.Step), Total: w.Total}
		if p.step(s); w.Done > 0 {
			p.mu.Lock()
			if p.done == 0 { // it began since the last look
				p.pace.started = p.pace.started.Add(-lookEvery)
			}
			p.shown = time.Time{} // this is the moment for a line
			p.mu.Unlock()
			s.Done = w.Done
			p.step(s)
		}
	default:
		p.waiting(p.now().Sub(began))
	}
}

func (p *progress) waiting(since time.Duration) {
	if p.json {
		if text, err := json.Marshal(map[string]any{"progress": p.what, "about": p.about, "seconds": since.Seconds()}); err == nil {
			fmt.Fprintf(p.out, "%s\n", text)
		}
		return
	}
	fmt.Fprintf(p.out, "\r\x1b[K%s %s: the engine is at it, %s", p.what, p.about, textDuration(since.Round(time.Second)))
}

// working returns what asks the engine how far one of the steps is.
func (f clientFlags) working(workload string, steps ...checkpoint.Step) func(ctx context.Context) (api.StoreWork, bool) {
	return func(ctx context.Context) (api.StoreWork, bool) {
		work, _ := f.client().StoreWork(ctx, workload) // of an older engine there is none
		i := slices.IndexFunc(work, func(w api.StoreWork) bool { return slices.Contains(steps, checkpoint.Step(w.Step)) })
		if i < 0 {
			return api.StoreWork{}, false
		}
		return work[i], true
	}
}
