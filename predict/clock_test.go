package predict_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/predict"
)

const oneDay = 24 * time.Hour

func TestClock(t *testing.T) {
	h := time.Hour
	for name, c := range map[string]struct {
		told []time.Duration // after start
		want []bool
	}{
		"steady":              {[]time.Duration{0, h, 20 * h}, []bool{true, true, true}},
		"a little back":       {[]time.Duration{20 * h, h, 2 * h}, []bool{true, true, true}},
		"a leap and back":     {[]time.Duration{0, 400 * oneDay, 400*oneDay + h/2, h, 400 * oneDay}, []bool{true, false, false, true, false}},
		"a leap that stands":  {[]time.Duration{0, 40 * oneDay, 40*oneDay + h/2, 40*oneDay + h, 40*oneDay + 2*h}, []bool{true, false, false, true, true}},
		"back, and it stands": {[]time.Duration{400 * oneDay, 0, h / 2, h}, []bool{true, false, false, true}},
		"one leap on another": {[]time.Duration{0, 40 * oneDay, 90 * oneDay, 90*oneDay + h/2, 90*oneDay + h}, []bool{true, false, false, false, true}},
	} {
		t.Run(name, func(t *testing.T) {
			var clock predict.Clock
			var got []bool
			for _, d := range c.told {
				got = append(got, clock.Tell(start.Add(d)))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("believed: %v; want %v", got, c.want)
			}
		})
	}
}

// hourly gives predictions of one component for days from day on, each matured
// a minute later than it is made.
func hourly(a *predict.Accuracy, from, days int, horizon time.Duration) {
	for h := range 24 * days {
		now := start.Add(time.Duration(from)*oneDay + time.Duration(h)*time.Hour)
		a.Predict(forestall.Risk{Component: card0, Time: now, Horizon: horizon, Probability: 0.1, Grade: forestall.Healthy, Model: "m"})
		a.Mature(now.Add(time.Minute))
	}
}

// TestRecentIsWhatMaturedRecently: whatever the horizon, 30 days of predictions
// mature in 30 days.
func TestRecentIsWhatMaturedRecently(t *testing.T) {
	for _, c := range []struct {
		horizon time.Duration
		want    int // one an hour, or sixty a horizon where these are fewer; the days are whole
	}{{oneDay, 720}, {10 * oneDay, 180}, {25 * oneDay, 72}, {30 * oneDay, 60}} {
		t.Run(fmt.Sprint(c.horizon), func(t *testing.T) {
			a := predict.NewAccuracy(time.Minute)
			hourly(a, 0, 120, c.horizon)
			if s := a.RecentOf(forestall.KindGPU, "m"); math.Abs(float64(s.Matured-c.want)) > 24 || math.IsNaN(s.Brier) {
				t.Errorf("%d predictions matured in the last 30 days, Brier %v; want about %d", s.Matured, s.Brier, c.want)
			}
		})
	}
}

// TestFoldingLosesNothing: the counts since the beginning never fall, whatever
// matures first after a long silence.
func TestFoldingLosesNothing(t *testing.T) {
	a := predict.NewAccuracy(time.Minute)
	hourly(a, 0, 20, 6*oneDay) // 60 in 6 days
	before := a.Scores().Matured
	hourly(a, 20+45, 1, 6*oneDay) // what waited matures, older than 30 days by then
	if after := a.Scores().Matured; before < 100 || after < before {
		t.Errorf("%d predictions had matured, and %d after 45 days of silence", before, after)
	}
}

// TestClockSetBack: what was told of a time far ahead does not stand in the way
// of what comes after the clock is right again.
func TestClockSetBack(t *testing.T) {
	a := predict.NewAccuracy(time.Minute)
	hourly(a, 400, 1, time.Hour)
	a.Fail(forestall.Failure{Component: card0, Kind: forestall.GPUFailure, Time: start.Add(800 * oneDay)}) // another's clock
	a.Predict(forestall.Risk{Component: card0, Time: start, Horizon: time.Hour, Grade: forestall.Healthy, Model: "m"})
	hourly(a, 0, 10, time.Hour)
	if s := a.RecentOf(forestall.KindGPU, "m"); s.Matured < 230 {
		t.Errorf("%d predictions of ten right days matured; want about 240", s.Matured)
	}

	tally := predict.NewTally(0.2)
	observe := func(from, days int) time.Time {
		var now time.Time
		for h := range 24 * days {
			now = start.Add(time.Duration(from)*oneDay + time.Duration(h)*time.Hour)
			tally.Observe(forestall.Risk{Component: card0, Time: now, Probability: 0.1, Grade: forestall.Healthy})
		}
		return now
	}
	observe(400, 1)
	if now := observe(0, 10); math.Abs(tally.Counts(now).ComponentDays-10) > 0.1 {
		t.Errorf("%v component-days of ten right ones are counted", tally.Counts(now).ComponentDays)
	}

	fleet := predict.NewFleet()
	fleet.Observe(start.Add(400*oneDay), 0.5)
	for h := range 24 {
		fleet.Observe(start.Add(time.Duration(h)*time.Hour), 1)
	}
	if n := len(fleet.History()); n != 24 {
		t.Errorf("%d hours of the fleet are known; want the 24 right ones", n)
	}
}

// TestTallyOfRareScores: the time between scores counts, however rare they are.
func TestTallyOfRareScores(t *testing.T) {
	tally := predict.NewTally(0.2)
	tally.ScoredEvery(2 * time.Hour)
	var now time.Time
	for i := range 120 {
		now = start.Add(time.Duration(i) * 2 * time.Hour)
		tally.Observe(forestall.Risk{Component: card0, Time: now, Probability: 0.1, Grade: forestall.Healthy})
	}
	if days := tally.Counts(now).ComponentDays; math.Abs(days-119./12) > 1e-9 {
		t.Errorf("%v component-days in ten days of a score every two hours", days)
	}
}
