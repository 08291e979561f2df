package recording

import (
	"container/heap"
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/stratoswarm/forestall"
)

// Scrapes yields the scrapes of all files in the order of time, each the samples
// of one component at one time, which are the caller's to keep. What was not
// reported is NaN, whether the scrape had the metric or not. Only files whose
// times overlap are open at once.
//
// An error ends the sequence and names the file. So does a scrape of a component
// that two files have at one time, as happens when a recording is given twice.
func (r *Recording) Scrapes(ctx context.Context) iter.Seq2[[]forestall.Sample, error] {
	return func(yield func([]forestall.Sample, error) bool) {
		m := &merge{last: map[forestall.Component]seen{}}
		defer m.close()
		for next := 0; ; {
			for next < len(r.sources) && (len(m.open) == 0 || !r.sources[next].begins().After(m.open[0].head[0].Time)) {
				if err := m.start(ctx, r.sources[next]); err != nil {
					yield(nil, err)
					return
				}
				next++
			}
			if len(m.open) == 0 {
				if next == len(r.sources) {
					return
				}
				continue
			}
			scrape, err := m.take()
			if !yield(scrape, err) || err != nil {
				return
			}
		}
	}
}

// merge holds the files that are open.
type merge struct {
	open openSources // a heap by the time of the heads
	last map[forestall.Component]seen
}

type seen struct {
	at   time.Time
	file string
}

type openSource struct {
	file string
	head []forestall.Sample
	next func() ([]forestall.Sample, error, bool)
	stop func()
}

func (m *merge) start(ctx context.Context, s source) error {
	o := &openSource{file: s.name()}
	o.next, o.stop = iter.Pull2(s.scrapes(ctx))
	head, err, ok := o.next()
	if !ok || err != nil {
		o.stop()
		return err
	}
	o.head = head
	heap.Push(&m.open, o)
	return nil
}

// take returns the earliest scrape.
func (m *merge) take() ([]forestall.Sample, error) {
	o := m.open[0]
	scrape := o.head
	c, t := scrape[0].Component, scrape[0].Time
	if was, ok := m.last[c]; ok && !t.After(was.at) {
		return nil, fmt.Errorf("%s: %w: %s at %s is also in %s; give each recording once", o.file, ErrFormat, c, t.Format(time.RFC3339Nano), was.file)
	}
	m.last[c] = seen{t, o.file}
	head, err, ok := o.next()
	switch {
	case err != nil:
		return nil, err
	case ok:
		o.head = head
		heap.Fix(&m.open, 0)
	default:
		o.stop()
		heap.Pop(&m.open)
	}
	return scrape, nil
}

func (m *merge) close() {
	for _, o := range m.open {
		o.stop()
	}
}

type openSources []*openSource

func (s openSources) Len() int { return len(s) }
func (s openSources) Less(i, j int) bool {
	a, b := s[i].head[0], s[j].head[0]
	if !a.Time.Equal(b.Time) {
		return a.Time.Before(b.Time)
	}
	return a.Component.Compare(b.Component) < 0
}
func (s openSources) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s *openSources) Push(x any)   { *s = append(*s, x.(*openSource)) }
func (s *openSources) Pop() any {
	old := *s
	o := old[len(old)-1]
	*s = old[:len(old)-1]
	return o
}
