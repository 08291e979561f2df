package train

import (
	"math"
	"math/rand/v2"
	"testing"
)

// However the gradients lie, their packed sum over all rows holds both sums
// within a step a row. All of one sign, and few, leave the least room.
func TestPackedSumsFit(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	for _, rows := range []int{1, 2, 20, 127, 5000} {
		for name, gradient := range map[string]func() float64{
			"one sign":   func() float64 { return -1000 - rng.Float64() },
			"both":       rng.NormFloat64,
			"one counts": func() float64 { return math.Exp(20 * rng.NormFloat64()) },
			"large":      func() float64 { return 1e36 },
			"small":      func() float64 { return 1e-36 },
		} {
			g := newGradients(rows)
			var want [2]float64
			for i := range rows {
				d, h := float32(gradient()), float32(math.Abs(gradient()))
				g.rows[i] = derived(d, h)
				sums := &g.sums[i/gradientBlock]
				sums[0] += math.Abs(float64(d))
				sums[1] += float64(h)
				want[0] += float64(d)
				want[1] += float64(h)
			}
			g.pack(&Params{Threads: 1}, 7)
			var sum packed
			for _, v := range g.rows {
				sum += v
			}
			gradientSum, hessianSum := unpack(sum)
			if d := math.Abs(gradientSum - want[0]*g.perGradient); d > float64(rows)+1 {
				t.Errorf("%d rows, %s: the gradients' sum is off by %v steps", rows, name, d)
			}
			if d := math.Abs(hessianSum - want[1]*g.perHessian); d > float64(rows)+1 {
				t.Errorf("%d rows, %s: the hessians' sum is off by %v steps", rows, name, d)
			}
		}
	}
}

// Where nothing can be split, each tree goes the way to the mean.
func TestFarStart(t *testing.T) {
	x, label := make([]float64, 20), make([]float64, 20)
	for i := range x {
		x[i], label[i] = float64(i), 5+0.1*float64(i)
	}
	train := func(spec Spec) *Result {
		spec.Objective = L2
		d, err := NewDataset([]string{"x"}, [][]float64{x}, label, nil, spec)
		if err != nil {
			t.Fatal(err)
		}
		p := DefaultParams()
		p.Trees, p.MinLeaf = 200, 20
		return mustTrain(t, d, p)
	}
	base, err := NewBase(mustText(t, train(Spec{})))
	if err != nil {
		t.Fatal(err)
	}
	for i := range label {
		label[i] += 1000
	}
	for _, score := range train(Spec{Base: base}).Scores {
		if math.Abs(score-1006) > 2 {
			t.Fatalf("the score is %v after 200 trees; the mean is 1006", score)
		}
	}
}

func TestRefusesWhatOverflows(t *testing.T) {
	x := [][]float64{{1, 2, 3, 4}}
	for _, tc := range []struct {
		label, weight []float64
		objective     Objective
	}{
		{[]float64{1e39, 0, 1, 2}, nil, L2},
		{[]float64{0, 1, 0, 1}, []float64{1, 1e19, 1, 1}, Binary},
		{[]float64{0, 1, 0, 1}, []float64{1, 1e-30, 1, 1}, Binary},
	} {
		if _, err := NewDataset([]string{"x"}, x, tc.label, tc.weight, Spec{Objective: tc.objective}); err == nil {
			t.Errorf("labels %v, weights %v are taken", tc.label, tc.weight)
		}
	}
}
