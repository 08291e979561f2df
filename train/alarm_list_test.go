package train

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestListAlarms: one list, and the same numbers as an evaluation counts.
func TestListAlarms(t *testing.T) {
	nan := math.NaN()
	s := func() *Scores {
		return &Scores{
			Groups:      []string{"a", "b"},
			Group:       []int32{1, 0, 0, 0, 0, 0, 1, 1, 1, 1},
			Time:        []float64{0, 0, 1, 2, 3, 4, 1, 2, 3, 4},
			Probability: []float64{0.9, 0.1, 0.8, 0.9, 0.2, 0.9, 0.1, 0.2, 0.3, 0.9},
			Positive:    []bool{false, false, true, true, false, false, false, true, true, false},
			Event:       []float64{5, 3.5, 3.5, 3.5, 3.5, nan, 5, 5, 5, 5},
		}
	}
	got, err := ListAlarms(s(), 0.5, ParseTimeUnit("hours"), 1)
	if err != nil {
		t.Fatal(err)
	}
	want := []Alarm{
		{Row: 0, Component: 1, Time: 0, Probability: 0.9, Outcome: AlarmFalse, Event: nan},
		{Row: 2, Component: 0, Time: 1, Probability: 0.8, Outcome: AlarmCaught, Event: 3.5},
		{Row: 5, Component: 0, Time: 4, Probability: 0.9, Outcome: AlarmFalse, Event: nan},
		{Row: 9, Component: 1, Time: 4, Probability: 0.9, Outcome: AlarmCaught, Event: 5},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b float64) bool { return a == b || a != a && b != b })); diff != "" {
		t.Errorf("alarms (-want +got):\n%s", diff)
	}
	outcomes := func(threshold, lead float64) (n [3]int) {
		all, err := ListAlarms(s(), threshold, ParseTimeUnit("hours"), lead)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range all {
			switch a.Outcome {
			case AlarmFalse:
				n[0]++
			case AlarmCaught:
				n[1]++
			case AlarmLate:
				n[2]++
			}
		}
		return n
	}
	for _, threshold := range []float64{0.05, 0.25, 0.5, 0.85, 0.95} {
		for _, lead := range []float64{0, 1, 2} {
			e, err := Evaluate(s(), EvaluateOptions{Thresholds: []float64{threshold}, Unit: ParseTimeUnit("hours"), Lead: lead})
			if err != nil {
				t.Fatal(err)
			}
			a := e.Alarms[0]
			if got := outcomes(threshold, lead); got != [3]int{a.FalseAlarms, a.CaughtIncidents, a.LateIncidents} {
				t.Errorf("threshold %v, lead %v: listed %v, counted %+v", threshold, lead, got, a)
			}
		}
	}
	if _, err := ListAlarms(s(), 0, TimeUnit{}, 0); err == nil {
		t.Error("a threshold of 0 is taken")
	}
}
