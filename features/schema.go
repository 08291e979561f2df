package features

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"

	"github.com/stratoswarm/forestall"
)

// What a schema accepts. A window is cut into [bucketsPerWindow] buckets of a
// whole number of milliseconds, hence its grain.
const (
	maxMetrics  = 512
	maxWindows  = 8
	windowGrain = 100 * time.Millisecond
	maxWindow   = 30 * 24 * time.Hour
)

// ErrSchema is wrapped by every error of [NewSchema].
var ErrSchema = errors.New("feature schema")

// The statistics of a feature, as its name spells them; see [Window.Vector]
// for their formulas. Delta belongs to gauges, Rate to counters.
const (
	StatLast         = "last"
	StatSinceChange  = "since_change_seconds"
	StatMean         = "mean"
	StatStd          = "std"
	StatMin          = "min"
	StatMax          = "max"
	StatSlope        = "slope"
	StatEWMA         = "ewma"
	StatDelta        = "delta"
	StatRate         = "rate"
	StatMissingRatio = "missing_ratio"
	StatVanished     = "vanished"
)

// Positions of a metric's statistics within the block of one window.
const (
	atMean = iota
	atStd
	atMin
	atMax
	atSlope
	atEWMA
	atChange // delta or rate
	atMissing
	statsPerWindow
)

// Positions within a metric's block, before its windows, and within the
// component's own block after the last metric, before series_vanished.
const (
	atLast = iota
	atSinceChange
	statsPerMetric
)

const (
	atLatency = iota
	atGap
	atReported
	statsPerComponent
)

// Feature describes one position of a vector.
type Feature struct {
	Name   string
	Metric string        // the metric it is computed from; scrape or series for the component's own
	Unit   string        // of the value: celsius, celsius/second, ratio, second, ...
	Stat   string        // one of the Stat constants
	Window time.Duration // 0: it has none
}

// Schema is a fixed, named order of features for one kind of component. It is
// immutable and safe for concurrent use.
type Schema struct {
	kind     forestall.Kind
	metrics  []Metric
	windows  []time.Duration
	features []Feature
	names    []string
	index    map[string]int // feature name -> position
	metric   map[string]int // metric name -> position
	version  string
	scratch  sync.Pool // *[]moments, one for each metric
}

// NewSchema crosses metrics with windows. For each metric, in the given order:
// NAME_last, NAME_since_change_seconds and, for each window, NAME_WINDOW_STAT
// for the statistics mean, std, min, max, slope, ewma, delta (gauge) or rate
// (counter), missing_ratio. Then, for the component: scrape_latency_seconds_last,
// scrape_gap_seconds_last, series_reported_ratio_last and, for each window,
// series_vanished_WINDOW. Windows print as Prometheus durations: 10s, 1m, 1h.
//
// Windows ascend strictly and are multiples of 100 ms up to 30 days, at most 8;
// at least one window and one metric are needed. Errors wrap [ErrSchema].
func NewSchema(kind forestall.Kind, metrics []Metric, windows []time.Duration) (*Schema, error) {
	s := &Schema{
		kind:    kind,
		metrics: slices.Clone(metrics),
		windows: slices.Clone(windows),
		index:   map[string]int{},
		metric:  map[string]int{},
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("%w for %s: %w", ErrSchema, kind, err)
	}
	for i, m := range s.metrics {
		s.metric[m.Name] = i
		s.addMetric(m)
	}
	s.add(Feature{MetricScrapeLatency + "_last", "scrape", "second", StatLast, 0})
	s.add(Feature{"scrape_gap_seconds_last", "scrape", "second", StatLast, 0})
	s.add(Feature{"series_reported_ratio_last", "series", "ratio", StatLast, 0})
	for _, w := range s.windows {
		s.add(Feature{"series_vanished_" + windowName(w), "series", "metric", StatVanished, w})
	}
	if len(s.index) != len(s.names) {
		return nil, fmt.Errorf("%w for %s: two metrics give features of the same name; rename one", ErrSchema, kind)
	}
	sum := sha256.Sum256([]byte(strings.Join(s.names, "\n")))
	s.version = kind.String() + "-" + hex.EncodeToString(sum[:6])
	return s, nil
}

