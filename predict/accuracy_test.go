package predict_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/predict"
)

// at returns start plus s seconds.
func at(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }

func risk(c forestall.Component, s int, p float64, g forestall.Grade) forestall.Risk {
	return forestall.Risk{Component: c, Time: at(s), Horizon: time.Minute, Probability: p, Grade: g}
}

func fail(c forestall.Component, s int) forestall.Failure {
	return forestall.Failure{Component: c, Kind: forestall.GPUFailure, Time: at(s)}
}

// TestAccuracy follows histories of one component, ten seconds a step.
func TestAccuracy(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		name    string
		grades  string // h, s, f, u: one prediction every 10 s
		fails   []int  // seconds
		until   int
		want    predict.Scores
		comment string
	}{
		{name: "nothing", want: predict.Scores{Balanced: nan, Precision: nan, Recall: nan, Brier: nan}},
		{name: "only health", grades: "hhhh", until: 200, want: predict.Scores{Balanced: nan, Precision: nan, Recall: nan, Brier: 0, Matured: 4}},
		{name: "immature", grades: "hhhh", until: 60, want: predict.Scores{Balanced: nan, Precision: nan, Recall: nan, Brier: nan}},
		{
			name: "caught", grades: "hhff", fails: []int{40}, until: 200,
			want: predict.Scores{
				Balanced: nan, Precision: 1, Recall: 0.5, Brier: 0.5, Matured: 4, Failures: 1, Caught: 1,
				LeadTimes: []time.Duration{20 * time.Second},
			},
		},
		{
			name: "missed", grades: "hhhhhhhhhh", fails: []int{95}, until: 300,
			want: predict.Scores{Balanced: 0.5, Precision: nan, Recall: 0, Brier: 0.6, Matured: 10, Failures: 1},
		},
		{
			name: "false alarm", grades: "hffh", until: 300,
			want: predict.Scores{Balanced: nan, Precision: 0, Recall: nan, Brier: 0.5, Matured: 4, FalseAlarms: 1},
		},
		{
			name: "alarm long before", grades: "ffffffffff", fails: []int{100}, until: 300,
			want: predict.Scores{
				Balanced: 0.5, Precision: 0.6, Recall: 1, Brier: 0.4, Matured: 10, Failures: 1, Caught: 1,
				LeadTimes: []time.Duration{100 * time.Second},
			},
		},
		{
			name: "down", grades: "hfffff", fails: []int{25, 35}, until: 300,
			want: predict.Scores{
				Balanced: nan, Precision: 1, Recall: 2. / 3, Brier: 1. / 3, Matured: 3, Failures: 1, Caught: 1,
				LeadTimes: []time.Duration{15 * time.Second},
			},
		},
		{
			name: "repaired", grades: "hffhh", fails: []int{15}, until: 300,
			want: predict.Scores{
				Balanced: 0.75, Precision: 1, Recall: 0.5, Brier: 0.25, Matured: 4, Failures: 1, Caught: 1,
				LeadTimes: []time.Duration{5 * time.Second},
			},
		},
		{name: "unknown", grades: "uuuu", fails: []int{40}, until: 300, want: predict.Scores{Balanced: nan, Precision: nan, Recall: nan, Brier: nan}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := predict.NewAccuracy(time.Minute)
			for i, g := range c.grades {
				for len(c.fails) > 0 && c.fails[0] < 10*i {
					a.Fail(fail(card0, c.fails[0]))
					c.fails = c.fails[1:]
				}
				switch g {
				case 'h':
					a.Predict(risk(card0, 10*i, 0, forestall.Healthy))
				case 'f':
					a.Predict(risk(card0, 10*i, 1, forestall.Failing))
				case 'u':
					a.Predict(forestall.UnknownRisk(card0, at(10*i), "thin"))
				}
				a.Mature(at(10 * i))
			}
			for _, s := range c.fails {
				a.Fail(fail(card0, s))
			}
			a.Mature(at(c.until))
			equal := cmp.Comparer(func(a, b float64) bool {
				return math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) < 1e-9
			})
			if d := cmp.Diff(c.want, a.Scores(), equal, cmpopts.IgnoreFields(predict.Scores{}, "Positive", "Expected", "Followed", "ExpectedFailures", "Of")); d != "" {
				t.Errorf("scores (-want +got):\n%s", d)
			}
		})
	}
}

