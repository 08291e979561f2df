package features

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/stratoswarm/forestall"
)

// ErrPrometheus is wrapped by every error of [ReadPrometheus].
var ErrPrometheus = errors.New("prometheus")

// Bounds on what is asked and held at once.
const (
	// maxRangeSteps is below the 11,000 points a series that Prometheus
	// answers at most.
	maxRangeSteps   = 10_000
	firstRangeSteps = 60
	namesPerQuery   = 16
	defaultPoints   = 2_000_000 // 8 bytes each
	maxHistorySteps = 100_000_000
)

// PrometheusQuery says what to read from a Prometheus server, or from what
// answers the same API (Thanos, Mimir, VictoriaMetrics).
type PrometheusQuery struct {
	URL      string       // of the server, with its path prefix: http://prometheus:9090
	Client   *http.Client // carries TLS and authentication
	Mappings []*Mapping
	Match    string        // matchers of targets' labels, as in PromQL: job="node",dc=~"a|b"; "" = all
	Node     string        // whose components all are; "" = labels say it
	From, To time.Time     // inclusive
	Step     time.Duration // of the times read; no shorter than the scrape interval makes sense

	MaxPoints int                                        // held at once; 0 = 2 million
	Progress  func(PrometheusProgress)                   // called after each chunk, if not nil
	Wait      func(context.Context, time.Duration) error // between attempts; nil = real time
}

// PrometheusProgress says how far a read is.
type PrometheusProgress struct {
	Steps, Done int       // times in all, and read
	At          time.Time // the newest read
	Series      int       // in the newest chunk
	Components  int       // seen so far
}

// Scrape is what one source said about one component at one time.
type Scrape struct {
	Samples []forestall.Sample // every metric of the component's kind; NaN = not reported
	Latency time.Duration      // negative: not known
}

// ReadPrometheus yields what scrapes through the same mappings at From,
// From+Step, ... would have given, in the order of time and, within one, of
// targets (job, instance) and components. As for a scrape, a component that its
// target did not report has NaN for every metric, and a target that did not
// answer (up = 0), or on which no pulse has moved, gives nothing. The latency is scrape_duration_seconds. Of two
// targets that describe one component at one time the first counts.
//
// The server is asked in chunks of time and metric names, each below its limit
// of 11,000 points a series and within MaxPoints; a chunk that is still too
// large is cut in half. Refused connections, status 429 and 5xx are tried five
// times. An error ends the sequence.
func ReadPrometheus(ctx context.Context, q PrometheusQuery) iter.Seq2[Scrape, error] {
	return func(yield func(Scrape, error) bool) {
		r, err := newRangeReader(q)
		if err == nil {
			err = r.read(ctx, yield)
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(Scrape{}, fmt.Errorf("%w: %w", ErrPrometheus, err))
		}
	}
}

// rangeReader reads one query.
type rangeReader struct {
	q       PrometheusQuery
	steps   int
	targets map[targetKey]*rangeTarget
	order   []*rangeTarget
	seen    map[forestall.Component]int // step of the newest scrape
}

// targetKey names what Prometheus scrapes.
type targetKey struct {
	mapping       int
	job, instance string
}

func (k targetKey) compare(o targetKey) int {
	return cmp.Or(k.mapping-o.mapping, strings.Compare(k.job, o.job), strings.Compare(k.instance, o.instance))
}

// String returns the target as "job instance".
func (k targetKey) String() string { return k.job + " " + k.instance }

// rangeTarget is one target in the chunk at hand.
type rangeTarget struct {
	key      targetKey
	collect  *collector
	series   []rangeSeries
	up       []float64 // by step; nil = not known
	duration []float64
}

type rangeSeries struct {
	route  route
	values []float64 // by step; absent where there was none
}

// absent is a NaN that no series holds.
var absent = math.Float64frombits(0x7ff8_0000_dead_0001)

func isAbsent(v float64) bool { return math.Float64bits(v) == math.Float64bits(absent) }

