package predict

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/model"
)

var t0 = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func score(c forestall.Component, at time.Time, p float64) forestall.Risk {
	return forestall.Risk{Component: c, Time: at, Horizon: time.Hour, Probability: p, Grade: forestall.Healthy, Model: "m1"}
}

func TestLevels(t *testing.T) {
	for i := range levels {
		p := levelAt(i)
		if got := levelsUpTo(p); got != i+1 {
			t.Errorf("level %d is %v, which reaches %d levels", i, p, got)
		}
		if got := levelsUpTo(math.Nextafter(p, 0)); got != i {
			t.Errorf("just below level %d, %d levels are reached", i, got)
		}
	}
	for p, want := range map[float64]int{0: 0, -1: 0, math.NaN(): 0, 1: levels, 2: levels, math.Inf(1): levels} {
		if got := levelsUpTo(p); got != want {
			t.Errorf("%v reaches %d levels, want %d", p, got, want)
		}
	}
}

// counts makes counts of so many component-days in which each threshold up to p
// has raised n alarms.
func counts(days float64, alarms map[float64]int) AlarmCounts {
	c := AlarmCounts{ComponentDays: days, Onsets: make([]int, levels), Standing: make([]int, levels)}
	for p, n := range alarms {
		for i := range levelsUpTo(p) {
			c.Onsets[i] += n
		}
	}
	return c
}

func TestBudgetThreshold(t *testing.T) {
	for _, c := range []struct {
		name     string
		counts   AlarmCounts
		budget   float64
		low, hi  float64
		contains string
	}{
		{"nothing is known", AlarmCounts{}, 1, 0.6, 0.6, "as configured"},
		{"watched for an hour", counts(40, nil), 1, 0.6, 0.6, "as configured"},
		{"calm for long", counts(1000, nil), 1, 0.0009, 0.0011, "lowered"},
		{"calm, a little noise at 5 %", counts(1000, map[float64]int{0.05: 20}), 5, 0.05, 0.06, "lowered"},
		{"noise at 80 %", counts(1000, map[float64]int{0.8: 20}), 5, 0.8, 0.85, "raised"},
		{"noise within the budget", counts(1000, map[float64]int{0.8: 4}), 5, 0.0009, 0.0011, "lowered"},
		{"just at the budget", counts(1000, map[float64]int{0.8: 5}), 5, 0.6, 0.6, "as configured"},
		{"one alarm of a small fleet", counts(10, map[float64]int{0.9: 1}), 1, 0.6, 0.6, "as configured"},
		{"two alarms of a small fleet", counts(10, map[float64]int{0.9: 1, 0.7: 1}), 1, 0.7, 0.75, "raised"},
		{"everything at once", counts(1000, map[float64]int{1: 50}), 5, math.Inf(1), math.Inf(1), "nothing alarms"},
	} {
		got := BudgetThreshold(c.counts, c.budget, 0.6, 1)
		if got.At < c.low || got.At > c.hi || !strings.Contains(got.Reason, c.contains) {
			t.Errorf("%s: %v (%s), want %v to %v, %q", c.name, got.At, got.Reason, c.low, c.hi, c.contains)
		}
	}
}

// TestBudgetThresholdOrder: a larger budget never gives a higher threshold, and
// no threshold above the one given has raised more alarms than were allowed.
func TestBudgetThresholdOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := counts(rapid.Float64Range(0, 5000).Draw(t, "days"), nil)
		for range rapid.IntRange(0, 30).Draw(t, "alarms") {
			for i := range rapid.IntRange(0, levels).Draw(t, "level") {
				c.Onsets[i]++
			}
		}
		fixed := rapid.Float64Range(0.01, 0.99).Draw(t, "fixed")
		small := rapid.Float64Range(0.01, 50).Draw(t, "budget")
		large := small + rapid.Float64Range(0, 50).Draw(t, "more")
		a, b := BudgetThreshold(c, small, fixed, 1), BudgetThreshold(c, large, fixed, 1)
		if b.At > a.At {
			t.Fatalf("budget %v gives %v, budget %v gives %v", small, a.At, large, b.At)
		}
		allowed := max(1, small*c.ComponentDays/1000)
		for i := range levels {
			if levelAt(i) >= a.At && c.alarms(i) > allowed {
				t.Fatalf("threshold %v, though %v raised %v of %v", a.At, levelAt(i), c.alarms(i), allowed)
			}
		}
	})
}

// TestTallyCountsWhatThresholdsRaise: for each level the tally counts the alarms
// that grading at that level raises.
func TestTallyCountsWhatThresholdsRaise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tally := NewTally(0.2)
		series := rapid.SliceOfN(rapid.SliceOfN(rapid.Float64Range(0, 1), 3, 3), 1, 60).Draw(t, "probabilities")
		want := make([]int, levels)
		grades := map[forestall.Component][levels]bool{}
		for s, row := range series {
			for g, p := range row {
				c := forestall.GPU("n1", g)
				tally.Observe(score(c, t0.Add(time.Duration(s)*time.Minute), p))
				on := grades[c]
				for i := range levels {
					th := thresholds{suspect: levelAt(i) / 2, failing: levelAt(i), hysteresis: 0.2}
					before := forestall.Healthy
					if on[i] {
						before = forestall.Failing
					}
					now := th.grade(p, before) == forestall.Failing
					// At the very edge of the hysteresis the two may round apart.
					if edge := p/(0.8*levelAt(i)) - 1; math.Abs(edge) < 1e-12 {
						t.Skip("the drawn probability lies on the edge")
					}
					if now && !on[i] {
						want[i]++
					}
					on[i] = now
				}
				grades[c] = on
			}
		}
		got := tally.Counts(t0.Add(time.Duration(len(series)) * time.Minute))
		if d := cmp.Diff(want, got.Onsets); d != "" {
			t.Fatal(d)
		}
		if days := 3 * float64(len(series)-1) / (24 * 60); math.Abs(got.ComponentDays-days) > 1e-9 {
			t.Fatalf("%v component-days, want %v", got.ComponentDays, days)
		}
	})
}

