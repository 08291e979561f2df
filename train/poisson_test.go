package train

import (
	"math"
	"testing"
)

// TestPoissonInterval: the limits of Garwood 1936 for a two-sided 95 %, to the
// digits that tables print.
func TestPoissonInterval(t *testing.T) {
	for n, want := range map[int]Interval{
		0: {0, 3.689}, 1: {0.0253, 5.572}, 2: {0.242, 7.225}, 3: {0.619, 8.767}, 5: {1.623, 11.668}, 10: {4.795, 18.390}, 50: {37.111, 65.919}, 100: {81.364, 121.627},
	} {
		got := poissonInterval(n)
		if math.Abs(got.Low-want.Low) > 6e-4 || math.Abs(got.High-want.High) > 6e-4 {
			t.Errorf("%d: %.4f to %.4f, want %v", n, got.Low, got.High, want)
		}
	}
	// Far out it is the normal one.
	if got := poissonInterval(1_000_000); math.Abs(got.Low-998_040.96) > 3 || math.Abs(got.High-1_001_960.96) > 6 {
		t.Errorf("of a million: %+v", got)
	}
}
