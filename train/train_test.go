package train

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stratoswarm/forestall/model"
)

// synthetic is a table whose label follows a rule with noise: the first two
// features matter, the third matters by being missing, the rest is noise.
type synthetic struct {
	names   []string
	columns [][]float64
	label   []float64
}

func makeSynthetic(rows, features int, seed uint64) synthetic {
	rng := rand.New(rand.NewPCG(seed, 7))
	s := synthetic{label: make([]float64, rows)}
	for f := range features {
		s.names = append(s.names, fmt.Sprintf("f%d", f))
		column := make([]float64, rows)
		for i := range column {
			column[i] = rng.NormFloat64()
			if rng.Float64() < 0.05 {
				column[i] = math.NaN()
			}
		}
		s.columns = append(s.columns, column)
	}
	for i := range s.label {
		z := -3.0
		if v := s.columns[0][i]; v == v {
			z += 1.5 * v
		}
		if v := s.columns[1][i]; v == v {
			z += v * v
		}
		if v := s.columns[2][i]; v != v {
			z += 2
		}
		if rng.Float64() < model.Sigmoid(z) {
			s.label[i] = 1
		}
	}
	return s
}

func (s synthetic) row(i int) []float64 {
	row := make([]float64, len(s.columns))
	for f := range row {
		row[f] = s.columns[f][i]
	}
	return row
}

