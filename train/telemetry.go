package train

import (
	"fmt"
	"iter"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
)

// VectorOptions say how recorded telemetry becomes rows.
type VectorOptions struct {
	Schema   *features.Schema
	Interval time.Duration // between the rows of a component; 0: one for each scrape
	Labeler  *Labeler
	From     time.Time // of the rows; earlier scrapes only fill the windows
}

// VectorRow is a component's vector at a time and what it is to a learner. The
// vector is valid during the call that it is given to.
type VectorRow struct {
	Time      time.Time
	Component forestall.Component
	Verdict   Verdict
	Next      time.Time // start of the component's next incident; zero: none is known
	Vector    []float64
}

// VectorCounts is what became of the telemetry.
type VectorCounts struct {
	Scrapes  int
	Thin     int                         // rows that no model may judge: the shortest window is not covered, or all windows are empty
	Verdicts map[Verdict]int             // on the other rows
	Rows     map[forestall.Component]int // that were labelled, of each component; 0: all were thin
}

// Vectors replays recorded scrapes, as [features.Replay] does, and calls visit
// with each labelled row, whatever its verdict, in the order of the scrapes. Rows
// that an engine would call unknown are left out. The vectors are those that an
// engine made of the same scrapes, bit for bit.
//
// A component keeps its windows through an incident and a repair, as it does
// online.
func Vectors(scrapes iter.Seq2[[]forestall.Sample, error], opt VectorOptions, visit func(*VectorRow) error) (VectorCounts, error) {
	counts := VectorCounts{Verdicts: map[Verdict]int{}, Rows: map[forestall.Component]int{}}
	kind := opt.Schema.Kind()
	counted := func(yield func([]forestall.Sample, error) bool) {
		for scrape, err := range scrapes {
			if err == nil && scrape[0].Component.Kind == kind {
				counts.Scrapes++
			}
			if !yield(scrape, err) {
				return
			}
		}
	}
	silent, err := newSilence(opt.Schema)
	if err != nil {
		return counts, err
	}
	row := &VectorRow{}
	store := features.NewStore(map[forestall.Kind]*features.Schema{kind: opt.Schema})
	err = features.Replay(counted, store, opt.Interval, func(c forestall.Component, t time.Time, w *features.Window) error {
		if t.Before(opt.From) {
			return nil
		}
		counts.Rows[c] += 0
		ready, _ := w.Ready()
		if ready {
			row.Vector = w.Vector(row.Vector)
		}
		if !ready || silent.is(row.Vector) {
			counts.Thin++
			return nil
		}
		row.Time, row.Component = t, c
		row.Verdict, row.Next = opt.Labeler.Label(t, c), opt.Labeler.Next(t, c)
		counts.Verdicts[row.Verdict]++
		counts.Rows[c]++
		return visit(row)
	})
	return counts, err
}

// silence tells windows that hold no value at all: predict calls their
// components unknown.
type silence struct{ reported, vanished int }

func newSilence(s *features.Schema) (v silence, err error) {
	v = silence{-1, -1}
	for i := range s.Names() {
		switch f := s.Describe(i); {
		case f.Metric == "series" && f.Stat == features.StatLast:
			v.reported = i
		case f.Stat == features.StatVanished: // the last one is of the longest window
			v.vanished = i
		}
	}
	if v.reported < 0 || v.vanished < 0 {
		return v, fmt.Errorf("schema %s does not tell how many series were reported", s.Version())
	}
	return v, nil
}

func (v silence) is(vector []float64) bool {
	return vector[v.reported] == 0 && vector[v.vanished] == 0
}
