package recording

import (
	"cmp"
	"iter"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/stratoswarm/forestall"
)

// MetricStats is what a recording has of one metric of one component.
type MetricStats struct {
	Component forestall.Component `json:"component"`
	Metric    string              `json:"metric"`
	Scrapes   int64               `json:"scrapes"` // of the component
	Samples   int64               `json:"samples"` // scrapes in which the metric was reported
	Missing   float64             `json:"missing"` // share of the scrapes in which it was not
	First     time.Time           `json:"first"`   // sample
	Last      time.Time           `json:"last"`
	Gaps      int64               `json:"gaps"`           // times without a sample that are longer than asked for, between the first and the last
	Longest   time.Duration       `json:"longest_gap_ns"` // time without a sample, between the first and the last
	Min       float64             `json:"min"`
	Mean      float64             `json:"mean"`
	Max       float64             `json:"max"`
}

// Summarise sums scrapes up, by component and metric; a metric that was never
// reported of a component is left out. A time without a sample that is longer
// than gap counts as a gap. Memory grows with components and metrics only.
func Summarise(scrapes iter.Seq2[[]forestall.Sample, error], gap time.Duration) ([]MetricStats, error) {
	of := map[forestall.Component]*componentStats{}
	for scrape, err := range scrapes {
		if err != nil {
			return nil, err
		}
		c := of[scrape[0].Component]
		if c == nil {
			c = &componentStats{metrics: map[string]*MetricStats{}}
			of[scrape[0].Component] = c
		}
		c.scrapes++
		for _, s := range scrape {
			if !math.IsNaN(s.Value) {
				c.add(s, gap)
			}
		}
	}
	var all []MetricStats
	for _, c := range of {
		for m := range maps.Values(c.metrics) {
			m.Scrapes = c.scrapes
			m.Missing = float64(m.Scrapes-m.Samples) / float64(m.Scrapes)
			all = append(all, *m)
		}
	}
	slices.SortFunc(all, func(a, b MetricStats) int {
		return cmp.Or(a.Component.Compare(b.Component), cmp.Compare(a.Metric, b.Metric))
	})
	return all, nil
}

type componentStats struct {
	scrapes int64
	metrics map[string]*MetricStats
}

func (c *componentStats) add(s forestall.Sample, gap time.Duration) {
	m := c.metrics[s.Metric]
	if m == nil {
		m = &MetricStats{Component: s.Component, Metric: s.Metric, First: s.Time, Last: s.Time, Min: s.Value, Max: s.Value}
		c.metrics[s.Metric] = m
	}
	silence := s.Time.Sub(m.Last)
	if silence > gap {
		m.Gaps++
	}
	m.Longest = max(m.Longest, silence)
	m.Last = s.Time
	m.Samples++
	m.Min, m.Max = min(m.Min, s.Value), max(m.Max, s.Value)
	m.Mean += (s.Value - m.Mean) / float64(m.Samples)
}
