package model

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestReliabilityCurve(t *testing.T) {
	// The probabilities add up to 2: two points of 1 each. The four rows of 0.25
	// stay together.
	p := []float64{0.6, 0.25, 0.25, 0.25, 0.25, 0.4}
	label := []bool{true, false, true, false, false, false}
	want := []ReliabilityPoint{{Rows: 4, Mean: 0.25, Observed: 0.25}, {Rows: 2, Mean: 0.5, Observed: 0.5}}
	if diff := cmp.Diff(want, reliabilityCurve(p, label, 2)); diff != "" {
		t.Errorf("curve (-want +got):\n%s", diff)
	}
	// One probability is one point.
	want = []ReliabilityPoint{{Rows: 3, Mean: 0.1, Observed: 1. / 3}}
	if diff := cmp.Diff(want, reliabilityCurve([]float64{0.1, 0.1, 0.1}, []bool{true, false, false}, 10)); diff != "" {
		t.Errorf("curve (-want +got):\n%s", diff)
	}
	r := NewReliability([]float64{0.5, 0.5, 0.5, 0.5, 0.5, 0.5}, p, label, 2)
	near(t, "Brier before", r.Before.Brier, 0.25)
	near(t, "Brier after", r.After.Brier, Brier(p, label))
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
		points := rapid.IntRange(1, 12).Draw(t, "points")
		p, label := make([]float64, n), make([]bool, n)
		for i := range p {
			p[i] = math.Round(rng.Float64()*20) / 20
			label[i] = rng.Float64() < p[i]
		}
		label[0], label[1] = true, false
		r := NewReliability(p, p, label, points)
		if err := r.Validate(); err != nil {
			t.Fatal(err)
		}
		if len(r.Curve) > points {
			t.Fatalf("%d points, %d were asked for", len(r.Curve), points)
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