func newRangeReader(q PrometheusQuery) (*rangeReader, error) {
	u, err := url.Parse(q.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("url %q: want http://HOST:PORT or https://", q.URL)
	}
	if len(q.Mappings) == 0 {
		return nil, errors.New("no mapping is given")
	}
	if q.Step < time.Millisecond || q.Step%time.Millisecond != 0 {
		return nil, fmt.Errorf("step %s: want whole milliseconds", q.Step)
	}
	if q.From.UnixMilli() < 0 || q.To.UnixMilli() >= maxUnixMilli || q.To.Before(q.From) {
		return nil, fmt.Errorf("from %s to %s is not a span of time", q.From.Format(time.RFC3339), q.To.Format(time.RFC3339))
	}
	steps := q.To.Sub(q.From)/q.Step + 1
	if steps > maxHistorySteps {
		return nil, fmt.Errorf("%d steps, at most %d are read: give a longer step", steps, maxHistorySteps)
	}
	q.URL = strings.TrimRight(q.URL, "/")
	q.From = q.From.UTC().Truncate(time.Millisecond)
	if q.MaxPoints <= 0 {
		q.MaxPoints = defaultPoints
	}
	if q.Wait == nil {
		q.Wait = sleep
	}
	return &rangeReader{q: q, steps: int(steps), targets: map[targetKey]*rangeTarget{}, seen: map[forestall.Component]int{}}, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func (r *rangeReader) read(ctx context.Context, yield func(Scrape, error) bool) error {
	n, most, failures := min(firstRangeSteps, r.steps), maxRangeSteps, 0
	for done := 0; done < r.steps; {
		n = min(n, r.steps-done)
		series, err := r.fetch(ctx, done, n)
		var passing passingError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errChunkTooLarge) && n > 1:
			n /= 2
			most = n // what a server has refused once is not asked for again
			continue
		case errors.As(err, &passing):
			if failures++; failures == rangeAttempts {
				return fmt.Errorf("after %d attempts: %w", failures, err)
			}
			if err := r.q.Wait(ctx, time.Second<<(failures-1)); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		failures = 0
		if err := r.emit(done, n, yield); err != nil {
			return err
		}
		done += n
		if r.q.Progress != nil {
			r.q.Progress(PrometheusProgress{r.steps, done, r.time(done - 1), series, len(r.seen)})
		}
		n = min(max(r.q.MaxPoints/max(series, 1), 1), most, 4*n)
	}
	return nil
}

func (r *rangeReader) time(step int) time.Time {
	return r.q.From.Add(time.Duration(step) * r.q.Step)
}

// fetch reads n steps from the first on into the targets and returns the number
// of series.
func (r *rangeReader) fetch(ctx context.Context, first, n int) (int, error) {
	for _, t := range r.order {
		t.series, t.up, t.duration = t.series[:0], nil, nil
	}
	total := 0
	for i, mapping := range r.q.Mappings {
		names := mapping.Series()
		for len(names) > 0 {
			part := names[:min(len(names), namesPerQuery)]
			names = names[len(part):]
			err := r.ask(ctx, part, first, n, func(l labels.Labels, values []float64) error {
				if total++; total*n > r.q.MaxPoints && n > 1 {
					return errChunkTooLarge
				}
				t := r.target(i, l)
				route, err := t.collect.route(l.Get(model.MetricNameLabel), l)
				if err == nil && route.to != nil {
					t.series = append(t.series, rangeSeries{route, values})
				}
				return err
			})
			if err != nil {
				return 0, err
			}
		}
	}
	err := r.ask(ctx, []string{"up", "scrape_duration_seconds"}, first, n, func(l labels.Labels, values []float64) error {
		for i := range r.q.Mappings {
			t := r.targets[keyOf(i, l)]
			switch {
			case t == nil: // it has none of our series
			case l.Get(model.MetricNameLabel) == "up":
				t.up = values
			default:
				t.duration = values
			}
		}
		return nil
	})
	slices.SortFunc(r.order, func(a, b *rangeTarget) int { return a.key.compare(b.key) })
	return total, err
}

func (r *rangeReader) target(mapping int, l labels.Labels) *rangeTarget {
	key := keyOf(mapping, l)
	t := r.targets[key]
	if t == nil {
		t = &rangeTarget{key: key, collect: newCollector(r.q.Mappings[mapping], r.q.Node, nil, key.instance, maxHistoryComponents)}
		r.targets[key] = t
		r.order = append(r.order, t)
	}
	return t
}

// emit yields the chunk's scrapes.
func (r *rangeReader) emit(first, n int, yield func(Scrape, error) bool) error {
	for i := range n {
		at := r.time(first + i)
		for _, t := range r.order {
			if !t.replay(i, at) {
				continue
			}
			latency := notMeasured
			if t.duration != nil && t.duration[i] >= 0 {
				latency = time.Duration(t.duration[i] * float64(time.Second))
			}
			for _, samples := range t.collect.samples(at) {
				c := samples[0].Component
				if last, ok := r.seen[c]; ok && last == first+i {
					continue
				}
				r.seen[c] = first + i
				if !yield(Scrape{samples, latency}, nil) {
					return errStopped
				}
			}
		}
	}
	return nil
}

// notMeasured is the latency of a scrape that is not known.
const notMeasured = time.Duration(-1)

// replay gives step i of the chunk to the target's collector and reports
// whether the target answered then.
func (t *rangeTarget) replay(i int, at time.Time) bool {
	if t.up != nil && t.up[i] != 1 {
		return false
	}
	t.collect.begin()
	for _, s := range t.series {
		if v := s.values[i]; !isAbsent(v) {
			t.collect.add(s.route, v)
		}
	}
	if err := t.collect.end(at); err != nil {
		t.collect.abort()
		return false
	}
	t.collect.events = nil // a recorded history holds samples alone
	return true
}