func (s *Schema) check() error {
	if s.kind == forestall.KindUnknown || s.kind > forestall.KindService {
		return errors.New("kind must be node, gpu, agent or service")
	}
	if n := len(s.metrics); n == 0 || n > maxMetrics {
		return fmt.Errorf("%d metrics given, 1 to %d are needed", n, maxMetrics)
	}
	seen := map[string]bool{}
	for _, m := range s.metrics {
		if !validMetricName(m.Name) {
			return fmt.Errorf("metric %q: use lower-case letters, digits and '_', beginning with a letter", m.Name)
		}
		if m.Type > Counter {
			return fmt.Errorf("metric %s: type %d is neither Gauge nor Counter", m.Name, m.Type)
		}
		if seen[m.Name] {
			return fmt.Errorf("metric %s is given twice", m.Name)
		}
		seen[m.Name] = true
	}
	if n := len(s.windows); n == 0 || n > maxWindows {
		return fmt.Errorf("%d windows given, 1 to %d are needed", n, maxWindows)
	}
	for i, w := range s.windows {
		if w <= 0 || w%windowGrain != 0 || w > maxWindow {
			return fmt.Errorf("window %s: use a multiple of %s up to %s", w, windowGrain, windowName(maxWindow))
		}
		if i > 0 && w <= s.windows[i-1] {
			return fmt.Errorf("window %s follows %s: windows must ascend", w, s.windows[i-1])
		}
	}
	return nil
}

func (s *Schema) addMetric(m Metric) {
	s.add(Feature{m.Name + "_" + StatLast, m.Name, m.Unit, StatLast, 0})
	s.add(Feature{m.Name + "_" + StatSinceChange, m.Name, "second", StatSinceChange, 0})
	change, perSecond := StatDelta, m.Unit+"/second"
	changeUnit := m.Unit
	if m.Type == Counter {
		change, changeUnit = StatRate, perSecond
	}
	for _, w := range s.windows {
		prefix := m.Name + "_" + windowName(w) + "_"
		for _, f := range [statsPerWindow]struct{ stat, unit string }{
			atMean:    {StatMean, m.Unit},
			atStd:     {StatStd, m.Unit},
			atMin:     {StatMin, m.Unit},
			atMax:     {StatMax, m.Unit},
			atSlope:   {StatSlope, perSecond},
			atEWMA:    {StatEWMA, m.Unit},
			atChange:  {change, changeUnit},
			atMissing: {StatMissingRatio, "ratio"},
		} {
			s.add(Feature{prefix + f.stat, m.Name, f.unit, f.stat, w})
		}
	}
}

func (s *Schema) add(f Feature) {
	s.index[f.Name] = len(s.names)
	s.names = append(s.names, f.Name)
	s.features = append(s.features, f)
}

// Names returns the features' names in vector order. Do not modify it.
func (s *Schema) Names() []string { return s.names }

// Version identifies the names and their order: "gpu-" and 12 hexadecimal
// digits of their SHA-256.
func (s *Schema) Version() string { return s.version }

// merging returns room for the moments of each metric, of any content.
func (s *Schema) merging() *[]moments {
	if have, ok := s.scratch.Get().(*[]moments); ok {
		return have
	}
	made := make([]moments, len(s.metrics))
	return &made
}

// Kind returns the kind of component that the schema describes.
func (s *Schema) Kind() forestall.Kind { return s.kind }

// Windows returns the windows, shortest first. Do not modify it.
func (s *Schema) Windows() []time.Duration { return s.windows }

// Metrics returns the metrics in the order in which [Window.Push] takes their
// values. Do not modify it.
func (s *Schema) Metrics() []Metric { return s.metrics }

// Index returns the position of the named feature.
func (s *Schema) Index(name string) (int, bool) {
	i, ok := s.index[name]
	return i, ok
}

// Describe returns what position i of a vector holds. It panics when i is
// outside [0, len(Names())).
func (s *Schema) Describe(i int) Feature { return s.features[i] }

func windowName(w time.Duration) string { return model.Duration(w).String() }

func validMetricName(name string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return name != ""
}
