package model

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func TestReliabilityBins(t *testing.T) {
	p := []float64{0.8, 0.1, 0.2, 0.2, 0.6, 0.7}
	y := []bool{true, false, true, false, false, true}
	// By probability: .1 .2 .2 | .6 .7 .8; a third bin would part the ties.
	want := []ReliabilityBin{
		{ReliabilityPoint: ReliabilityPoint{Rows: 3, Mean: 0.5 / 3, Observed: 1. / 3}, Positives: 1, Low: 0.1, High: 0.2},
		{ReliabilityPoint: ReliabilityPoint{Rows: 3, Mean: 0.7, Observed: 2. / 3}, Positives: 2, Low: 0.6, High: 0.8},
	}
	opts := cmp.Options{cmpopts.EquateApprox(0, 1e-12), cmpopts.IgnoreFields(ReliabilityBin{}, "ObservedLow", "ObservedHigh")}
	if d := cmp.Diff(want, ReliabilityBins(p, y, 2), opts); d != "" {
		t.Errorf("two bins (-want +got):\n%s", d)
	}
	if got := ReliabilityBins(p, y, 3); len(got) != 3 || got[0].Rows != 3 || got[1].Rows != 2 || got[2].Rows != 1 {
		t.Errorf("three bins: %+v", got)
	}
	if got := ReliabilityBins(nil, nil, 10); got != nil {
		t.Errorf("of nothing: %+v", got)
	}
	if got := ReliabilityBins([]float64{0.5, 0.5}, []bool{true, true}, 1); len(got) != 1 || got[0].Rows != 2 {
		t.Errorf("of one probability: %+v", got)
	}
}

// TestReliabilityRare: the rows among which the failures are get bins of their
// own.
func TestReliabilityRare(t *testing.T) {
	const n = 100_000
	p, y := make([]float64, n), make([]bool, n)
	for i := range p {
		p[i] = float64(i) / n
		y[i] = i >= n-500 // all in the last 0.5 %
	}
	bins := ReliabilityBins(p, y, 10)
	if got := bins[len(bins)-1]; got.Rows != 100 || got.Observed != 1 {
		t.Errorf("the last bin %+v", got)
	}
	if len(bins) != 28 { // 9 of 10,000, 9 of 1,000, 10 of 100
		t.Errorf("%d bins", len(bins))
	}
}

func TestReliabilityProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SliceOfN(rapid.Float64Range(0, 1), 1, 300).Draw(t, "p")
		y := rapid.SliceOfN(rapid.Bool(), len(p), len(p)).Draw(t, "label")
		rows, positives, sum, last := 0, 0, 0.0, -1.0
		for _, b := range ReliabilityBins(p, y, rapid.IntRange(1, 12).Draw(t, "bins")) {
			if b.Low <= last || b.Mean < b.Low || b.Mean > b.High || b.High < b.Low || !(b.ObservedLow <= b.Observed && b.Observed <= b.ObservedHigh) {
				t.Fatalf("bin %+v after %v", b, last)
			}
			rows, positives, last = rows+b.Rows, positives+b.Positives, b.High
			sum += b.Mean * float64(b.Rows)
		}
		want := 0.0
		for _, v := range p {
			want += v
		}
		if rows != len(p) || float64(positives) != count(y) || math.Abs(sum-want) > 1e-9 {
			t.Fatalf("%d rows, %d positives, sum %v of %v", rows, positives, sum, want)
		}
	})
}

// TestWilson against the interval of 1 in 10 that Brown, Cai and DasGupta
// (2001) compute with, and at its ends.
func TestWilson(t *testing.T) {
	low, high := Wilson(1, 10)
	if math.Abs(low-0.0178762) > 1e-6 || math.Abs(high-0.4041500) > 1e-6 {
		t.Errorf("1 of 10: %v to %v", low, high)
	}
	if low, high := Wilson(0, 5); low != 0 || !(high > 0.4 && high < 0.5) {
		t.Errorf("0 of 5: %v to %v", low, high)
	}
	if low, high := Wilson(5, 5); high != 1 || !(low > 0.5 && low < 0.6) {
		t.Errorf("5 of 5: %v to %v", low, high)
	}
	if low, high := Wilson(0, 0); low != 0 || high != 1 {
		t.Errorf("0 of 0: %v to %v", low, high)
	}
}
