package anomaly

import (
	"errors"
	"fmt"
	"math"

	"github.com/stratoswarm/forestall"
)

// State is what a [Watch] must not forget with a restart, as JSON.
type State struct {
	Components map[forestall.Component]*learnerState `json:"components"`
}

type learnerState struct {
	Row     int64         `json:"row"`
	Began   int64         `json:"began_ms"`
	Last    int64         `json:"last_ms"`
	Scrapes int           `json:"scrapes"`
	Rows    float64       `json:"rows"`
	Series  []seriesState `json:"series"`

	Crossed []float64 `json:"crossed,omitempty"`
	Days    float64   `json:"days"`
	Up      uint64    `json:"up"`
	Watched float64   `json:"watched"`

	Score  *float64    `json:"score"`
	Parts  []Deviation `json:"parts,omitempty"`
	Since  int64       `json:"since_ms,omitempty"`
	At     float64     `json:"at,omitempty"`
	Begins uint64      `json:"begins,omitempty"`
}

type seriesState struct {
	Name   string   `json:"name"`
	N      float64  `json:"n"`
	Mean   float64  `json:"mean"`
	Square float64  `json:"square"`
	Sum    float64  `json:"sum,omitempty"`
	Count  int      `json:"count,omitempty"`
	Value  *float64 `json:"value,omitempty"`
}

// State returns what there is to remember.
func (w *Watch) State() State {
	s := State{map[forestall.Component]*learnerState{}}
	for _, c := range w.Components() {
		w.mu.RLock()
		e := w.of[c]
		w.mu.RUnlock()
		if e == nil {
			continue
		}
		e.mu.Lock()
		s.Components[c] = e.l.state()
		e.mu.Unlock()
	}
	return s
}

// Adopt takes up what was remembered of components that were not scraped yet. An
// error says what cannot be; nothing is adopted then.
func (w *Watch) Adopt(s State) error {
	if err := s.Check(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for c, ls := range s.Components {
		if w.of[c] == nil {
			w.of[c] = &watched{l: ls.learner(&w.cfg)}
		}
	}
	return nil
}

// Check names what cannot be.
func (s State) Check() error {
	for c, ls := range s.Components {
		if ls == nil {
			return fmt.Errorf("nothing is said of %s", c)
		}
		if err := ls.check(); err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
	}
	return nil
}

func (s *learnerState) check() error {
	switch {
	case len(s.Series) == 0 || len(s.Series) > maxSeries || s.Series[0].Name != MetricReported:
		return fmt.Errorf("%d series, of which the first is to be %s", len(s.Series), MetricReported)
	case len(s.Crossed) > levelCount:
		return fmt.Errorf("%d thresholds; there are %d", len(s.Crossed), levelCount)
	case s.Last < 0 || s.Row < 0 || s.Scrapes < 0 || !(s.Rows >= 0) || !(s.Days >= 0) || !(s.Watched >= 0) || len(s.Parts) > showParts:
		return errors.New("a count is negative")
	}
	names := map[string]bool{}
	for _, x := range s.Series {
		if names[x.Name] || !(x.N >= 0) || !(x.Square >= 0) || x.Count < 0 {
			return fmt.Errorf("metric %.80q is there twice, or a count of it is negative", x.Name)
		}
		names[x.Name] = true
	}
	for _, n := range s.Crossed {
		if !(n >= 0) {
			return fmt.Errorf("a threshold was crossed %v times", n)
		}
	}
	return nil
}

func (l *Learner) state() *learnerState {
	s := &learnerState{
		Row: l.row, Began: l.began, Last: l.last, Scrapes: l.scrapes, Rows: l.rows,
		Days: l.levels.Days, Up: l.levels.up, Watched: l.levels.rows,
		Score: known(l.score), Parts: append([]Deviation(nil), l.parts...), Since: l.since, At: l.at, Begins: l.begins,
	}
	if l.levels.rows > 0 {
		s.Crossed = append(s.Crossed, l.levels.Crossed[:]...)
	}
	if math.IsInf(s.At, 0) {
		s.At = 0
	}
	for i := range l.series {
		x := &l.series[i]
		s.Series = append(s.Series, seriesState{x.name, x.n, x.mean, x.square, x.sum, x.count, known(x.value)})
	}
	return s
}

func (s *learnerState) learner(cfg *LearnConfig) *Learner {
	l := NewLearner(cfg)
	l.row, l.began, l.last, l.scrapes, l.rows = s.Row, s.Began, s.Last, s.Scrapes, s.Rows
	copy(l.levels.Crossed[:], s.Crossed)
	l.levels.Days, l.levels.up, l.levels.rows = s.Days, s.Up, s.Watched
	l.score, l.parts, l.since, l.at, l.begins = unknown(s.Score), s.Parts, s.Since, s.At, s.Begins
	for _, x := range s.Series {
		i := l.find(x.Name)
		own := &l.series[i]
		own.n, own.mean, own.square, own.sum, own.count, own.value = x.N, x.Mean, x.Square, x.Sum, x.Count, unknown(x.Value)
	}
	return l
}

func known(v float64) *float64 {
	if v != v {
		return nil
	}
	return &v
}

func unknown(v *float64) float64 {
	if v == nil {
		return math.NaN()
	}
	return *v
}
