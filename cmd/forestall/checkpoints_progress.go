package main

import (
	"context"
	"os"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/stratoswarm/forestall/checkpoint"
)

// progress is a bar on the terminal that error messages go to; elsewhere it
// shows nothing.
type progress struct {
	container *mpb.Progress
	bar       *mpb.Bar
}

func newProgress(g *globals, name string, total int64) *progress {
	f, ok := g.err.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || total <= 0 {
		return &progress{}
	}
	p := mpb.New(mpb.WithOutput(f), mpb.WithWidth(40))
	return &progress{p, p.AddBar(total,
		mpb.PrependDecorators(decor.Name(name+" ")),
		mpb.AppendDecorators(decor.Percentage(decor.WCSyncSpace), decor.Name("  "), decor.AverageETA(decor.ET_STYLE_GO)))}
}

// add counts; it may be called by several goroutines at once, and beyond the total.
func (p *progress) add(n int) {
	if p.bar != nil {
		p.bar.IncrBy(n)
	}
}

// end leaves the bar full, or as it was when something went wrong.
func (p *progress) end(ok bool) {
	if p.bar == nil {
		return
	}
	if ok {
		p.bar.SetTotal(-1, true)
	} else {
		p.bar.Abort(false)
	}
	p.container.Wait()
}

// count has the bar count the chunks that a parcel gives; those that the
// receiver has already it does not ask for.
func count(p *checkpoint.Parcel, bar *progress) {
	fetch := p.Fetch
	p.Fetch = func(ctx context.Context, chunks []checkpoint.Hash, deliver func(checkpoint.Hash, []byte) error) error {
		return fetch(ctx, chunks, func(h checkpoint.Hash, file []byte) error {
			err := deliver(h, file)
			bar.add(1)
			return err
		})
	}
}