// TestAccuracyBounds: a fast clock is thinned out, and unknown components'
// failures do not count.
func TestAccuracyBounds(t *testing.T) {
	a := predict.NewAccuracy(time.Minute)
	a.Fail(fail(forestall.GPU("n1", 5), 0))
	for ms := range 60_000 {
		r := risk(card0, 0, 0, forestall.Healthy)
		r.Time = start.Add(time.Duration(ms) * time.Millisecond)
		a.Predict(r)
	}
	a.Mature(at(1000))
	if s := a.Scores(); s.Matured != 60 || s.Failures != 0 {
		t.Errorf("%d matured, %d failures", s.Matured, s.Failures)
	}
}

// TestAccuracyAnnounces: one component that looks about to fail for a day announces
// three failures, not one a minute, and true probabilities still announce about as
// many as come.
func TestAccuracyAnnounces(t *testing.T) {
	a := predict.NewAccuracy(time.Minute)
	for m := range 24 * 60 {
		a.Predict(risk(card0, 60*m, 0.9, forestall.Failing))
	}
	a.Mature(at(25 * 3600))
	if s := a.Recent(); math.Abs(s.ExpectedFailures-3) > 1e-9 || s.Expected < 1000 {
		t.Errorf("%g failures announced by %g predictions that were expected to be right", s.ExpectedFailures, s.Expected)
	}

	a = predict.NewAccuracy(time.Minute)
	rng := rand.New(rand.NewPCG(1, 2))
	const p = 0.1 // within the minute, at a constant hazard
	for g := range 100 {
		c := forestall.GPU("n1", g)
		next := rng.ExpFloat64() * 60 / -math.Log(1-p)
		for s := 0; s < 4*3600; s += 10 {
			for ; next < float64(s); next += 1 + rng.ExpFloat64()*60/-math.Log(1-p) {
				a.Fail(fail(c, int(math.Ceil(next))))
			}
			a.Predict(risk(c, s, p, forestall.Healthy))
		}
	}
	a.Mature(at(5 * 3600))
	s := a.Recent()
	if ratio := float64(s.Followed) / s.ExpectedFailures; s.Followed < 1000 || ratio < 0.95 || ratio > 1.2 {
		t.Errorf("%d failures followed, %.5g were expected: %.3g", s.Followed, s.ExpectedFailures, ratio)
	}
}

func TestAccuracyMetrics(t *testing.T) {
	a := predict.NewAccuracy(time.Minute)
	if v := gathered(t, a)["fault_tolerance_prediction_accuracy"]; len(v) != 1 || !math.IsNaN(v[0]) {
		t.Errorf("accuracy without evidence is %v", v)
	}
	a.Predict(risk(card0, 0, 0, forestall.Healthy))
	a.Predict(risk(card0, 100, 1, forestall.Failing))
	a.Fail(fail(card0, 130))
	got := gathered(t, a)
	for name, want := range map[string]float64{
		"fault_tolerance_prediction_accuracy":          1,
		"fault_tolerance_prediction_precision_ratio":   1,
		"fault_tolerance_prediction_recall_ratio":      1,
		"fault_tolerance_prediction_lead_time_seconds": 1,
		"fault_tolerance_false_alarms_total":           0,
		"fault_tolerance_failures_predicted_total":     1,
		"fault_tolerance_failures_judged_total":        1,
		"fault_tolerance_prediction_calibration_ratio": 1,
	} {
		if v := got[name]; len(v) != 1 || v[0] != want {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
}
