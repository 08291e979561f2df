package model

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestReliability(t *testing.T) {
	// By probability: .25 four times, which stay together | .4 .6
	p := []float64{0.6, 0.25, 0.25, 0.25, 0.25, 0.4}
	label := []bool{true, false, true, false, false, false}
	r := NewReliability([]float64{0.5, 0.5, 0.5, 0.5, 0.5, 0.5}, p, label, 2)
	want := []ReliabilityPoint{{Rows: 4, Mean: 0.25, Observed: 0.25}, {Rows: 2, Mean: 0.5, Observed: 0.5}}
	if diff := cmp.Diff(want, r.Curve); diff != "" {
		t.Errorf("curve (-want +got):\n%s", diff)
	}
	near(t, "Brier before", r.Before.Brier, 0.25)
	near(t, "Brier after", r.After.Brier, Brier(p, label))
	near(t, "ECE after", r.After.ECE, ECE(p, label, 10))
	if r.Rows != 6 || r.Positives != 2 || r.Before.BrierSkill >= r.After.BrierSkill {
		t.Errorf("%+v", r)
	}
}

// TestReliabilityCurveProperties: every row is in one point, and nothing is
// lost on the way.
func TestReliabilityCurveProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 300).Draw(t, "rows")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		bins := rapid.IntRange(1, 12).Draw(t, "bins")
		p, label := make([]float64, n), make([]bool, n)
		for i := range p {
			p[i] = math.Round(rng.Float64()*20) / 20
			label[i] = rng.Float64() < p[i]
		}
		label[0], label[1] = true, false
		r := NewReliability(p, p, label, bins)
		if err := r.Validate(); err != nil {
			t.Fatal(err)
		}
		rows, positives := 0, 0.0
		for _, c := range r.Curve {
			rows += c.Rows
			positives += c.Observed * float64(c.Rows)
		}
		if rows != n || math.Abs(positives-count(label)) > 1e-9*float64(n) {
			t.Fatalf("the curve has %d rows and %v positives of %d and %v", rows, positives, n, count(label))
		}
	})
}

// TestIsotonicIsNeverSure: scores beyond those seen, and pools of one class
// only, get no probability of 0 or 1.
func TestIsotonicIsNeverSure(t *testing.T) {
	var raw []float64
	var label []bool
	for i := range 100 {
		raw, label = append(raw, float64(i)), append(label, i >= 90)
	}
	c, err := FitIsotonic(raw, label)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "none of 90", c.Probability(-1e300), 0.5/91)
	near(t, "all of 10", c.Probability(1e300), 10.5/11)
	near(t, "between", c.Probability(89.5), (0.5/91+10.5/11)/2)
}
