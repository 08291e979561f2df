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
	base := mustBase(t, mustText(t, train(Spec{})))
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

// At even odds each row has a hessian of 1/4, which no number of rows rounds:
// four failures together are enough for a leaf of 1, wherever they lie.
func TestQuartersAreExact(t *testing.T) {
	for first := range 64 {
		rows := 1000 + 7*first
		x, label := make([]float64, rows), make([]float64, rows)
		for i := first; i < first+4; i++ {
			x[i], label[i] = 1, 1
		}
		d, err := NewDataset([]string{"x"}, [][]float64{x}, label, nil, Spec{Objective: Binary})
		if err != nil {
			t.Fatal(err)
		}
		p := DefaultParams()
		p.Trees, p.MinLeaf, p.MinHessian, p.SampleRows = 1, 1, 1, 1
		r, err := Train(t.Context(), d, nil, p, nil)
		if err != nil {
			t.Fatal(err)
		}
		leaves := r.Trees[0].Leaves
		if len(leaves) != 2 {
			t.Fatalf("%d rows, failures from row %d on: %d leaves, want 2", rows, first, len(leaves))
		}
		if l := leaves[1]; l.Count != 4 || l.Weight != 1 {
			t.Errorf("%d rows, failures from row %d on: a leaf of %d rows and a hessian of %v, want 4 and 1", rows, first, l.Count, l.Weight)
		}
	}
}
