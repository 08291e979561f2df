package train

import (
	"math"
	"testing"
)

func TestEvaluateRegression(t *testing.T) {
	predicted := []float64{1, 2, 4, 8}
	actual := []float64{1, 3, 3, 5}
	r, err := EvaluateRegression(predicted, actual, nil, EvaluateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// Errors 0, -1, 1, 3; the labels' squared deviation from their mean 3 is 8.
	for name, f := range map[string][2]float64{
		"RMSE": {r.RMSE.Value, math.Sqrt(11.0 / 4)}, "MAE": {r.MAE.Value, 5.0 / 4}, "bias": {r.Bias.Value, 3.0 / 4}, "R2": {r.R2.Value, 1 - 11.0/8},
	} {
		if math.Abs(f[0]-f[1]) > 1e-12 {
			t.Errorf("%s is %v, want %v", name, f[0], f[1])
		}
	}
	if !math.IsNaN(r.RMSE.Low) {
		t.Errorf("an interval without a bootstrap: %v", r.RMSE)
	}
}

// Large labels keep the digits of small errors, and the intervals, the same for
// any number of threads, hold the estimates.
func TestEvaluateRegressionIntervals(t *testing.T) {
	var predicted, actual []float64
	var group []int32
	for i := range 500 {
		y := 1e9 + float64(i%37)
		actual, predicted = append(actual, y), append(predicted, y+math.Sin(float64(i)))
		group = append(group, int32(i/10))
	}
	var first Regression
	for _, threads := range []int{1, 2, 7} {
		r, err := EvaluateRegression(predicted, actual, group, EvaluateOptions{Bootstrap: 200, Seed: 1, Threads: threads})
		if err != nil {
			t.Fatal(err)
		}
		if threads == 1 {
			first = r
		} else if r != first {
			t.Errorf("%d threads: %+v, with one %+v", threads, r, first)
		}
	}
	if first.Components != 50 || math.Abs(first.RMSE.Value-math.Sqrt(0.5)) > 0.01 || first.R2.Value < 0.99 {
		t.Errorf("%+v", first)
	}
	for _, e := range []Estimate{first.RMSE, first.MAE, first.Bias, first.R2} {
		if !(e.Low <= e.Value && e.Value <= e.High) {
			t.Errorf("%+v lies outside its interval", e)
		}
	}
	if _, err := EvaluateRegression(nil, nil, nil, EvaluateOptions{}); err == nil {
		t.Error("no rows are accepted")
	}
}
