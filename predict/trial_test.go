package predict

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stratoswarm/forestall"
)

// world lets components fail at a hazard that switches between calm and danger,
// and shows two models what they see of it.
func world(seed uint64, components int, days float64, p, q func(danger bool, noise float64) float64) (*Trial, time.Time) {
	random := rand.New(rand.NewPCG(seed, 1))
	t := NewTrial("champion", "challenger", 0, 0)
	const step = 10 * time.Minute
	danger := make([]int, components) // steps left
	now := t0
	for range int(days * 24 * 6) {
		now = now.Add(step)
		for c := range components {
			if danger[c]--; danger[c] < 0 && random.Float64() < 0.0005 {
				danger[c] = 36
			}
			hazard := 0.0001
			if danger[c] > 0 {
				hazard = 0.02
			}
			g := forestall.GPU("n", c)
			noise := random.Float64()
			a, b := score(g, now, p(danger[c] > 0, noise)), score(g, now, q(danger[c] > 0, noise))
			t.Predict(a, b)
			if random.Float64() < hazard {
				t.Fail(forestall.Failure{Component: g, Time: now.Add(step / 2)})
				danger[c] = 0
			}
		}
		t.Mature(now)
	}
	return t, now
}

// TestTrialFindsTheBetter: a model that sees the danger is found better than one
// that does not, whichever of the two is the challenger, and models that are
// alike are not told apart by more than chance.
func TestTrialFindsTheBetter(t *testing.T) {
	blind := func(bool, float64) float64 { return 0.0025 }
	sees := func(danger bool, _ float64) float64 {
		if danger {
			return 0.1
		}
		return 0.0008
	}
	rule := DefaultTrialRule()
	trial, now := world(1, 50, 20, blind, sees)
	if v, why := rule.Judge(trial.Result(), now); v != Better {
		t.Errorf("%s: %q", v, why)
	}
	trial, now = world(1, 50, 20, sees, blind)
	if v, why := rule.Judge(trial.Result(), now); v != Worse {
		t.Errorf("%s: %q", v, why)
	}
	noisy := func(_ bool, noise float64) float64 { return 0.002 + 0.001*noise }
	mirrored := func(_ bool, noise float64) float64 { return 0.003 - 0.001*noise }
	wrong := 0
	for seed := range uint64(60) {
		trial, now := world(seed, 30, 6, noisy, mirrored)
		if v, _ := rule.Judge(trial.Result(), now); v == Better || v == Worse {
			wrong++
		}
	}
	t.Logf("%d of 60 trials of models that are alike were decided", wrong)
	if wrong > 12 { // 10 % are expected
		t.Errorf("%d of 60 trials of models that are alike were decided", wrong)
	}
}

// TestJudgeSaysShares: a share is written as people write it.
func TestJudgeSaysShares(t *testing.T) {
	_, why := DefaultTrialRule().Judge(TrialResult{Alone: 40}, t0)
	if !slices.Contains(why, "to 100 % of the champion's predictions the challenger had none") {
		t.Errorf("%q", why)
	}
}

// TestTrialOverAnotherHorizon: a model that says who fails in five minutes to an
// hour is found better than a hand-made one with a horizon of two minutes, which
// says the base rate always, and is not taken for the better one when it is the
// champion.
func TestTrialOverAnotherHorizon(t *testing.T) {
	const lead, horizon, step, gpus = 5 * time.Minute, time.Hour, time.Minute, 40
	random := rand.New(rand.NewPCG(7, 7))
	next := make([]time.Time, gpus) // when each fails
	fail := func(now time.Time) time.Time {
		return now.Add(time.Duration(random.ExpFloat64() * float64(3*day)))
	}
	for g := range next {
		next[g] = fail(t0)
	}
	forward, back := NewTrial("builtin", "oracle", lead, horizon), NewTrial("oracle", "builtin", lead, horizon)
	now := t0
	for range 4 * 24 * 60 {
		now = now.Add(step)
		for g := range next {
			c := forestall.GPU("n", g)
			builtin, oracle := score(c, now, 0.0005), score(c, now, 0.001)
			builtin.Horizon, oracle.Horizon = 2*time.Minute, horizon
			if left := next[g].Sub(now); left > lead && left <= lead+horizon {
				oracle.Probability = 0.99
			}
			forward.Predict(builtin, oracle)
			back.Predict(oracle, builtin)
			if next[g].Sub(now) < step {
				f := forestall.Failure{Component: c, Time: next[g]}
				forward.Fail(f)
				back.Fail(f)
				next[g] = fail(now)
			}
		}
		forward.Mature(now)
		back.Mature(now)
	}
	rule := DefaultTrialRule()
	if v, why := rule.Judge(forward.Result(), now); v != Better {
		t.Errorf("%s: %q", v, why)
	}
	if v, why := rule.Judge(back.Result(), now); v == Better {
		t.Errorf("the hand-made one is %s: %q", v, why)
	}
}

