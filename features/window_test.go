package features

import (
	"errors"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stratoswarm/forestall"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

var twoMetrics = []Metric{
	{"level_celsius", Gauge, "celsius", ""},
	{"hits_total", Counter, "hit", ""},
}

// scrape is what the naive recomputation remembers of a push.
type scrape struct {
	ms      int64
	values  []float64
	latency float64
}

// naive recomputes one feature from all that was pushed, by the formulas of
// Window.Vector's comment, in two passes over plain slices.
func naive(s *Schema, history []scrape, f Feature) float64 {
	newest := history[len(history)-1]
	switch f.Name {
	case "scrape_latency_seconds_last":
		return newest.latency
	case "scrape_gap_seconds_last":
		if len(history) < 2 {
			return math.NaN()
		}
		return float64(newest.ms-history[len(history)-2].ms) / 1000
	case "series_reported_ratio_last":
		n := 0.0
		for _, v := range newest.values {
			if !math.IsNaN(v) {
				n++
			}
		}
		return n / float64(len(newest.values))
	}
	inside := history
	if f.Window > 0 {
		width := f.Window.Milliseconds() / bucketsPerWindow
		for inside[0].ms/width <= newest.ms/width-bucketsPerWindow {
			inside = inside[1:]
		}
	}
	if f.Stat == StatVanished {
		gone := 0.0
		for m, v := range newest.values {
			if t, _ := readings(inside, m); len(t) > 0 && math.IsNaN(v) {
				gone++
			}
		}
		return gone
	}
	m := s.metric[f.Metric]
	t, v := readings(inside, m)
	n := float64(len(v))
	if f.Stat == StatMissingRatio {
		return (float64(len(inside)) - n) / float64(len(inside))
	}
	if len(v) == 0 {
		return math.NaN()
	}
	last := len(v) - 1
	tmean, mean, lo, hi := 0.0, 0.0, math.Inf(1), math.Inf(-1)
	for i := range v {
		tmean += (t[i] - t[0]) / n
		mean += v[i] / n
		lo, hi = min(lo, v[i]), max(hi, v[i])
	}
	var vv, tt, tv, inc float64
	for i := range v {
		dt, dv := t[i]-t[0]-tmean, v[i]-mean
		vv, tt, tv = vv+dv*dv, tt+dt*dt, tv+dt*dv
		if i > 0 && v[i] >= v[i-1] {
			inc += v[i] - v[i-1]
		} else if i > 0 {
			inc += v[i]
		}
	}
	switch f.Stat {
	case StatLast:
		return newest.values[m]
	case StatSinceChange:
		if math.IsNaN(newest.values[m]) {
			return math.NaN()
		}
		since := t[last]
		for i := last; i >= 0 && v[i] == v[last]; i-- {
			since = t[i]
		}
		return seconds(newest.ms) - since
	case StatMean:
		return mean
	case StatStd:
		return math.Sqrt(vv / n)
	case StatMin:
		return lo
	case StatMax:
		return hi
	case StatEWMA:
		return naiveEWMA(history, m, f.Window)
	}
	if last == 0 {
		return math.NaN()
	}
	switch f.Stat {
	case StatSlope:
		return tv / tt
	case StatDelta:
		return v[last] - v[0]
	case StatRate:
		return inc / (t[last] - t[0])
	}
	panic("no formula for " + f.Name)
}

func naiveEWMA(history []scrape, m int, window time.Duration) float64 {
	t, v := readings(history, m)
	y := v[0]
	for i := 1; i < len(v); i++ {
		if dt := t[i] - t[i-1]; math.Round(dt*1000) > window.Seconds()*1000 {
			y = v[i]
		} else {
			y += (1 - math.Exp(-2*dt/window.Seconds())) * (v[i] - y)
		}
	}
	return y
}

// seconds counts from epoch: fractions of a second are lost since 1970.
func seconds(ms int64) float64 { return float64(ms-epoch.UnixMilli()) / 1000 }

// readings returns when metric m was reported, in seconds, and what.
func readings(history []scrape, m int) (t, v []float64) {
	for _, s := range history {
		if !math.IsNaN(s.values[m]) {
			t = append(t, seconds(s.ms))
			v = append(v, s.values[m])
		}
	}
	return t, v
}

// Whatever the cadence, the gaps and what is missing, the rolling vector is the
// one recomputed from everything.
func TestVectorAgainstNaive(t *testing.T) {
	s := mustSchema(t, twoMetrics, 2*time.Second, 10*time.Second, time.Minute)
	rapid.Check(t, func(t *rapid.T) {
		w := NewWindow(s)
		now := epoch.UnixMilli()
		var history []scrape
		var vector []float64
		for range rapid.IntRange(1, 60).Draw(t, "pushes") {
			now += rapid.OneOf(
				rapid.Int64Range(1, 300),
				rapid.Int64Range(900, 1100),
				rapid.Int64Range(5000, 5000),
				rapid.Int64Range(1, 90_000),
			).Draw(t, "step")
			one := scrape{now, make([]float64, 2), rapid.Float64Range(0, 10).Draw(t, "latency")}
			for m := range one.values {
				one.values[m] = rapid.OneOf(
					rapid.Just(math.NaN()),
					rapid.Float64Range(0, 1e6),
					rapid.SampledFrom([]float64{0, 1, 2, 1e9}),
				).Draw(t, "value")
			}
			if err := w.push(time.UnixMilli(now), one.values, one.latency); err != nil {
				t.Fatal(err)
			}
			history = append(history, one)
			vector = w.Vector(vector)
			for i, got := range vector {
				if want := naive(s, history, s.Describe(i)); !near(got, want, history) {
					t.Fatalf("after %d pushes %s = %v, want %v", len(history), s.Names()[i], got, want)
				}
			}
		}
	})
}

// near compares within the rounding of sums over values of that size.
func near(a, b float64, history []scrape) bool {
	if math.IsNaN(a) || math.IsNaN(b) {
		return math.IsNaN(a) && math.IsNaN(b)
	}
	scale := 1.0
	for _, s := range history {
		for _, v := range s.values {
			if !math.IsNaN(v) {
				scale = max(scale, math.Abs(v))
			}
		}
	}
	return math.Abs(a-b) <= 1e-7*scale*max(1, math.Abs(b)/scale)
}

func TestVectorByHand(t *testing.T) {
	s := mustSchema(t, twoMetrics, 10*time.Second)
	w := NewWindow(s)
	nan := math.NaN()
	for i, values := range [][]float64{{20, 5}, {22, 7}, {nan, 1}, {26, nan}} {
		if err := w.Push(epoch.Add(time.Duration(i)*2*time.Second), values, 30*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	v := w.Vector(nil)
	for name, want := range map[string]float64{
		"level_celsius_last":                 26,
		"level_celsius_since_change_seconds": 0,
		"level_celsius_10s_mean":             68.0 / 3,
		"level_celsius_10s_min":              20,
		"level_celsius_10s_max":              26,
		"level_celsius_10s_slope":            1,
		"level_celsius_10s_delta":            6,
		"level_celsius_10s_missing_ratio":    0.25,
		"hits_total_last":                    nan,
		"hits_total_since_change_seconds":    nan,
		"hits_total_10s_rate":                0.75, // 2 up, then restarted and 1 up, in 4 s
		"hits_total_10s_missing_ratio":       0.25,
		"scrape_latency_seconds_last":        0.03,
		"scrape_gap_seconds_last":            2,
		"series_reported_ratio_last":         0.5,
		"series_vanished_10s":                1,
	} {
		i, ok := s.Index(name)
		if !ok {
			t.Fatalf("no feature %s", name)
		}
		if got := v[i]; math.Abs(got-want) > 1e-12 || math.IsNaN(got) != math.IsNaN(want) {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
}

// A constant series has no spread and no slope, even where squares of its
// values exceed what a float64 tells apart.
func TestConstantSeriesIsExact(t *testing.T) {
	s := mustSchema(t, twoMetrics, time.Minute)
	w := NewWindow(s)
	for i := range 500 {
		if err := w.Push(epoch.Add(time.Duration(i)*733*time.Millisecond), []float64{85899345920.1, 0}, 0); err != nil {
			t.Fatal(err)
		}
	}
	v := w.Vector(nil)
	for _, name := range []string{"level_celsius_1m_std", "level_celsius_1m_slope", "level_celsius_1m_delta", "hits_total_1m_rate"} {
		if i, _ := s.Index(name); v[i] != 0 {
			t.Errorf("%s = %v, want exactly 0", name, v[i])
		}
	}
}

func TestPushRefuses(t *testing.T) {
	s := mustSchema(t, twoMetrics, 10*time.Second)
	w := NewWindow(s)
	push := func(at time.Time, values ...float64) error { return w.Push(at, values, 0) }
	if err := push(epoch, 1, 2); err != nil {
		t.Fatal(err)
	}
	before := w.Vector(nil)
	for _, tt := range []struct {
		name string
		err  error
		want error
	}{
		{"same time", push(epoch, 3, 4), ErrOutOfOrder},
		{"within the millisecond", push(epoch.Add(900*time.Microsecond), 3, 4), ErrOutOfOrder},
		{"earlier", push(epoch.Add(-time.Second), 3, 4), ErrOutOfOrder},
		{"too few values", push(epoch.Add(time.Second), 3), ErrWidth},
		{"too many values", push(epoch.Add(time.Second), 3, 4, 5), ErrWidth},
		{"no time", push(time.Time{}, 3, 4), ErrBadTime},
		{"far future", push(time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC), 3, 4), ErrBadTime},
	} {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, tt.err, tt.want)
		}
	}
	if !sameBits(before, w.Vector(nil)) {
		t.Error("a refused push changed the vector")
	}
}

func TestInfinityIsMissing(t *testing.T) {
	s := mustSchema(t, twoMetrics, 10*time.Second)
	w := NewWindow(s)
	if err := w.Push(epoch, []float64{math.Inf(1), math.Inf(-1)}, -1); err != nil {
		t.Fatal(err)
	}
	for i, v := range w.Vector(nil) {
		f := s.Describe(i)
		switch {
		case f.Stat == StatMissingRatio && v == 1, f.Name == "series_reported_ratio_last" && v == 0, f.Stat == StatVanished && v == 0:
		case math.IsNaN(v):
		default:
			t.Errorf("%s = %v", f.Name, v)
		}
	}
}

func TestEmptyWindowIsAllMissing(t *testing.T) {
	w := NewWindow(mustSchema(t, twoMetrics, 10*time.Second))
	for i, v := range w.Vector(nil) {
		if !math.IsNaN(v) {
			t.Errorf("%s = %v before any scrape", w.Schema().Names()[i], v)
		}
	}
	if !w.Last().IsZero() || w.Gap(epoch) != -1 {
		t.Errorf("Last %v, Gap %v before any scrape", w.Last(), w.Gap(epoch))
	}
}

func TestReady(t *testing.T) {
	w := NewWindow(mustSchema(t, twoMetrics, 10*time.Second, time.Minute))
	for _, tt := range []struct {
		at   time.Duration
		ok   bool
		note string
	}{
		{0, false, "0 s of the 10 s window seen"},
		{8 * time.Second, false, "8 s of the 10 s window seen"},
		{9500 * time.Millisecond, false, "9.5 s of the 10 s window seen"},
		{10 * time.Second, true, ""},
		{50 * time.Second, true, ""},                              // shorter than the longest window: still covered
		{200 * time.Second, false, "0 s of the 10 s window seen"}, // everything forgotten
		{215 * time.Second, true, ""},
	} {
		if err := w.Push(epoch.Add(tt.at), []float64{1, 2}, 0); err != nil {
			t.Fatal(err)
		}
		if ok, note := w.Ready(); ok != tt.ok || note != tt.note {
			t.Errorf("after %s: Ready() = %v, %q, want %v, %q", tt.at, ok, note, tt.ok, tt.note)
		}
	}
	if got := w.Gap(epoch.Add(220 * time.Second)); got != 5*time.Second {
		t.Errorf("Gap = %s, want 5s", got)
	}
	if got, want := w.Last(), epoch.Add(215*time.Second); !got.Equal(want) {
		t.Errorf("Last = %s, want %s", got, want)
	}
}

func TestPushAndVectorDoNotAllocate(t *testing.T) {
	s, err := NewSchema(forestall.KindGPU, Metrics(forestall.KindGPU), []time.Duration{10 * time.Second, time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	w := NewWindow(s)
	values := make([]float64, len(s.Metrics()))
	vector := make([]float64, len(s.Names()))
	at := epoch
	if n := testing.AllocsPerRun(200, func() {
		at = at.Add(700 * time.Millisecond)
		values[0]++
		if err := w.Push(at, values, time.Millisecond); err != nil {
			t.Fatal(err)
		}
		vector = w.Vector(vector)
	}); n != 0 {
		t.Errorf("%v allocations per push and vector, want none", n)
	}
}

func sameBits(a, b []float64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if math.Float64bits(a[i]) != math.Float64bits(b[i]) {
			return false
		}
	}
	return true
}
