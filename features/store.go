package features

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stratoswarm/forestall"
)

// Errors of [Store.Push].
var (
	ErrNoSchema   = errors.New("no schema for this kind of component")
	ErrMixedBatch = errors.New("samples of one push must share component and time")
)

// Store holds the windows of all components. It is safe for concurrent use;
// pushes for different components do not wait for each other.
//
// One component is to have one source: two that push the same component at
// different times each make the other's metrics look missing.
//
// A clock that is set back gives scrapes that are older than the newest. Once
// they have kept coming, in their own order, for RestartAfter, nothing newer
// between them, the component's window begins anew with them.
type Store struct {
	schemas map[forestall.Kind]*Schema
	ignored atomic.Uint64

	mu      sync.RWMutex
	windows map[forestall.Component]*entry
}

// RestartAfter is how long all scrapes of a component have to be older than its
// newest until its window begins anew.
const RestartAfter = time.Minute

type entry struct {
	mu      sync.Mutex
	window  *Window
	values  []float64 // scratch of Push
	refused refusals
}

// refusals is a run of scrapes that came out of order, with none in order
// between them.
type refusals struct {
	count       int
	first, last int64 // ms
}

// take notes one and reports whether it is the clock that was set back: a few
// late ones are not. Three are needed, so that two strays a minute apart are not.
func (r *refusals) take(ms int64) bool {
	if r.count == 0 || ms <= r.last {
		*r = refusals{count: 1, first: ms, last: ms}
		return false
	}
	r.count, r.last = r.count+1, ms
	return r.count >= 3 && r.last-r.first >= RestartAfter.Milliseconds()
}

// NewStore returns an empty store. Components of a kind without a schema are
// refused by Push.
func NewStore(schemas map[forestall.Kind]*Schema) *Store {
	return &Store{
		schemas: maps.Clone(schemas),
		windows: map[forestall.Component]*entry{},
	}
}

// Push takes one scrape of one component: its samples, which share component
// and time, and the scrape's latency, negative when not measured. Metrics of
// the schema without a sample count as missing; samples of unknown metrics are
// ignored and counted. A sample named [MetricScrapeLatency] is the latency, in
// place of the argument. No samples is no scrape: use [Store.PushMissing] to
// say that a component was asked and reported nothing.
//
// Errors: [ErrNoSchema], [ErrMixedBatch] and those of [Window.Push]; the
// window is unchanged after one.
func (s *Store) Push(samples []forestall.Sample, latency time.Duration) error {
	if len(samples) == 0 {
		return nil
	}
	c, t := samples[0].Component, samples[0].Time
	for i := range samples {
		if samples[i].Component != c || !samples[i].Time.Equal(t) {
			return fmt.Errorf("push %s: %w; sample %d is of %s at %s", c, ErrMixedBatch, i, samples[i].Component, samples[i].Time)
		}
	}
	return s.push(c, t, samples, latency)
}

// PushMissing takes a scrape of c at t in which no metric was reported.
func (s *Store) PushMissing(c forestall.Component, t time.Time, latency time.Duration) error {
	return s.push(c, t, nil, latency)
}

func (s *Store) push(c forestall.Component, t time.Time, samples []forestall.Sample, latency time.Duration) error {
	schema := s.schemas[c.Kind]
	if schema == nil {
		return fmt.Errorf("push %s: %w", c, ErrNoSchema)
	}
	e := s.entry(c, schema)
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.values {
		e.values[i] = math.NaN()
	}
	seconds := latencySeconds(latency)
	for i := range samples {
		if m, ok := schema.metric[samples[i].Metric]; ok {
			e.values[m] = samples[i].Value
		} else if samples[i].Metric == MetricScrapeLatency {
			seconds = samples[i].Value
		} else {
			s.ignored.Add(1)
		}
	}
	err := e.window.push(t, e.values, seconds)
	switch {
	case err == nil:
		e.refused = refusals{}
	case errors.Is(err, ErrOutOfOrder) && e.refused.take(t.UnixMilli()):
		e.window, e.refused = NewWindow(schema), refusals{}
		err = e.window.push(t, e.values, seconds)
	}
	if err != nil {
		return fmt.Errorf("push %s: %w", c, err)
	}
	return nil
}

// Hear says that the source of c answered at t and had nothing new. A component
// without a window gets none by it.
func (s *Store) Hear(c forestall.Component, t time.Time) {
	s.With(c, func(w *Window) { w.Hear(t) })
}

// Expect calls Expect of a component's window, if it has one.
func (s *Store) Expect(c forestall.Component, patience time.Duration) {
	s.With(c, func(w *Window) { w.Expect(patience) })
}

// Schema returns the schema of a kind of component, nil if there is none.
func (s *Store) Schema(kind forestall.Kind) *Schema { return s.schemas[kind] }

func (s *Store) entry(c forestall.Component, schema *Schema) *entry {
	s.mu.RLock()
	e := s.windows[c]
	s.mu.RUnlock()
	if e != nil {
		return e
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e = s.windows[c]; e == nil {
		e = &entry{window: NewWindow(schema), values: make([]float64, len(schema.metrics))}
		s.windows[c] = e
	}
	return e
}

// With calls fn with the window of c, which no one else touches until fn
// returns, and reports whether there was one. fn must not keep the window.
func (s *Store) With(c forestall.Component, fn func(*Window)) bool {
	s.mu.RLock()
	e := s.windows[c]
	s.mu.RUnlock()
	if e == nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	fn(e.window)
	return true
}

// Components returns the components that have a window, in the order of
// [forestall.Component.Compare].
func (s *Store) Components() []forestall.Component {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.SortedFunc(maps.Keys(s.windows), forestall.Component.Compare)
}

// Forget drops the window of c, if there is one.
func (s *Store) Forget(c forestall.Component) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.windows, c)
}

// Ignored returns how many samples were of metrics that no schema has.
func (s *Store) Ignored() uint64 { return s.ignored.Load() }
