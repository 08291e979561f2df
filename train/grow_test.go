package train

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall/model"
	"pgregory.net/rapid"
)

// A feature that is constrained never moves the score the other way, whatever
// the other features hold.
func TestMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		const rows, features = 400, 3
		columns := make([][]float64, features)
		for f := range columns {
			columns[f] = make([]float64, rows)
			for i := range columns[f] {
				if columns[f][i] = rng.NormFloat64(); rng.Float64() < 0.1 {
					columns[f][i] = math.NaN()
				}
			}
		}
		label := make([]float64, rows)
		for i := range label {
			if math.Sin(3*columns[0][i])-columns[1][i]*columns[0][i]+rng.NormFloat64() > 0 {
				label[i] = 1
			}
		}
		d, err := NewDataset([]string{"a", "b", "c"}, columns, label, nil, Spec{Objective: Binary})
		if err != nil {
			t.Skipf("the drawn rows make no data set: %v", err)
		}
		p := DefaultParams()
		p.Trees, p.MinLeaf, p.Threads = 10, 5, 1
		p.Monotone = map[string]int{"a": 1, "b": -1}
		p.SampleRows = rapid.SampledFrom([]float64{1, 0.5}).Draw(t, "share")
		p.PathSmooth = rapid.SampledFrom([]float64{0, 2, 50}).Draw(t, "smooth")
		r, err := Train(context.Background(), d, nil, p, nil)
		if err != nil {
			t.Fatal(err)
		}
		e := mustEnsemble(t, r)
		for range 50 {
			row := []float64{0, rng.NormFloat64(), rng.NormFloat64()}
			last := math.Inf(-1)
			for a := -3.0; a <= 3; a += 0.1 {
				row[0] = a
				score, _ := e.Raw(row)
				if score < last {
					t.Fatalf("a=%v lowers the score from %v to %v", a, last, score)
				}
				last = score
			}
			last = math.Inf(1)
			for b := -3.0; b <= 3; b += 0.1 {
				row[1] = b
				score, _ := e.Raw(row)
				if score > last {
					t.Fatalf("b=%v raises the score from %v to %v", b, last, score)
				}
				last = score
			}
		}
	})
}

// What is missing goes where such rows belong, on either side of the split.
func TestMissingDirection(t *testing.T) {
	for name, like := range map[string]float64{"as the large": 1, "as the small": 0} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(5, 5))
			const rows = 2000
			x, y := make([]float64, rows), make([]float64, rows)
			for i := range x {
				x[i] = rng.Float64()
				p := 0.05
				if x[i] > 0.5 {
					p = 0.9
				}
				if i%10 == 0 {
					x[i], p = math.NaN(), 0.05+0.85*like
				}
				if rng.Float64() < p {
					y[i] = 1
				}
			}
			d, err := NewDataset([]string{"x"}, [][]float64{x}, y, nil, Spec{Objective: Binary})
			if err != nil {
				t.Fatal(err)
			}
			p := DefaultParams()
			p.Leaves, p.Trees = 2, 1
			e := mustEnsemble(t, mustTrain(t, d, p))
			missing, _ := e.Raw([]float64{math.NaN()})
			same, _ := e.Raw([]float64{like})
			if missing != same {
				t.Errorf("missing scores %v, %v scores %v", missing, like, same)
			}
		})
	}
}

// Being missing alone can tell: then it is a split of its own.
func TestMissingTells(t *testing.T) {
	x, y := make([]float64, 400), make([]float64, 400)
	for i := range x {
		x[i] = float64(i % 7)
		if i%4 == 0 {
			x[i], y[i] = math.NaN(), 1
		}
	}
	d, err := NewDataset([]string{"x"}, [][]float64{x}, y, nil, Spec{Objective: Binary})
	if err != nil {
		t.Fatal(err)
	}
	e := mustEnsemble(t, mustTrain(t, d, DefaultParams()))
	missing, _ := e.Raw([]float64{math.NaN()})
	for v := range 7 {
		if score, _ := e.Raw([]float64{float64(v)}); missing-score < 5 {
			t.Errorf("missing scores %v, %d scores %v", missing, v, score)
		}
	}
}

