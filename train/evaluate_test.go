package train

import (
	"math"
	"testing"
)

func TestEvaluateAlarms(t *testing.T) {
	// Two components over 100 hours each. The first fails at hour 100 and is
	// announced 5 hours before; the second gives two false alarms, one of which
	// stands for three hours, and fails unannounced.
	var rows []Scored
	for hour := range 100 {
		a := Scored{Group: 1, Time: float64(hour), Event: math.NaN(), Probability: 0.1}
		if hour >= 90 {
			a.Positive, a.Event = true, 100
		}
		if hour >= 95 {
			a.Probability = 0.9
		}
		b := Scored{Group: 2, Time: float64(hour), Event: math.NaN(), Probability: 0.1, Positive: hour >= 90}
		if hour == 20 || hour >= 40 && hour < 43 {
			b.Probability = 0.95
		}
		rows = append(rows, b, a) // the groups need not be apart
	}
	e, err := Evaluate(rows, true)
	if err != nil {
		t.Fatal(err)
	}
	if e.Rows != 200 || e.Positives != 20 || len(e.Alarms) != 3 {
		t.Fatalf("%+v", e)
	}
	// 178 hours of exposure: 10 in 1,000 allow one false alarm, and the lowest
	// threshold with at most one is above all negative rows.
	strict := e.Alarms[2]
	if strict.Incidents != 2 || strict.Caught != 0 || strict.Actual != 0 || !math.IsNaN(strict.LeadMedian) {
		t.Errorf("strict: %+v", strict)
	}
	tl, err := newTimeline(rows)
	if err != nil {
		t.Fatal(err)
	}
	loose := tl.budget(23) // four false alarms
	if loose.Caught != 1 || loose.LeadMedian != 5 || loose.Threshold != 0.9 || math.Abs(loose.Actual-4/0.178) > 1e-9 {
		t.Errorf("loose: %+v", loose)
	}
	if got := tl.alarms(0.1); got.falseAlarms != 180 || len(got.leads) != 2 {
		t.Errorf("always: %+v", got)
	}
	if got := tl.alarms(0.9); got.falseAlarms != 4 || len(got.leads) != 1 || got.leads[0] != 5 {
		t.Errorf("at 0.9: %+v", got)
	}
	if _, err := Evaluate([]Scored{{Group: math.NaN()}}, true); err == nil {
		t.Error("a row without a group passes")
	}
}
