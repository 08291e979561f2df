package recording

import (
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
)

// Filter chooses scrapes by their time and component.
type Filter struct {
	From, To  time.Time                      // From <= t < To; zero: not bounded
	Component func(forestall.Component) bool // nil: all
}

// Of yields the scrapes that the filter lets through, errors as they come.
func (f Filter) Of(scrapes iter.Seq2[[]forestall.Sample, error]) iter.Seq2[[]forestall.Sample, error] {
	return func(yield func([]forestall.Sample, error) bool) {
		for scrape, err := range scrapes {
			if err != nil {
				yield(nil, err)
				return
			}
			c, t := scrape[0].Component, scrape[0].Time
			if !f.To.IsZero() && !t.Before(f.To) {
				return // they come in the order of time
			}
			if t.Before(f.From) || f.Component != nil && !f.Component(c) {
				continue
			}
			if !yield(scrape, nil) {
				return
			}
		}
	}
}

// ExportCSV writes scrapes as a history that [features.ReadHistory] reads. It
// returns how many there were.
func ExportCSV(w io.Writer, scrapes iter.Seq2[[]forestall.Sample, error]) (n int64, err error) {
	b := append([]byte(features.HistoryHeader), '\n')
	for scrape, err := range scrapes {
		if err != nil {
			return n, err
		}
		n++
		if b = features.AppendScrape(b, scrape[0].Component, scrape[0].Time, scrape, -1); len(b) < 64<<10 {
			continue
		}
		if _, err := w.Write(b); err != nil {
			return n, fmt.Errorf("export telemetry: %w", err)
		}
		b = b[:0]
	}
	if _, err := w.Write(b); err != nil {
		return n, fmt.Errorf("export telemetry: %w", err)
	}
	return n, nil
}

// MetricsOf reads scrapes for the kinds of component and the metrics in them,
// which are sorted.
func MetricsOf(scrapes iter.Seq2[[]forestall.Sample, error]) (map[forestall.Kind][]string, error) {
	seen := map[forestall.Kind]map[string]bool{}
	for scrape, err := range scrapes {
		if err != nil {
			return nil, err
		}
		kind := scrape[0].Component.Kind
		if seen[kind] == nil {
			seen[kind] = map[string]bool{}
		}
		for i := range scrape {
			seen[kind][scrape[i].Metric] = true
		}
	}
	metrics := map[forestall.Kind][]string{}
	for kind, names := range seen {
		for name := range names {
			metrics[kind] = append(metrics[kind], name)
		}
		slices.Sort(metrics[kind])
	}
	return metrics, nil
}

// ExportSegment writes scrapes of components of one kind as a segment. It
// returns how many there were.
func ExportSegment(w io.Writer, content Content, kind forestall.Kind, metrics []string, scrapes iter.Seq2[[]forestall.Sample, error]) (int64, error) {
	out, err := NewWriter(w, content, kind, "", metrics)
	if err != nil {
		return 0, err
	}
	place := make(map[string]int, len(metrics))
	for i, name := range metrics {
		place[name] = i
	}
	values, known := make([]float64, len(metrics)), make([]bool, len(metrics))
	for scrape, err := range scrapes {
		if err != nil {
			return out.Rows(), err
		}
		clear(known)
		for _, s := range scrape {
			i, ok := place[s.Metric]
			if !ok {
				return out.Rows(), fmt.Errorf("export telemetry: metric %s is not among those to write", s.Metric)
			}
			values[i] = s.Value
			known[i] = !math.IsNaN(s.Value) // what was not there and what was not reported can no longer be told apart
		}
		if err := out.Write(scrape[0].Time, scrape[0].Component, values, known); err != nil {
			return out.Rows(), err
		}
	}
	return out.Rows(), out.Close()
}