func TestZeroMissing(t *testing.T) {
	s := makeSynthetic(2000, 4, 6)
	for i := range s.label {
		if i%5 == 0 {
			s.columns[0][i], s.label[i] = 0, 1
		}
	}
	r := mustTrain(t, s.dataset(t, Spec{ZeroMissing: true}), DefaultParams())
	e := mustEnsemble(t, r)
	for i := range s.label {
		row := s.row(i)
		zero, _ := e.Raw(row)
		if math.Abs(zero-r.Scores[i]) > 1e-9 {
			t.Fatalf("row %d: the model scores %v, training says %v", i, zero, r.Scores[i])
		}
		if row[0] == 0 {
			row[0] = math.NaN()
			if nan, _ := e.Raw(row); nan != zero {
				t.Fatalf("row %d: 0 scores %v and NaN %v", i, zero, nan)
			}
		}
	}
}

func TestCategorical(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	const rows = 8000
	bad := map[int]bool{3: true, 17: true, 40: true, 41: true, 300: true}
	x, noise, y := make([]float64, rows), make([]float64, rows), make([]float64, rows)
	for i := range x {
		code := rng.IntN(50)
		if code == 49 {
			code = 300
		}
		x[i], noise[i] = float64(code), rng.NormFloat64()
		if i%50 == 0 {
			x[i] = math.NaN()
		}
		if bad[code] && rng.Float64() < 0.6 || rng.Float64() < 0.05 {
			y[i] = 1
		}
	}
	d, err := NewDataset([]string{"code", "noise"}, [][]float64{x, noise}, y, nil, Spec{Objective: Binary, Categorical: []string{"code"}})
	if err != nil {
		t.Fatal(err)
	}
	p := DefaultParams()
	p.Trees = 30
	r := mustTrain(t, d, p)
	e := mustEnsemble(t, r)
	for i := range x {
		if score, _ := e.Raw([]float64{x[i], noise[i]}); math.Abs(score-r.Scores[i]) > 1e-9 {
			t.Fatalf("row %d (%v): the model scores %v, training says %v", i, x[i], score, r.Scores[i])
		}
	}
	for code := range 49 {
		score, _ := e.Raw([]float64{float64(code), 0})
		if (score > -0.8) != bad[code] {
			t.Errorf("category %d scores %v", code, score)
		}
	}
}

func TestLeavesHoldEnoughRows(t *testing.T) {
	s := makeSynthetic(5000, 6, 9)
	p := DefaultParams()
	p.MinLeaf, p.MaxDepth, p.Leaves, p.SampleRows = 37, 4, 100, 1
	for i, tree := range mustTrain(t, s.dataset(t, Spec{}), p).Trees {
		total := 0
		for _, l := range tree.Leaves {
			total += l.Count
			if l.Count < p.MinLeaf {
				t.Fatalf("tree %d has a leaf of %d rows", i, l.Count)
			}
		}
		if total != 5000 || len(tree.Leaves) > 16 {
			t.Errorf("tree %d has %d leaves with %d rows", i, len(tree.Leaves), total)
		}
	}
}

// Where some of the rows choose the splits, a leaf holds enough of those.
func TestLeavesHoldEnoughOfTheSample(t *testing.T) {
	p := DefaultParams()
	p.MinLeaf, p.Leaves = 37, 100
	b := newBooster(makeSynthetic(5000, 6, 9).dataset(t, Spec{}), nil, nil, p)
	for range 50 {
		b.step()
		chosen := 0
		for i := range b.grower.leaves {
			n := b.grower.leaves[i].size()
			if chosen += n; n < p.MinLeaf {
				t.Fatalf("a leaf of %d of the rows that chose the splits", n)
			}
		}
		if chosen < 2300 || chosen > 2700 {
			t.Fatalf("%d of 5000 rows chose the splits, want half", chosen)
		}
	}
}

