package model

import (
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func near(t *testing.T, name string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-12 && !(math.IsNaN(got) && math.IsNaN(want)) {
		t.Errorf("%s is %v, want %v", name, got, want)
	}
}

// TestMetrics against values worked out by hand.
func TestMetrics(t *testing.T) {
	p := []float64{0.9, 0.8, 0.7, 0.6, 0.2}
	y := []bool{true, false, true, false, false}
	near(t, "AP", AveragePrecision(p, y), (1+2./3)/2)
	near(t, "AUC", ROCAUC(p, y), 5./6)
	near(t, "Brier", Brier(p, y), (0.01+0.64+0.09+0.36+0.04)/5)
	near(t, "BrierSkill", BrierSkill(p, y), 1-(1.14/5)/0.24)
	near(t, "LogLoss", LogLoss(p, y), -(math.Log(0.9)+math.Log(0.2)+math.Log(0.7)+math.Log(0.4)+math.Log(0.8))/5)
	near(t, "ECE in one bin", ECE(p, y, 1), (3.2-2)/5)
	near(t, "ECE in two bins", ECE(p, y, 2), (1.0+0.2)/5)
	near(t, "balanced accuracy", BalancedAccuracy(p, y, 0.7), (1+2./3)/2)
	near(t, "saying no", BalancedAccuracy(p, y, 2), 0.5)

	ties := []float64{0.5, 0.5, 0.5, 0.5, 0.5}
	near(t, "AP of one score", AveragePrecision(ties, y), 0.4)
	near(t, "AUC of one score", ROCAUC(ties, y), 0.5)
	none := make([]bool, 5)
	near(t, "AP without positives", AveragePrecision(p, none), nan)
	near(t, "AUC without positives", ROCAUC(p, none), nan)
	near(t, "skill without positives", BrierSkill(p, none), nan)
	near(t, "Brier of nothing", Brier(nil, nil), nan)
	near(t, "certain and wrong", LogLoss([]float64{0}, []bool{true}), -math.Log(1e-15))
	near(t, "AP with NaN", AveragePrecision([]float64{nan, nan}, []bool{true, false}), 1)
}

// TestIsotonic: pools are where the labels contradict the order.
func TestIsotonic(t *testing.T) {
	c, err := FitIsotonic([]float64{4, 1, 2, 3, 5, 5}, []bool{true, false, true, false, true, false})
	if err != nil {
		t.Fatal(err)
	}
	// Sorted, with the two half positive rows: 1:½ 1:0 | 2:1 3:0 | 4:1 5:1 5:0 5:½.
	for raw, want := range map[float64]float64{0: 0.25, 1: 0.25, 2: 0.5, 3: 0.5, 1.5: 0.375, 4: 0.625, 5: 0.625, 9: 0.625} {
		near(t, "isotonic", c.apply(raw, 1), want)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

// TestIsotonicTies: rows of one score are one step of the fit in whatever order they
// come; a failure less among them does not tie them to the scores below.
func TestIsotonicTies(t *testing.T) {
	raw := []float64{1, 1, 1, 2, 2, 2, 2, 3}
	for _, label := range [][]bool{
		{false, true, false, false, true, true, true, true},
		{false, false, true, true, true, true, false, true},
	} {
		c, err := FitIsotonic(raw, label)
		if err != nil {
			t.Fatal(err)
		}
		// 1: half, 1 of 3; 2: 3 of 4; 3: 1 and half.
		want := []Point{{1, 1.5 / 4}, {2, 4.5 / 6}, {3, 4.5 / 6}}
		if d := cmp.Diff(want, c.Points); d != "" {
			t.Errorf("labels %v (-want +got):\n%s", label, d)
		}
	}
}

// TestIsotonicIsBest: no rising function that is one number on each score has a
// smaller squared error: the fit's is that of the min-max formula (Robertson, Wright,
// Dykstra 1988, theorem 1.4.4).
func TestIsotonicIsBest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfN(rapid.Map(rapid.IntRange(0, 8), func(i int) float64 { return float64(i) }), 2, 60).Draw(t, "raw")
		label := rapid.SliceOfN(rapid.Bool(), len(raw), len(raw)).Draw(t, "label")
		c, err := FitIsotonic(raw, label)
		if err != nil && (!slices.Contains(label, true) || !slices.Contains(label, false)) {
			t.Skip("the drawn labels are of one class, which is refused")
		}
		if err != nil {
			t.Fatal(err)
		}
		sum, n := map[float64]float64{slices.Min(raw): 0.5}, map[float64]float64{slices.Min(raw): 1}
		sum[slices.Max(raw)] += 0.5
		n[slices.Max(raw)]++
		for i, v := range raw {
			if n[v]++; label[i] {
				sum[v]++
			}
		}
		scores := slices.Sorted(maps.Keys(n))
		mean := func(from, to int) float64 {
			var s, of float64
			for _, v := range scores[from : to+1] {
				s, of = s+sum[v], of+n[v]
			}
			return s / of
		}
		for i, v := range scores {
			want := 0.0
			for from := 0; from <= i; from++ {
				least := 1.0
				for to := i; to < len(scores); to++ {
					least = min(least, mean(from, to))
				}
				want = max(want, least)
			}
			if got := c.apply(v, 1); math.Abs(got-want) > 1e-12 {
				t.Fatalf("at score %v it is %v, the best is %v", v, got, want)
			}
		}
	})
}