func (s synthetic) dataset(t testing.TB, spec Spec) *Dataset {
	t.Helper()
	if spec.Objective == "" {
		spec.Objective = Binary
	}
	d, err := NewDataset(s.names, s.columns, s.label, nil, spec)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func mustTrain(t testing.TB, d *Dataset, p Params) *Result {
	t.Helper()
	r, err := Train(context.Background(), d, nil, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustEnsemble(t fataler, r *Result) *model.Ensemble {
	t.Helper()
	text, err := r.Text()
	if err != nil {
		t.Fatal(err)
	}
	e, err := model.ReadEnsemble(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// fataler is a testing.TB or a rapid.T.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

// The scores that training keeps are those that the written model gives.
func TestScoresAreTheModels(t *testing.T) {
	for _, tc := range []struct {
		name string
		set  func(*Spec, *Params)
	}{
		{"defaults", func(*Spec, *Params) {}},
		{"all rows", func(_ *Spec, p *Params) { p.SampleRows = 1 }},
		{"sampled", func(_ *Spec, p *Params) { p.SampleRows, p.SampleFeatures = 0.5, 0.5 }},
		{"penalties", func(_ *Spec, p *Params) { p.L1, p.L2, p.MaxDepth = 1, 5, 3 }},
		{"few bins", func(s *Spec, _ *Params) { s.MaxBin = 4 }},
		{"bounded steps", func(_ *Spec, p *Params) { p.MaxStep, p.Start = 0.7, 0.5 }},
		{"goss", func(_ *Spec, p *Params) { p.SampleRows, p.GOSSTop, p.GOSSRest = 1, 0.2, 0.1 }},
		{"smoothed", func(_ *Spec, p *Params) { p.SampleRows, p.PathSmooth = 0.5, 3 }},
		{"weights", func(_ *Spec, p *Params) { p.PosWeight = 10 }},
		{"regression", func(s *Spec, _ *Params) { s.Objective = L2 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := makeSynthetic(3000, 11, 1)
			spec, p := Spec{Objective: Binary}, DefaultParams()
			p.Trees = 20
			tc.set(&spec, &p)
			r := mustTrain(t, s.dataset(t, spec), p)
			e := mustEnsemble(t, r)
			for i := range s.label {
				raw, err := e.Raw(s.row(i))
				if err != nil {
					t.Fatal(err)
				}
				if math.Abs(raw-r.Scores[i]) > 1e-9 {
					t.Fatalf("row %d: the model scores %v, training says %v", i, raw, r.Scores[i])
				}
			}
		})
	}
}

// The model is the same, byte by byte, for any number of threads.
func TestThreadsDoNotMatter(t *testing.T) {
	s, other := makeSynthetic(20_000, 19, 2), makeSynthetic(5_000, 19, 3)
	for i := range s.label { // codes for the categorical case
		s.columns[18][i] = float64(i * 7 % 40)
	}
	weight := make([]float64, len(s.label))
	for i := range weight {
		weight[i] = 0.5 + float64(i%5)
	}
	half := DefaultParams()
	half.Trees = 5
	base := mustBase(t, mustText(t, mustTrain(t, s.dataset(t, Spec{}), half)))
	for name, tc := range map[string]struct {
		spec   Spec
		weight []float64
		valid  bool
		set    func(*Params)
	}{
		"all rows":       {set: func(p *Params) { p.SampleRows = 1 }},
		"sampled":        {set: func(p *Params) { p.SampleRows, p.SampleFeatures = 0.8, 0.7 }},
		"smoothed":       {set: func(p *Params) { p.SampleRows, p.PathSmooth = 0.8, 3 }},
		"goss":           {set: func(p *Params) { p.SampleRows, p.GOSSTop, p.GOSSRest = 1, 0.1, 0.1 }},
		"weighted":       {weight: weight, set: func(p *Params) { p.PosWeight, p.L1, p.MaxStep = 3, 0.1, 1 }},
		"categorical":    {spec: Spec{Categorical: []string{"f18"}}, set: func(*Params) {}},
		"regression":     {spec: Spec{Objective: L2}, set: func(*Params) {}},
		"continued":      {spec: Spec{Base: base}, set: func(*Params) {}},
		"stopped early":  {valid: true, set: func(p *Params) { p.EarlyStopping, p.LearningRate = 3, 1 }},
		"monotone, deep": {set: func(p *Params) { p.Monotone, p.Leaves = map[string]int{"f0": 1, "f1": -1}, 200 }},
	} {
		t.Run(name, func(t *testing.T) {
			var want []byte
			for _, threads := range []int{1, 2, 7} {
				tc.spec.Threads = threads
				if tc.spec.Objective == "" {
					tc.spec.Objective = Binary
				}
				d, err := NewDataset(s.names, s.columns, s.label, tc.weight, tc.spec)
				if err != nil {
					t.Fatal(err)
				}
				var valid *Dataset
				if tc.valid {
					valid = d.like(other)
				}
				p := DefaultParams()
				p.Trees, p.Threads = 15, threads
				tc.set(&p)
				r, err := Train(context.Background(), d, valid, p, nil)
				if err != nil {
					t.Fatal(err)
				}
				if tc.valid && !r.Stopped {
					t.Error("it did not stop early; the test shows nothing")
				}
				text := mustText(t, r)
				if want == nil {
					want = text
				} else if !bytes.Equal(text, want) {
					t.Errorf("%d threads make another model than 1", threads)
				}
			}
		})
	}
}

func auc(score, label []float64) float64 {
	y := make([]bool, len(label))
	for i := range y {
		y[i] = label[i] == 1
	}
	return model.ROCAUC(score, y)
}

func TestLearns(t *testing.T) {
	s, test := makeSynthetic(20_000, 8, 3), makeSynthetic(20_000, 8, 4)
	e := mustEnsemble(t, mustTrain(t, s.dataset(t, Spec{}), DefaultParams()))
	score := make([]float64, len(test.label))
	for i := range score {
		score[i], _ = e.Raw(test.row(i))
	}
	if got := auc(score, test.label); got < 0.80 {
		t.Errorf("AUC on other rows of the same rule is %.4f", got)
	} else {
		t.Logf("AUC %.4f", got)
	}
}

func TestTrainRefusesOneClass(t *testing.T) {
	s := makeSynthetic(400, 3, 5)
	d := s.dataset(t, Spec{})
	var classes [2][]int
	for row, y := range s.label {
		classes[int(y)] = append(classes[int(y)], row)
	}
	for class, rows := range classes {
		want := fmt.Sprintf("%d of the %d rows to train on are positive; both classes are needed", class*len(rows), len(rows))
		if _, err := Train(t.Context(), d.Subset(rows), nil, DefaultParams(), nil); err == nil || err.Error() != want {
			t.Errorf("class %d: %v, want %s", class, err, want)
		}
	}
	// Rows of weight 0 do not teach.
	var weight []float64
	for _, y := range s.label {
		weight = append(weight, 1-y)
	}
	weight[classes[1][0]] = 1
	d, err := NewDataset(s.names, s.columns, s.label, weight, Spec{Objective: Binary})
	if err != nil {
		t.Fatal(err)
	}
	rows := append([]int{classes[1][1]}, classes[0]...)
	want := fmt.Sprintf("0 of the %d rows to train on are positive; both classes are needed", len(classes[0]))
	if _, err := Train(t.Context(), d.Subset(rows), nil, DefaultParams(), nil); err == nil || err.Error() != want {
		t.Errorf("positive rows of weight 0: %v, want %s", err, want)
	}
	// A number to predict may be the same in the rows of a fold.
	d = s.dataset(t, Spec{Objective: L2})
	if _, err := Train(t.Context(), d.Subset(classes[0]), nil, DefaultParams(), nil); err != nil {
		t.Errorf("regression: %v", err)
	}
}