// A weight of 2 is the same as the row twice.
func TestWeightsCountRows(t *testing.T) {
	s := makeSynthetic(2000, 4, 10)
	weight := make([]float64, len(s.label))
	twice := synthetic{names: s.names, columns: make([][]float64, 4)}
	for i := range weight {
		weight[i] = float64(1 + i%2)
		for range 1 + i%2 {
			for f := range s.columns {
				twice.columns[f] = append(twice.columns[f], s.columns[f][i])
			}
			twice.label = append(twice.label, s.label[i])
		}
	}
	spec := Spec{Objective: Binary, MaxBin: 255}
	weighted, err := NewDataset(s.names, s.columns, s.label, weight, spec)
	if err != nil {
		t.Fatal(err)
	}
	p := DefaultParams()
	p.Trees, p.MinLeaf, p.SampleRows = 1, 1, 1
	a, b := mustTrain(t, weighted, p), mustTrain(t, twice.dataset(t, spec), p)
	if x, y := a.Trees[0].Splits[0], b.Trees[0].Splits[0]; x.Feature != y.Feature || math.Abs(x.Gain-y.Gain) > 0.05*x.Gain {
		t.Errorf("the first split is %+v with weights and %+v with copies", x, y)
	}
}

// No leaf's value exceeds the bound, and the bound is met exactly where the best
// value lies beyond it. The gain that a bounded split claims is what it gives.
func TestMaxStep(t *testing.T) {
	s := makeSynthetic(3000, 5, 12)
	p := DefaultParams()
	p.Trees, p.MaxStep, p.LearningRate = 1, 0.25, 1
	r := mustTrain(t, s.dataset(t, Spec{}), p)
	start := initialScore(s.dataset(t, Spec{}), &p)
	met := 0
	for _, l := range r.Trees[0].Leaves {
		v := math.Abs(l.Value - start)
		if v > p.MaxStep+1e-12 {
			t.Errorf("a leaf moves the score by %v", v)
		}
		if v > p.MaxStep-1e-12 {
			met++
		}
	}
	if met == 0 {
		t.Error("no leaf meets the bound; the test shows nothing")
	}
}

// The plain scan's quick formula and the general one find first splits of the
// same gain. (Where values are bounded many splits gain the same, so later ones
// may differ.)
func TestMaxStepScansAgree(t *testing.T) {
	for seed := range uint64(20) {
		s := makeSynthetic(500, 5, 100+seed)
		p := DefaultParams()
		p.Trees, p.Leaves, p.MaxStep = 1, 2, 0.3
		plain := mustTrain(t, s.dataset(t, Spec{}), p).Trees[0].Splits[0].Gain
		p.L1 = 1e-12 // takes the general scan
		general := mustTrain(t, s.dataset(t, Spec{}), p).Trees[0].Splits[0].Gain
		if math.Abs(plain-general) > 1e-6*plain {
			t.Errorf("seed %d: the first split gains %v and %v", seed, plain, general)
		}
	}
}

func TestStart(t *testing.T) {
	s := makeSynthetic(3000, 5, 14)
	d := s.dataset(t, Spec{})
	p := DefaultParams()
	p.Start = 1
	base := initialScore(d, &p)
	if want := math.Log(float64(d.Positives()) / float64(d.Rows()-d.Positives())); math.Abs(base-want) > 1e-9 {
		t.Errorf("the score begins at %v, the base rate's log-odds are %v", base, want)
	}
	for _, share := range []float64{0, 0.5} {
		p.Start = share
		if got := initialScore(d, &p); math.Abs(got-share*base) > 1e-12 {
			t.Errorf("start %v begins at %v, want %v", share, got, share*base)
		}
	}
}