// TestIsotonicProperties: the fit is valid, rises, is never sure, and keeps
// the mean but for the two rows of its own.
func TestIsotonicProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfN(rapid.Float64Range(-5, 5), 2, 40).Draw(t, "raw")
		label := rapid.SliceOfN(rapid.Bool(), len(raw), len(raw)).Draw(t, "label")
		c, err := FitIsotonic(raw, label)
		if err != nil && (!slices.Contains(label, true) || !slices.Contains(label, false)) {
			t.Skip("the drawn labels are of one class, which is refused")
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		low, high := c.Points[0].Probability, c.Points[len(c.Points)-1].Probability
		if low <= 0 || high >= 1 {
			t.Fatalf("probabilities from %v to %v", low, high)
		}
		sum := low + high
		for _, v := range raw {
			sum += c.apply(v, 1)
		}
		if want := count(label) + 1; math.Abs(sum-want) > 1e-9*float64(len(raw)) {
			t.Fatalf("probabilities sum to %v for %v positives", sum, want)
		}
	})
}

// TestPlatt: what was drawn from a sigmoid is found again.
func TestPlatt(t *testing.T) {
	const slope, intercept = 1.5, -0.75
	var raw []float64
	var label []bool
	for i := range 20000 {
		x := float64(i%200)/20 - 5
		raw = append(raw, x)
		// As many positives at x as its probability says, without chance.
		label = append(label, float64(i/200)+0.5 < 100*Sigmoid(slope*x+intercept))
	}
	c, err := FitPlatt(raw, label)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(c.Slope-slope) > 0.03 || math.Abs(c.Intercept-intercept) > 0.03 {
		t.Errorf("slope %v, intercept %v", c.Slope, c.Intercept)
	}
	if ece := ECE(applied(c, raw), label, 10); ece > 0.01 {
		t.Errorf("ECE %v", ece)
	}
}

func applied(c Calibration, raw []float64) []float64 {
	p := make([]float64, len(raw))
	for i, v := range raw {
		p[i] = c.apply(v, 1)
	}
	return p
}

// TestFitErrors: no fit on one class, on a score that is no number, or on one
// that falls as the label rises.
func TestFitErrors(t *testing.T) {
	for _, c := range []struct {
		raw   []float64
		label []bool
	}{
		{nil, nil},
		{[]float64{1, 2}, []bool{true, true}},
		{[]float64{1, nan}, []bool{true, false}},
		{[]float64{1}, []bool{true, false}},
	} {
		if _, err := FitPlatt(c.raw, c.label); err == nil {
			t.Errorf("platt fits %v", c)
		}
		if _, err := FitIsotonic(c.raw, c.label); err == nil {
			t.Errorf("isotonic fits %v", c)
		}
	}
	if _, err := FitPlatt([]float64{1, 2, 3, 4}, []bool{true, true, false, false}); err == nil {
		t.Error("platt fits a score that falls")
	}
	// Separable: the smoothed targets keep the slope finite.
	if c, err := FitPlatt([]float64{1, 2, 3, 4}, []bool{false, false, true, true}); err != nil || c.Slope > 100 {
		t.Errorf("%+v, %v", c, err)
	}
}
