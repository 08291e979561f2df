package anomaly

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
)

// Watch watches components, each with a learner of its own. It is safe for
// concurrent use; what is of different components does not wait for each other.
type Watch struct {
	cfg LearnConfig

	mu sync.RWMutex
	of map[forestall.Component]*watched

	forgot map[forestall.Kind]uint64 // times that components became unusual which are no more
}

type watched struct {
	mu sync.Mutex
	l  *Learner
}

// NewWatch returns a watch that has seen nothing.
func NewWatch(cfg LearnConfig) (*Watch, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Watch{cfg: cfg, of: map[forestall.Component]*watched{}, forgot: map[forestall.Kind]uint64{}}, nil
}

// Config returns how it learns.
func (w *Watch) Config() LearnConfig { return w.cfg }

// Scrape is [Learner.Scrape] of a component.
func (w *Watch) Scrape(c forestall.Component, at time.Time, samples []forestall.Sample) {
	e := w.entry(c)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.l.Scrape(at, samples)
}

// Replay is [Learner.Replay] of a component.
func (w *Watch) Replay(c forestall.Component, at time.Time, samples []forestall.Sample) {
	e := w.entry(c)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.l.Replay(at, samples)
}

func (w *Watch) entry(c forestall.Component) *watched {
	w.mu.RLock()
	e := w.of[c]
	w.mu.RUnlock()
	if e != nil {
		return e
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if e = w.of[c]; e == nil {
		e = &watched{l: NewLearner(&w.cfg)}
		w.of[c] = e
	}
	return e
}

// Standing returns how a component stands; false: nothing was scraped of it.
func (w *Watch) Standing(c forestall.Component) (s Standing, ok bool) {
	w.mu.RLock()
	e := w.of[c]
	w.mu.RUnlock()
	if e == nil {
		return s, false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.l.Standing(), true
}

// Components returns those that were scraped, in the order of
// [forestall.Component.Compare].
func (w *Watch) Components() []forestall.Component {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return slices.SortedFunc(maps.Keys(w.of), forestall.Component.Compare)
}

// Forget drops what was learnt of a component.
func (w *Watch) Forget(c forestall.Component) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e := w.of[c]; e != nil {
		w.forgot[c.Kind] += e.begins()
		delete(w.of, c)
	}
}

func (e *watched) begins() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.l.begins
}

// Begins returns how often components became unusual, by kind.
func (w *Watch) Begins() map[forestall.Kind]uint64 {
	w.mu.RLock()
	defer w.mu.RUnlock()
	sum := maps.Clone(w.forgot)
	for c, e := range w.of {
		sum[c.Kind] += e.begins()
	}
	return sum
}

// Prefer takes over the learners of another watch that have seen more of their
// component than this one's, and returns how many. Components that this one does
// not know stay unknown. The other is not to be used after.
func (w *Watch) Prefer(other *Watch) (taken int) {
	for _, c := range w.Components() {
		if other.of[c] == nil {
			continue
		}
		more, e := other.of[c].l, w.entry(c)
		e.mu.Lock()
		if more.rows > e.l.rows {
			more.cfg = &w.cfg
			more.begins = e.l.begins // what was long ago is no news
			e.l = more
			taken++
		}
		e.mu.Unlock()
	}
	return taken
}