// TestTrialUncalibrated: a challenger that ranks better and is off by far is not
// promoted.
func TestTrialUncalibrated(t *testing.T) {
	s := TrialResult{From: t0, Components: 30, Rows: 9000, Positives: 100, Failures: 10, Gain: 60, GainSquare: 150, LossP: 200, LossQ: 140, ExpectedP: 90, ExpectedQ: 300}
	rule := DefaultTrialRule()
	if v, why := rule.Judge(s, t0.Add(5*day)); v != Undecided {
		t.Errorf("%s: %q", v, why)
	}
	s.ExpectedP = 700 // the champion is off by more
	if v, why := rule.Judge(s, t0.Add(5*day)); v != Better {
		t.Errorf("%s: %q", v, why)
	}
	s.Alone = 2000 // and the challenger has nothing to say to every fifth
	if v, why := rule.Judge(s, t0.Add(5*day)); v != Undecided {
		t.Errorf("%s: %q", v, why)
	}
	trial := NewTrial("a", "b", 0, 0)
	for m := range 120 {
		now := t0.Add(time.Duration(m) * time.Minute)
		trial.Predict(score(forestall.GPU("n", 0), now, 0.1), forestall.UnknownRisk(forestall.GPU("n", 0), now, "thin"))
	}
	if r := trial.Result(); r.Alone != 120 || r.Rows != 0 || r.Components != 0 || !r.From.Equal(t0) {
		t.Errorf("%+v", r)
	}
}

// TestTrialAddsUp: the results of engines that share the components between them
// add up to the result of one engine that has all.
func TestTrialAddsUp(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		whole := NewTrial("a", "b", 0, 0)
		parts := []*Trial{NewTrial("a", "b", 0, 0), NewTrial("a", "b", 0, 0)}
		for s := range rapid.IntRange(1, 60).Draw(rt, "steps") {
			now := t0.Add(time.Duration(s) * 10 * time.Minute)
			for g := range 4 {
				c := forestall.GPU("n", g)
				p, q := rapid.Float64Range(0, 1).Draw(rt, "p"), rapid.Float64Range(0, 1).Draw(rt, "q")
				fails := rapid.IntRange(0, 20).Draw(rt, "fails") == 0
				for _, x := range []*Trial{whole, parts[g%2]} {
					x.Predict(score(c, now, p), score(c, now, q))
					if fails {
						x.Fail(forestall.Failure{Component: c, Time: now.Add(time.Minute)})
					}
				}
			}
			for _, x := range append(parts, whole) {
				x.Mature(now)
			}
		}
		sum := TrialResult{Champion: "a", Challenger: "b"}
		sum.Add(parts[0].Result())
		sum.Add(parts[1].Result())
		sum.Add(TrialResult{Champion: "a", Challenger: "c", Rows: 1000}) // of another trial
		near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-6*(1+math.Abs(a)) })
		if d := cmp.Diff(whole.Result(), sum, near); d != "" {
			rt.Fatal(d)
		}
		b, err := (&Memory{Trials: map[forestall.Kind]*Trial{forestall.KindGPU: whole}}).Encode()
		if err != nil {
			rt.Fatal(err)
		}
		again, other := NewTrial("a", "b", 0, 0), NewTrial("a", "c", 0, 0)
		for _, x := range []*Trial{again, other} {
			if err := (&Memory{Trials: map[forestall.Kind]*Trial{forestall.KindGPU: x}}).Read(bytes.NewReader(b)); err != nil {
				rt.Fatal(err)
			}
		}
		if d := cmp.Diff(whole.Result(), again.Result()); d != "" || other.Result().Rows != 0 {
			rt.Fatalf("after a restart: %s; of another trial %d rows", d, other.Result().Rows)
		}
	})
}

// TestCalibrationLostByChance: of 2,000 months of a model that is right, watched
// every hour, few lose its calibration.
func TestCalibrationLostByChance(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	const hours, rate = 30 * 24, 12.0 / 30 / 24 // failures in an hour
	lost := 0
	for range 2000 {
		var came [2 * hours]bool
		n, bad := 0, false
		for h := range came {
			if came[h] = random.Float64() < rate; came[h] {
				n++
			}
			if h >= hours {
				if came[h-hours] {
					n--
				}
				now, _ := CalibrationLost(n, rate*hours)
				bad = bad || now
			}
		}
		if bad {
			lost++
		}
	}
	t.Logf("%d of 2000", lost)
	if lost > 60 {
		t.Errorf("%d of 2000 months lost a calibration that was right; some 40 are expected", lost)
	}
}

func TestCalibrationLost(t *testing.T) {
	for _, c := range []struct {
		failures int
		expected float64
		lost     bool
	}{{0, 0, false}, {0, 1, false}, {0, 5, true}, {1, 0.1, false}, {4, 0.5, false}, {6, 0.5, true}, {10, 6, false}, {30, 20, false}, {50, 20, true}, {8, 20, false}, {7, 20, true}, {12, 20, false}} {
		if lost, why := CalibrationLost(c.failures, c.expected); lost != c.lost {
			t.Errorf("%s: lost %v", why, lost)
		}
	}
}
