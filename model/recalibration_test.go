package model

import (
	"math"
	"testing"
)

func TestRecalibration(t *testing.T) {
	r := Recalibration{Prior: 50}
	if r.Factor() != 1 {
		t.Errorf("nothing is known, and the factor is %v", r.Factor())
	}
	for range 100 {
		r.Add(0.5, true)
	}
	if r.Observed != 100 || r.Expected != 50 || r.Factor() != 1.5 {
		t.Errorf("%+v gives %v", r, r.Factor())
	}
	if f := (Recalibration{}).Factor(); f != 1 {
		t.Errorf("the zero value gives %v", f)
	}
	for _, bad := range []Recalibration{{}, {Observed: -1, Prior: 50}, {Expected: math.NaN(), Prior: 50}, {Expected: 3}, {Observed: math.Inf(1)}} {
		if bad.Validate() == nil {
			t.Errorf("%+v passes", bad)
		}
	}
	if err := r.Validate(); err != nil {
		t.Error(err)
	}
}

// A corrected calibration says of every knot what its corrected odds say, and
// stays usable.
func TestTimesOdds(t *testing.T) {
	for _, c := range []Calibration{
		{},
		{Method: Platt, Slope: 2, Intercept: -1},
		{Method: Isotonic, Points: []Point{{-3, 0}, {-1, 0.01}, {0, 0.2}, {2, 1}}},
	} {
		got := c.TimesOdds(1.7)
		if err := got.Validate(); err != nil {
			t.Errorf("%s: %v", c.Method, err)
		}
		for _, raw := range []float64{-9, -3, -1, 0, 2, 9} {
			want := TimesOdds(c.Probability(raw), 1.7)
			if p := got.Probability(raw); math.Abs(p-want) > 1e-12 {
				t.Errorf("%s at %v: %v, want %v", c.Method, raw, p, want)
			}
		}
	}
	if p := TimesOdds(0.5, 3); math.Abs(p-0.75) > 1e-15 {
		t.Errorf("even odds times 3 are %v", p)
	}
	c := Calibration{Method: Isotonic, Points: []Point{{0, 0.5}}}
	c.TimesOdds(2)
	if c.Points[0].Probability != 0.5 {
		t.Error("the old calibration changed")
	}
}
