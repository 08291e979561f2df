package features

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// bucketsPerWindow is the number of buckets that a window is cut into. It
// bounds memory and sets how sharp the window's old end is.
const bucketsPerWindow = 20

// maxUnixMilli bounds times: 2262-01-01, so that they also fit nanoseconds.
const maxUnixMilli = 9214646400000

// Errors of [Window.Push]. The window is unchanged after one.
var (
	ErrOutOfOrder = errors.New("scrape is not newer than the last one")
	ErrWidth      = errors.New("wrong number of values")
	ErrBadTime    = errors.New("scrape time out of range")
)

// Window is the rolling state of one component under one schema.
//
// Each of the schema's windows is a ring of 20 buckets of a twentieth of its
// length, aligned to the Unix epoch. A bucket keeps the moments of what fell
// into it, so that memory is bounded and a push costs the same however fast
// scrapes come: for each metric, window and bucket 12 bytes, 64 more where the
// metric has moved within the bucket, 104 instead where it was also missing
// from some of its scrapes. A window of length w that ends
// at the newest scrape t holds the buckets (floor(t/b)-20, floor(t/b)] with
// b = w/20: between 19/20 of w and w. Times count to the millisecond, the
// resolution of a recorded history.
//
// A Window is not safe for concurrent use; [Store] makes it so.
type Window struct {
	schema *Schema
	rings  []ring

	current  []float64 // newest value of each metric; NaN = missing
	reported []float64 // newest value that was reported; NaN = never
	seenAt   []int64   // ms, when reported was read
	changed  []int64   // ms, when reported last took another value

	first    int64         // ms, start of the coverage: see Ready
	last     int64         // ms, newest scrape
	previous int64         // ms, the scrape before
	heard    int64         // ms, when its source answered last: see Hear
	patience time.Duration // see Expect
	pushes   int64
	latency  float64 // seconds, of the newest scrape; NaN = not measured
}

// NewWindow returns an empty window under s.
func NewWindow(s *Schema) *Window {
	n := len(s.metrics)
	w := &Window{
		schema:   s,
		rings:    make([]ring, len(s.windows)),
		current:  nans(n),
		reported: nans(n),
		seenAt:   make([]int64, n),
		changed:  make([]int64, n),
		latency:  math.NaN(),
	}
	for i, span := range s.windows {
		w.rings[i] = newRing(span, n)
	}
	return w
}

// Push takes one scrape: the value of each metric in the order of
// [Schema.Metrics], NaN where it was not reported (an infinite value counts as
// not reported), and how long the scrape took; a negative latency was not
// measured. It does not keep values and does not allocate.
//
// Errors: [ErrOutOfOrder] unless t, to the millisecond, is after the last
// push; [ErrWidth]; [ErrBadTime] for a time before 1970 or after 2261.
func (w *Window) Push(t time.Time, values []float64, latency time.Duration) error {
	return w.push(t, values, latencySeconds(latency))
}

func (w *Window) push(t time.Time, values []float64, latency float64) error {
	if len(values) != len(w.current) {
		return fmt.Errorf("%w: %d given, schema %s has %d metrics", ErrWidth, len(values), w.schema.version, len(w.current))
	}
	if ms := t.UnixMilli(); ms < 0 || ms >= maxUnixMilli {
		return fmt.Errorf("%w: %s", ErrBadTime, t)
	}
	now := t.UnixMilli()
	if w.pushes > 0 && now <= w.last {
		return fmt.Errorf("%w: %s after %s", ErrOutOfOrder, t.UTC().Format(time.RFC3339Nano), w.Last().Format(time.RFC3339Nano))
	}
	if w.pushes == 0 || now-w.last > w.longest() {
		w.first = now
	}
	w.previous, w.last, w.heard, w.latency = w.last, now, now, latency
	w.pushes++
	for i := range w.rings {
		w.rings[i].push(now, values, w.seenAt)
	}
	for m, v := range values {
		w.note(m, v)
	}
	return nil
}

// note records the newest value of one metric.
func (w *Window) note(m int, v float64) {
	if !finite(v) {
		w.current[m] = math.NaN()
		return
	}
	w.current[m] = v
	if v != w.reported[m] { // true while reported is NaN
		w.reported[m], w.changed[m] = v, w.last
	}
	w.seenAt[m] = w.last
}

// Ready reports whether the shortest window is covered by scrapes, and says in
// words what is lacking when it is not. Coverage begins with the first scrape,
// and again after a silence longer than the longest window; a shorter silence
// is data (scrape_gap_seconds_last).
func (w *Window) Ready() (ok bool, note string) {
	if w.pushes == 0 {
		return false, "nothing seen yet"
	}
	need, have := w.rings[0].span, w.last-w.first
	if have >= need {
		return true, ""
	}
	return false, fmt.Sprintf("%g s of the %g s window seen", float64(have)/1000, float64(need)/1000)
}

// Last returns the time of the newest scrape, zero before the first.
func (w *Window) Last() time.Time {
	if w.pushes == 0 {
		return time.Time{}
	}
	return time.UnixMilli(w.last).UTC()
}

// Newest returns the newest value of a metric that was reported, NaN if there is
// none.
func (w *Window) Newest(metric string) float64 {
	if m, ok := w.schema.metric[metric]; ok {
		return w.reported[m]
	}
	return math.NaN()
}

// Hear says that the component's source answered at t and had nothing new. No
// feature tells of it, only Gap does.
func (w *Window) Hear(t time.Time) { w.heard = t.UnixMilli() }

// Expect says how old the newest scrape may become before it is stale, where its
// source is slower than the others.
func (w *Window) Expect(patience time.Duration) { w.patience = patience }

// Patience returns what was last expected; 0: nothing was.
func (w *Window) Patience() time.Duration { return w.patience }

// Gap returns how long before now the newest scrape was, or the newest answer of
// the source, -1 before the first scrape.
func (w *Window) Gap(now time.Time) time.Duration {
	if w.pushes == 0 {
		return -1
	}
	return now.Sub(time.UnixMilli(w.heard))
}

// Schema returns the schema that the window was made for.
func (w *Window) Schema() *Schema { return w.schema }

func (w *Window) longest() int64 { return w.rings[len(w.rings)-1].span }

func latencySeconds(d time.Duration) float64 {
	if d < 0 {
		return math.NaN()
	}
	return d.Seconds()
}

func finite(v float64) bool { return v-v == 0 }

func nans(n int) []float64 {
	s := make([]float64, n)
	for i := range s {
		s[i] = math.NaN()
	}
	return s
}
