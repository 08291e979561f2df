package train

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stratoswarm/forestall/model"
)

// TestSigmoid compares with the exact function over its whole range.
func TestSigmoid(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	check := func(x float64) {
		got, want := sigmoid(x), 1/(1+math.Exp(-x))
		if math.Abs(got-want) > 1e-10*want {
			t.Fatalf("sigmoid(%v) = %v, want %v", x, got, want)
		}
	}
	for range 1_000_000 {
		check(rng.NormFloat64() * 10)
		check((2*rng.Float64() - 1) * 700)
	}
	for _, x := range []float64{0, math.Copysign(0, -1), 700, -700, 1e-300, math.Ln2 / 128, -math.Ln2 / 128} {
		check(x)
	}
	if got := sigmoid(-1e300); !(got > 0 && got < 1e-300) {
		t.Errorf("sigmoid(-1e300) = %v", got)
	}
	if got := sigmoid(1e300); got != 1 {
		t.Errorf("sigmoid(1e300) = %v", got)
	}
}

// BenchmarkSigmoid compares with math.Exp.
func BenchmarkSigmoid(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	x := make([]float64, 1<<12)
	for i := range x {
		x[i] = rng.NormFloat64()*2 - 4
	}
	for name, f := range map[string]func(float64) float64{"forestall": sigmoid, "math": model.Sigmoid} {
		b.Run(name, func(b *testing.B) {
			sum := 0.0
			for b.Loop() {
				for _, v := range x {
					sum += f(v)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(x)), "ns/row")
		})
	}
}
