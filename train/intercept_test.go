package train

import (
	"context"
	"math"
	"testing"

	"github.com/stratoswarm/forestall/model"
)

// Whatever moves the scores, with the intercept their mean probability is the
// share of positives.
func TestIntercept(t *testing.T) {
	s := makeSynthetic(4000, 6, 31)
	weight := make([]float64, len(s.label))
	for i := range weight {
		weight[i] = float64(i % 3)
	}
	for name, tc := range map[string]struct {
		weight []float64
		set    func(*Params)
	}{
		"few trees from even odds": {nil, func(p *Params) { p.Trees, p.Start = 3, 0 }},
		"heavy positives":          {nil, func(p *Params) { p.PosWeight = 30 }},
		"weights":                  {weight, func(p *Params) { p.Start = 0 }},
		"goss":                     {nil, func(p *Params) { p.SampleRows, p.GOSSTop, p.GOSSRest = 1, 0.1, 0.1 }},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := NewDataset(s.names, s.columns, s.label, tc.weight, Spec{Objective: Binary})
			if err != nil {
				t.Fatal(err)
			}
			p := DefaultParams()
			p.Trees = 20
			tc.set(&p)
			r := mustTrain(t, d, p)
			var sum, positive float64
			for i, score := range r.Scores {
				w := 1.0
				if tc.weight != nil {
					w = tc.weight[i]
				}
				sum += w * model.Sigmoid(score+r.Intercept)
				positive += w * s.label[i]
			}
			if math.Abs(sum/positive-1) > 1e-6 {
				t.Errorf("with the intercept %v the rows expect %v positives; there are %v", r.Intercept, sum, positive)
			}
		})
	}
}

// Trees that early stopping drops have no part in the intercept or the scores.
func TestInterceptAfterEarlyStopping(t *testing.T) {
	s, valid := makeSynthetic(2000, 6, 32), makeSynthetic(2000, 6, 33)
	d := s.dataset(t, Spec{})
	p := DefaultParams()
	p.EarlyStopping, p.LearningRate, p.Start = 5, 0.5, 0
	r, err := Train(context.Background(), d, d.like(valid), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Stopped {
		t.Fatal("it did not stop early; the test shows nothing")
	}
	e := mustEnsemble(t, r)
	var sum, positive float64
	for i, y := range s.label {
		raw, _ := e.Raw(s.row(i))
		if math.Abs(raw-r.Scores[i]) > 1e-9 {
			t.Fatalf("row %d: the model scores %v, training says %v", i, raw, r.Scores[i])
		}
		sum += model.Sigmoid(raw + r.Intercept)
		positive += y
	}
	if math.Abs(sum/positive-1) > 1e-6 {
		t.Errorf("the rows expect %v positives; there are %v", sum, positive)
	}
}
