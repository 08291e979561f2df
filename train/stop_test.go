package train

import (
	"context"
	"errors"
	"math"
	"testing"
)

func TestEarlyStopping(t *testing.T) {
	s, v := makeSynthetic(3000, 6, 11), makeSynthetic(3000, 6, 12)
	d := s.dataset(t, Spec{})
	valid := d.like(v)
	for _, metric := range []Metric{LogLoss, AP, AUC} {
		p := DefaultParams()
		p.Trees, p.EarlyStopping, p.Metric = 300, 10, metric
		last := 0.0
		r, err := Train(context.Background(), d, valid, p, func(p Progress) { last = p.Valid })
		if err != nil {
			t.Fatal(err)
		}
		if !r.Stopped || len(r.Trees) >= 290 || r.Best == last || r.Metric != metric {
			t.Errorf("%s: stopped %v after %d trees, best %v, last %v", metric, r.Stopped, len(r.Trees), r.Best, last)
		}
		// The trees that are kept are those that gave the best value.
		e, j := mustEnsemble(t, r), newJudge(valid, &p)
		for i := range v.label {
			j.score[i], _ = e.Raw(v.row(i))
		}
		if got := j.value(); math.Abs(got-r.Best) > 1e-9 {
			t.Errorf("%s: the trees kept give %v, the best was %v", metric, got, r.Best)
		}
	}
}

// like bins other rows as d's, for tests.
func (d *Dataset) like(s synthetic) *Dataset {
	other := newDataset(d.features, d.spec, len(s.label), false)
	other.binnings = d.binnings
	copy(other.label, s.label)
	for f, column := range s.columns {
		other.binnings[f].put(column, other.bins[f/8:], other.width, f%8*8)
	}
	if other.start != nil {
		if err := other.setStart(0, other.rows, func(f int) []float64 { return s.columns[f] }); err != nil {
			panic(err)
		}
	}
	return other
}

func TestInterrupted(t *testing.T) {
	d := makeSynthetic(1000, 4, 13).dataset(t, Spec{})
	ctx, cancel := context.WithCancel(context.Background())
	r, err := Train(ctx, d, nil, DefaultParams(), func(p Progress) {
		if p.Tree == 7 {
			cancel()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if e := mustEnsemble(t, r); e.Trees() != 7 || !r.Interrupted {
		t.Errorf("%d trees, interrupted %v", e.Trees(), r.Interrupted)
	}
	if _, err := Train(ctx, d, nil, DefaultParams(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("before the first tree: error %v", err)
	}
}