func TestParamsValidate(t *testing.T) {
	d := makeSynthetic(100, 3, 14).dataset(t, Spec{})
	for want, set := range map[string]func(*Params){
		"trees":           func(p *Params) { p.Trees = 0 },
		"leaves":          func(p *Params) { p.Leaves = 1 },
		"learning_rate":   func(p *Params) { p.LearningRate = math.NaN() },
		"max_depth":       func(p *Params) { p.MaxDepth = -1 },
		"min_leaf":        func(p *Params) { p.MinLeaf = 0 },
		"min_hessian":     func(p *Params) { p.MinHessian = -1 },
		"min_gain":        func(p *Params) { p.MinGain = math.Inf(1) },
		"l1":              func(p *Params) { p.L1 = -1 },
		"l2":              func(p *Params) { p.L2 = math.NaN() },
		"sample_rows":     func(p *Params) { p.SampleRows = 0 },
		"sample_features": func(p *Params) { p.SampleFeatures = 1.1 },
		"pos_weight":      func(p *Params) { p.PosWeight = 0 },
		"max_step":        func(p *Params) { p.MaxStep = -1 },
		"path_smooth":     func(p *Params) { p.PathSmooth = math.Inf(1) },
		"start":           func(p *Params) { p.Start = 1.5 },
		"goss":            func(p *Params) { p.GOSSTop = 0.2 },
		"GOSS":            func(p *Params) { p.GOSSTop, p.GOSSRest, p.SampleRows = 0.2, 0.1, 0.5 },
		"early_stopping":  func(p *Params) { p.EarlyStopping = -1 },
		"validation set":  func(p *Params) { p.EarlyStopping = 5 },
		"threads":         func(p *Params) { p.Threads = -1 },
		"metric":          func(p *Params) { p.Metric = RMSE },
		"monotone":        func(p *Params) { p.Monotone = map[string]int{"x": 1} },
		"+1 or -1":        func(p *Params) { p.Monotone = map[string]int{"f0": 2} },
	} {
		p := DefaultParams()
		set(&p)
		if _, err := Train(context.Background(), d, nil, p, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", want, err)
		}
	}
}

// TestCertainRows: rows that are told apart as surely as numbers can say teach
// nothing more, and make no value of a leaf that is none.
func TestCertainRows(t *testing.T) {
	t.Parallel()
	p := DefaultParams()
	p.Trees, p.MinLeaf, p.MinHessian, p.L2, p.LearningRate = 3000, 1, 0, 0, 1
	d, err := NewDataset([]string{"x"}, [][]float64{{1, 1, 1, 2, 2, 2}}, []float64{0, 0, 0, 1, 1, 1}, nil, Spec{Objective: Binary})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Train(t.Context(), d, nil, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := r.Text()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := model.ReadEnsemble(bytes.NewReader(text)); err != nil {
		t.Error(err)
	}
}

// TestFewHistograms: a tree of more leaves than there is memory for histograms is the
// same tree.
func TestFewHistograms(t *testing.T) {
	s := makeSynthetic(4000, 12, 31)
	d := s.dataset(t, Spec{})
	for _, threads := range []int{1, 3} {
		p := DefaultParams()
		p.Trees, p.Leaves, p.MinLeaf, p.MinHessian, p.Threads = 8, 63, 12, 0, threads
		want := mustTrain(t, d, p)
		b := newBooster(d, nil, nil, p)
		b.grower.most = 2
		for range p.Trees {
			b.step()
		}
		b.finish()
		if !bytes.Equal(mustText(t, want), mustText(t, b.result)) {
			t.Errorf("%d threads: another model", threads)
		}
		if n := b.grower.made; n > 4 {
			t.Errorf("%d threads: %d histograms", threads, n)
		}
		if n := want.Splits(); n < 8*50 {
			t.Errorf("%d splits are too few for a test", n)
		}
	}
}
