package train

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPeaks(t *testing.T) {
	p, y, at := make([]float64, 300), make([]bool, 300), make([]float64, 300)
	for i := range p {
		p[i], at[i], y[i] = float64(i*7%300)/300, float64(i), i%2 == 0
	}
	want := []Peak{{257, 299. / 300, false}, {214, 298. / 300, true}, {171, 297. / 300, false}}
	if diff := cmp.Diff(want, Peaks(p, y, at)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := Peaks(p[:5], y[:5], at[:5]); len(got) != 1 || got[0].Time != 4 {
		t.Errorf("of few rows %v", got)
	}
	if got := Peaks(nil, nil, nil); len(got) != 0 {
		t.Errorf("of none %v", got)
	}
}

func TestRecalibrate(t *testing.T) {
	peaks := []Peak{{1, 0.5, true}, {2, 0.5, true}, {3, 0.25, false}, {4, 0.25, true}}
	r := Recalibrate(peaks, 2, 3)
	if r.Observed != 1 || r.Expected != 0.75 || r.Prior != 50 {
		t.Errorf("%+v", r)
	}
	if f := Recalibrate(nil, 0, math.Inf(1)).Factor(); f != 1 {
		t.Errorf("nothing is known, and the factor is %v", f)
	}
}
