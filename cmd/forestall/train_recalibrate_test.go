package main

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall/model"
)

// What came of the windows of a prequential split corrects the odds of the model
// that is written, whether its calibration is the trees' own or out of bag.
func TestTrainRecalibrate(t *testing.T) {
	windows := []string{"--drop", "note,at", "--time", "hour", "--group", "unit", "--train-window", "40", "--test-window", "20", "--embargo", "5"}
	for name, flags := range map[string][]string{
		"the trees' own": nil,
		"platt":          {"--members", "3", "--calibrate", "out-of-bag", "--calibration", "platt"},
		"isotonic":       {"--members", "2", "--calibrate", "out-of-bag", "--calibration", "isotonic"},
	} {
		t.Run(name, func(t *testing.T) {
			flags = append(windows, flags...)
			before, _, _ := trained(t, flags...)
			m, out, _ := trained(t, append(flags, "--recalibrate", "1000")...)
			r := m.Card.Recalibrated
			if r == nil || before.Card.Recalibrated != nil || r.Observed == 0 || r.Prior != model.RecalibrationPrior {
				t.Fatalf("recalibrated %+v", r)
			}
			if !strings.Contains(out, "Of the highest hundredth of each window's probabilities") || !strings.Contains(out, "The odds are multiplied by") {
				t.Errorf("train says\n%s", out)
			}
			for _, raw := range []float64{-6, -3, 0, 1, 4} {
				got, want := m.Card.Calibration.Probability(raw), model.TimesOdds(before.Card.Calibration.Probability(raw), r.Factor())
				// Between the knots of an isotonic calibration the odds are not straight.
				if math.Abs(got-want) > 0.02 {
					t.Errorf("at %v: %v, want %v", raw, got, want)
				}
			}
		})
	}
	// Windows that are too old do not count.
	m, _, _ := trained(t, append(windows, "--recalibrate", "0.001")...)
	if r := m.Card.Recalibrated; r.Observed+r.Expected != 0 || r.Factor() != 1 {
		t.Errorf("in no time came %+v", r)
	}
}

func TestTrainRecalibrateErrors(t *testing.T) {
	table := plainTable(t, "t.csv", 12, 1)
	for _, tc := range []struct {
		flags []string
		want  string
	}{
		{[]string{"--recalibrate", "10"}, "--recalibrate needs windows"},
		{[]string{"--recalibrate=-1"}, "--recalibrate is -1"},
		{[]string{"--recalibrate", "10", "--time", "hour", "--holdout", "20%"}, "--recalibrate needs windows"},
		{[]string{"--recalibrate", "10", "--time", "hour", "--train-window", "40", "--test-window", "20", "--calibrate", "10%"}, "leave one of the two out"},
		{[]string{"--recalibrate", "10", "--time", "hour", "--train-window", "40", "--test-window", "20", "--search", "3"}, "search first"},
	} {
		_, stderr := forestallRun(t, 1, append([]string{"train", "--table", table, "--label", "fails", "--drop", "note,at,unit", "--out", filepath.Join(t.TempDir(), "m")}, tc.flags...)...)
		if !strings.Contains(stderr, tc.want) {
			t.Errorf("%v: %s, want %q", tc.flags, stderr, tc.want)
		}
	}
}