// TestBudgetHolds: a fleet whose scores wander, judged with the threshold that
// follows from them, raises about the alarms that it may in any 90 days, and a
// restart in between changes nothing.
func TestBudgetHolds(t *testing.T) {
	const (
		gpus   = 60
		budget = 8.0
		step   = time.Hour
	)
	run := func(restart bool) (alarms []time.Time, last float64) {
		random := rand.New(rand.NewPCG(4, 2))
		tally, failing := NewTally(0.2), map[int]bool{}
		logit := make([]float64, gpus)
		for g := range logit {
			logit[g] = -6
		}
		for s := range 200 * 24 {
			now := t0.Add(time.Duration(s) * step)
			th := BudgetThreshold(tally.Counts(now), budget, 0.6, 1)
			last = th.At
			grade := thresholds{suspect: th.At, failing: th.At, hysteresis: 0.2}
			for g := range logit {
				logit[g] += -0.02*(logit[g]+6) + 0.25*random.NormFloat64()
				r := score(forestall.GPU("n1", g), now, 1/(1+math.Exp(-logit[g])))
				tally.Observe(r)
				before := forestall.Healthy
				if failing[g] {
					before = forestall.Failing
				}
				on := grade.grade(r.Probability, before) == forestall.Failing
				if on && !failing[g] {
					alarms = append(alarms, now)
				}
				failing[g] = on
			}
			if restart && s%500 == 499 {
				tally = reopened(t, tally)
			}
		}
		return alarms, last
	}
	alarms, threshold := run(false)
	if len(alarms) == 0 {
		t.Fatal("no alarm in 200 days")
	}
	worst := 0
	for i, from := range alarms {
		n := 0
		for n < len(alarms)-i && alarms[i+n].Sub(from) < TallyWindow {
			n++
		}
		worst = max(worst, n)
	}
	allowed := budget * gpus * TallyWindow.Hours() / 24 / 1000
	t.Logf("%d alarms, at most %d in 90 days of %.1f allowed, threshold in the end %.3g", len(alarms), worst, allowed, threshold)
	if float64(worst) > 1.25*allowed {
		t.Errorf("%d alarms in 90 days, %.1f are allowed", worst, allowed)
	}
	again, same := run(true)
	if d := cmp.Diff(alarms, again); d != "" || same != threshold {
		t.Errorf("restarts change the alarms or the threshold, %v and %v: %s", threshold, same, d)
	}
}

func reopened(t *testing.T, tally *Tally) *Tally {
	t.Helper()
	b, err := (&Memory{Tallies: map[string]*Tally{"m1": tally}}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	fresh := NewTally(0.2)
	if err := (&Memory{Tallies: map[string]*Tally{"m1": fresh}}).Read(bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	return fresh
}

// TestBudgetThresholdOdds: where odds are corrected the threshold moves along, so
// that the same components alarm; the fixed one stays where it is said.
func TestBudgetThresholdOdds(t *testing.T) {
	for _, c := range []AlarmCounts{counts(1000, nil), counts(1000, map[float64]int{0.05: 20}), counts(1000, map[float64]int{0.8: 20})} {
		before, after := BudgetThreshold(c, 5, 0.6, 1), BudgetThreshold(c, 5, 0.6, 2)
		if want := model.TimesOdds(before.At, 2); math.Abs(after.At-want) > 1e-12 {
			t.Errorf("%v, with odds x 2 %v, want %v", before.At, after.At, want)
		}
	}
	if th := BudgetThreshold(AlarmCounts{}, 5, 0.6, 2); th.At != 0.6 {
		t.Errorf("fixed at 0.6: %v", th.At)
	}
	if th := BudgetThreshold(counts(1000, map[float64]int{1: 50}), 5, 0.6, 2); !math.IsInf(th.At, 1) {
		t.Errorf("nothing should alarm: %v", th.At)
	}
}

// TestRecalibrated: few failures correct nothing, many a little less than they say,
// and none beyond the bound.
func TestRecalibrated(t *testing.T) {
	for _, c := range []struct {
		failures     int
		expected     float64
		before, want float64
	}{
		{0, 0, 1, 1},
		{5, 1, 1, 1},
		{32, 17, 1, 1},
		{34, 17, 1, 84. / 67},
		{17, 34, 1, 67. / 84},
		{240, 200, 1, 1},
		{300, 100, 1, 2},
		{0, 400, 1, 0.5},
		{34, 17, 1.25, 1.25 * 84 / 67},
		{34, 17, 1.9, 2},
		{34, 17, 2, 2},
		{17, 34, 2, 2. * 67 / 84},
	} {
		if got, said := Recalibrated(c.failures, c.expected, c.before, 2); math.Abs(got-c.want) > 1e-12 || !strings.Contains(said, fmt.Sprintf("%d failures came where %g were expected", c.failures, c.expected)) {
			t.Errorf("%d of %g, x %g before: x %g (%s), want x %g", c.failures, c.expected, c.before, got, said, c.want)
		}
	}
}
