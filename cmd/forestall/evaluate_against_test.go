package main

import (
	"encoding/json"
	"testing"
)

// TestAgainstItself: a model is no better and no worse than itself, however its
// probabilities were fitted.
func TestAgainstItself(t *testing.T) {
	for _, method := range []string{"none", "platt", "isotonic"} {
		flags := []string{"--calibrate", "none"}
		if method != "none" {
			flags = []string{"--calibrate", "30%", "--calibration", method, "--group", "unit"}
		}
		dir, test := wearModel(t, flags...)
		out, _ := forestallRun(t, 0, "evaluate", "--model", dir, "--table", test, "--label", "fails", "--group", "unit", "--bootstrap", "20", "--against", dir, "--json")
		var v struct {
			Against struct {
				AP  struct{ Difference *float64 } `json:"average_precision"`
				AUC struct{ Difference *float64 } `json:"roc_auc"`
			}
		}
		if err := json.Unmarshal([]byte(out), &v); err != nil {
			t.Fatal(err)
		}
		if ap, auc := v.Against.AP.Difference, v.Against.AUC.Difference; ap == nil || *ap != 0 || auc == nil || *auc != 0 {
			t.Errorf("%s: against itself\n%s", method, out)
		}
	}
}
