package report

import (
	"strings"
	"testing"

	"github.com/stratoswarm/forestall/train"
)

// TestWords: what a person reads is not rounded to certainty, nor in the wrong
// number.
func TestWords(t *testing.T) {
	for p, want := range map[float64]string{1: "100.0 %", 0.99999: "> 99.99 %", 0.9997: "99.97 %", 0.9994: "99.9 %", 0.5: "50.0 %", 0.05: "5 %", 1e-7: "< 0.001 %", 0: "0 %"} {
		if got := strings.ReplaceAll(probability(p), space, " "); got != want {
			t.Errorf("probability %v is %q, want %q", p, got, want)
		}
	}
	for _, tc := range []struct {
		v          float64
		unit, want string
	}{{1, "hours", "1 hour"}, {1, "ms", "1 ms"}, {1, "h", "1 h"}, {2, "hours", "2 hours"}, {0, "cycles", "0 cycles"}, {1, "day", "1 day"}} {
		if got := amount(tc.v, tc.unit); got != tc.want {
			t.Errorf("%v of %s is %q, want %q", tc.v, tc.unit, got, tc.want)
		}
	}
}

// TestSaidLead: the headline says how much time is left, if any.
func TestSaidLead(t *testing.T) {
	for lead, want := range map[float64]string{0: ", half of those with no time left.", 1: ", half of those with at least 1 hour left.", 2.5: ", half of those with at least 2.5 hours left."} {
		p := examplePage(t, scored(40), train.EvaluateOptions{Unit: train.ParseTimeUnit("hours"), Thresholds: []float64{0.5}})
		for i := range p.Evaluation.Alarms {
			p.Evaluation.Alarms[i].LeadMedian.Value = lead
		}
		if got := p.said(); !strings.HasSuffix(got, want) {
			t.Errorf("%q does not end with %q", got, want)
		}
	}
}
