package checkpoint

import (
	"math"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"pgregory.net/rapid"
)

func TestOptimalInterval(t *testing.T) {
	const day = 24 * time.Hour
	for _, tc := range []struct {
		name       string
		cost, mtbf time.Duration
		recall     float64
		want       time.Duration
	}{
		// Young: sqrt(2*5min*24h) = 120 min; Daly's terms add 1.4 and 0.2 min and take C.
		{"Daly beside Young", 5 * time.Minute, day, 0, 116*time.Minute + 45*time.Second},
		{"a cheap one", 100 * time.Millisecond, 30 * day, 0, 12 * time.Minute},
		{"recall 3/4 doubles the first order", 100 * time.Millisecond, 30 * day, 0.75, 24 * time.Minute},
		{"costs more than failing", 3 * time.Hour, time.Hour, 0, time.Hour},
		{"all failures are announced", time.Second, time.Hour, 1, math.MaxInt64},
		{"no cost", 0, day, 0, 0},
		{"no failure rate", time.Second, 0, 0, 0},
		{"recall unknown", time.Second, day, math.NaN(), 0},
		{"recall above 1", time.Second, day, 1.5, 0},
	} {
		got := OptimalInterval(tc.cost, tc.mtbf, tc.recall)
		if diff := got - tc.want; diff.Abs() > tc.want/200 {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

// The interval loses less than others, by Daly's model of the whole time
// (2006, eq. 13, without the restart): M e^(R/M) (e^((T+C)/M) - 1) / T per
// second of work.
func TestOptimalIntervalLosesLeast(t *testing.T) {
	waste := func(t, c, m float64) float64 { return m * math.Expm1((t+c)/m) / t }
	rapid.Check(t, func(t *rapid.T) {
		m := math.Exp(rapid.Float64Range(4, 16).Draw(t, "log mtbf"))
		c := m * math.Exp(rapid.Float64Range(-12, -1).Draw(t, "log cost/mtbf"))
		best := OptimalInterval(time.Duration(c*1e9), time.Duration(m*1e9), 0).Seconds()
		for _, factor := range []float64{0.8, 1.25} {
			if w := waste(best*factor, c, m); w < waste(best, c, m) {
				t.Fatalf("cost %g s, mtbf %g s: %g s loses %g, %g s only %g", c, m, best, waste(best, c, m), best*factor, w)
			}
		}
	})
}

func TestPace(t *testing.T) {
	p := Pace{Longest: 5 * time.Minute, Shortest: 30 * time.Second, Share: 0.5}
	day := FailureRate{MTBF: 24 * time.Hour}
	for _, tc := range []struct {
		name string
		pace Pace
		cost time.Duration
		rate FailureRate
		want time.Duration
	}{
		{"never later than the objective", p, time.Hour, day, 5 * time.Minute},
		{"never oftener than the shortest", p, time.Microsecond, day, 30 * time.Second},
		{"in between", p, 100 * time.Millisecond, FailureRate{MTBF: 24 * time.Hour}, 131450 * time.Millisecond},
		{"cost unknown", p, 0, day, 5 * time.Minute},
		{"rate unknown", p, time.Second, FailureRate{}, 5 * time.Minute},
		{"recall unknown", p, 100 * time.Millisecond, FailureRate{24 * time.Hour, math.NaN()}, 131450 * time.Millisecond},
		{"fixed", Pace{Longest: time.Minute}, time.Microsecond, day, time.Minute},
	} {
		if got := tc.pace.Interval(tc.cost, tc.rate); (got - tc.want).Abs() > tc.want/200 {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
	cp := forestall.Checkpoint{Pause: 20 * time.Millisecond, Took: 220 * time.Millisecond}
	if got := p.Cost(cp); got != 120*time.Millisecond {
		t.Errorf("cost %v", got)
	}
	for _, bad := range []Pace{{}, {Longest: time.Second, Shortest: time.Minute}, {Longest: time.Second, Shortest: -1}, {Longest: time.Second, Share: 2}, {Longest: time.Second, Share: math.NaN()}} {
		if bad.Validate() == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

func TestEstimateMTBF(t *testing.T) {
	const week = 7 * 24 * time.Hour
	for _, tc := range []struct {
		n        int
		observed time.Duration
		want     time.Duration
	}{
		{0, 0, week},
		{0, 3 * week, 4 * week},
		{1, week, week},
		{9, week, week / 5},
	} {
		if got := EstimateMTBF(tc.n, tc.observed, week); got != tc.want {
			t.Errorf("%d failures in %v: %v, want %v", tc.n, tc.observed, got, tc.want)
		}
	}
}
