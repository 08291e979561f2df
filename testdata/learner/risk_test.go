package main

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
)

func TestCaughtAt(t *testing.T) {
	var score []float64
	var label []bool
	var component []int
	add := func(c int, fails bool, s float64) {
		score, label, component = append(score, s), append(label, fails), append(component, c)
	}
	for c := range 100 { // healthy: peaks 0 to 99
		add(c, false, float64(c))
		add(c, false, -1)
	}
	add(100, true, 98.5)  // in time
	add(101, false, 99.5) // an alarm too early,
	add(101, true, 3)     // none in time
	add(102, true, 98)    // as high as the threshold is not above it
	inTime, ever := caughtAt(score, label, component, 0.01)
	if math.Abs(inTime-1.0/3) > 1e-12 || math.Abs(ever-2.0/3) > 1e-12 {
		t.Errorf("caught %v in time, %v ever", inTime, ever)
	}
}

func TestCorrection(t *testing.T) {
	r := recipe{horizon: 10, memory: 100}
	var peaks []train.Peak
	for range 100 {
		peaks = append(peaks, train.Peak{Time: 150, Probability: 0.5, Positive: true})
	}
	peaks = append(peaks, train.Peak{Time: 99, Probability: 1, Positive: true}, train.Peak{Time: 191, Probability: 1, Positive: true}) // too old, not yet known
	if got, want := r.correction(peaks, 200), 150.0/100; got != want {
		t.Errorf("%v, want %v", got, want)
	}
	if got := r.correction(nil, 200); got != 1 {
		t.Errorf("without tests before: %v", got)
	}
}

// TestRecipe: the joined model's score is the mean of its members', it tells the
// classes apart on components it has not seen, and its probabilities are about
// right.
func TestRecipe(t *testing.T) {
	const seed = 3
	rows := func(from, to int) func(func(riskRow) error) error {
		return func(emit func(riskRow) error) error {
			for c := from; c < to; c++ {
				rng := rand.New(rand.NewPCG(seed, uint64(c)))
				for at := range 10 {
					x := rng.NormFloat64()
					fails := rng.Float64() < model.Sigmoid(2*x-3)
					err := emit(riskRow{fails, c, float64(at), func(dst []float64) []float64 { return append(dst, x, math.NaN()) }})
					if err != nil {
						return err
					}
				}
			}
			return nil
		}
	}
	p := train.DefaultParams()
	p.Trees = 20
	r := recipe{params: p, members: 3, share: 0.5}
	s, err := r.run(t.Context(), riskFold{name: "f", features: []string{"x", "nothing"}, train: rows(0, 600), held: rows(0, 600), test: rows(600, 1200)}, 1)
	if err != nil {
		t.Fatal(err)
	}
	expected, observed := 0.0, 0.0
	for i, y := range s.label {
		expected += s.probability[i]
		if y {
			observed++
		}
	}
	if auc := model.ROCAUC(s.score, s.label); auc < 0.85 || observed/expected < 0.85 || observed/expected > 1.15 {
		t.Errorf("AUC %v, %v failures for %v expected", auc, observed, expected)
	}
	if n := len(s.unseen.Raw); n != 6000 {
		t.Errorf("%d rows calibrated", n)
	}
}

func TestEngineHistory(t *testing.T) {
	e := engine{unit: 1, cycles: make([]cycle, 60)}
	for i := range e.cycles {
		e.cycles[i][2] = float64(i)
	}
	short := engine{unit: 1, cycles: e.cycles[:50]}
	names := engineFeatures()
	row, cut := e.history(nil, 49), short.history(nil, 49)
	if len(row) != len(names) {
		t.Fatalf("%d features, %d names", len(row), len(names))
	}
	for i, v := range row {
		if v != cut[i] {
			t.Errorf("%s depends on what comes later", names[i])
		}
		if want := 42 - 9.5; names[i] == "setting3_since_first" && v != want {
			t.Errorf("%s: %v, want %v", names[i], v, want)
		}
	}
}
