package train

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall/model"
)

// keysFor gives every rows in a row one component, at rising times.
func keysFor(rows, each int) (k Keys) {
	for i := range rows {
		k.Group = append(k.Group, i/each)
		k.Time = append(k.Time, float64(i))
	}
	return k
}

func mustBag(t *testing.T, b Bag, d, valid *Dataset, k Keys, p Params) *Result {
	t.Helper()
	r, err := b.Train(t.Context(), d, valid, k, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func bagParams() Params {
	p := DefaultParams()
	p.Trees, p.SampleFeatures = 12, 0.7
	return p
}

// The model's score is the mean of its members', what is kept of the rows is what
// the written models say, and each row is judged by the member that did not see
// its component.
func TestBagIsTheMean(t *testing.T) {
	s, other := makeSynthetic(3000, 6, 1), makeSynthetic(500, 6, 2)
	d := s.dataset(t, Spec{})
	k := keysFor(3000, 30)
	for name, tc := range map[string]struct {
		bag Bag
		set func(*Params)
	}{
		"members":       {Bag{Members: 4}, func(*Params) {}},
		"of a sample":   {Bag{Members: 3, Negatives: 0.3, HalfLife: 1000}, func(*Params) {}},
		"stopped early": {Bag{Members: 3}, func(p *Params) { p.EarlyStopping, p.LearningRate, p.Trees = 3, 0.9, 60 }},
	} {
		t.Run(name, func(t *testing.T) {
			p := bagParams()
			tc.set(&p)
			valid := d.like(other)
			r := mustBag(t, tc.bag, d, valid, k, p)
			e := mustEnsemble(t, r)
			var members []*model.Ensemble
			trees := 0
			for _, m := range r.Bagged.Members {
				members = append(members, mustEnsemble(t, m))
				trees += len(m.Trees)
			}
			if len(members) != tc.bag.Members || len(r.Trees) != trees {
				t.Fatalf("%d members with %d trees, the model has %d", len(members), trees, len(r.Trees))
			}
			raw := func(e *model.Ensemble, row []float64) float64 {
				v, err := e.Raw(row)
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
			near := func(what string, i int, got, want float64) {
				t.Helper()
				if !(math.Abs(got-want) < 1e-9) {
					t.Fatalf("%s of row %d is %v, not %v", what, i, got, want)
				}
			}
			place := 0
			for i := range s.label {
				row := s.row(i)
				mean := 0.0
				for _, m := range members {
					mean += raw(m, row) / float64(len(members))
				}
				near("the model's score", i, raw(e, row), mean)
				near("out of bag", i, r.Bagged.OutOfBag[i], raw(members[r.Bagged.Without[i]], row))
				if r.Bagged.Without[i] != r.Bagged.Without[i/30*30] {
					t.Fatalf("the component of row %d is in two parts", i)
				}
				if tc.bag.plain() {
					near("Scores", i, r.Scores[place], mean)
					place++
				}
			}
			for i := range other.label {
				near("Valid", i, r.Valid[i], raw(e, other.row(i)))
			}
			j := newJudge(valid, &p)
			copy(j.score, r.Valid)
			near("Best", 0, r.Best, j.value())
			if name == "stopped early" && (!r.Stopped || r.MemberTrees() >= p.Trees) {
				t.Error("no member stopped early; the test shows nothing")
			}
		})
	}
}

// Without members, sample and half-life it is a training like any other.
func TestBagOfOne(t *testing.T) {
	d := makeSynthetic(2000, 5, 3).dataset(t, Spec{})
	want := mustText(t, mustTrain(t, d, bagParams()))
	for _, b := range []Bag{{}, {Members: 1, Negatives: 1}} {
		r := mustBag(t, b, d, nil, Keys{}, bagParams())
		if !bytes.Equal(mustText(t, r), want) || r.Bagged != nil {
			t.Errorf("%+v trains another model", b)
		}
	}
}

func TestBagThreads(t *testing.T) {
	s := makeSynthetic(9000, 9, 4)
	d := s.dataset(t, Spec{})
	k := keysFor(9000, 50)
	var want []byte
	for _, threads := range []int{1, 2, 7} {
		p := bagParams()
		p.Threads = threads
		text := mustText(t, mustBag(t, Bag{Members: 3, Negatives: 0.5, HalfLife: 4000}, d, nil, k, p))
		if want == nil {
			want = text
		} else if !bytes.Equal(text, want) {
			t.Errorf("%d threads make another model than 1", threads)
		}
	}
}

// A tenth of the negative rows stands for all of them: the probabilities keep
// the base rate, and little is lost.
func TestSampleNegatives(t *testing.T) {
	s, test := makeSynthetic(20_000, 6, 5), makeSynthetic(20_000, 6, 6)
	d := s.dataset(t, Spec{})
	chosen := Bag{Negatives: 0.1}.draw(d, Keys{}, 1)
	drawn := chosen.of(d, nil)
	if drawn.Positives() != d.Positives() {
		t.Errorf("%d of %d positive rows are drawn", drawn.Positives(), d.Positives())
	}
	negatives := float64(d.Rows() - d.Positives())
	if n := float64(drawn.Rows() - drawn.Positives()); math.Abs(n/negatives-0.1) > 0.01 {
		t.Errorf("%v of %v negative rows are drawn, not a tenth", n, negatives)
	}
	for i, y := range drawn.Labels() {
		if want := map[float64]float64{0: 10, 1: 1}[y]; drawn.weight[i] != want {
			t.Fatalf("a row of label %v weighs %v", y, drawn.weight[i])
		}
	}
	p := DefaultParams()
	p.Trees, p.Leaves = 40, 8 // so few that the rows are not learnt by heart
	r := mustBag(t, Bag{Negatives: 0.1}, d, nil, Keys{}, p)
	e, all := mustEnsemble(t, r), mustEnsemble(t, mustTrain(t, d, p))
	var mean float64
	score := [2][]float64{}
	for i := range test.label {
		a, _ := e.Raw(test.row(i))
		b, _ := all.Raw(test.row(i))
		score[0], score[1] = append(score[0], a), append(score[1], b)
		mean += model.Sigmoid(a+r.Intercept) / float64(len(test.label))
	}
	rate := float64(d.Positives()) / float64(d.Rows())
	if math.Abs(mean/rate-1) > 0.1 {
		t.Errorf("the mean probability is %.4f, the base rate %.4f", mean, rate)
	}
	if sampled, whole := auc(score[0], test.label), auc(score[1], test.label); sampled < whole-0.03 {
		t.Errorf("AUC %.4f on a tenth of the negative rows, %.4f on all", sampled, whole)
	}
}

func TestHalfLife(t *testing.T) {
	d := tiny(t, 0, 1, 0, 1, 0)
	k := Keys{Time: []float64{100, 90, 80, 70, -1e6}}
	c := Bag{HalfLife: 10}.draw(d, k, 1)
	sub := c.of(d, nil)
	if got, want := sub.weight, []float64{1, 0.5, 0.25, 0.125}; len(got) != 4 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] || got[3] != want[3] {
		t.Errorf("weights %v, want %v and no row of long ago", got, want)
	}
	// They multiply those that are there.
	d.weight = []float64{2, 2, 0, 4, 1}
	if got := c.of(d, []int{1, 2, 3}).weight; got[0] != 1 || got[1] != 0 || got[2] != 0.5 {
		t.Errorf("weights %v", got)
	}
}

// What is true only of old rows is forgotten.
func TestHalfLifeForgets(t *testing.T) {
	s := makeSynthetic(8000, 3, 8)
	for i := range 4000 { // in the first half the rule is the other way round
		s.columns[0][i] = -s.columns[0][i]
	}
	d := s.dataset(t, Spec{})
	k := keysFor(8000, 10)
	test := makeSynthetic(4000, 3, 9)
	var got [2]float64
	for i, half := range []float64{0, 500} {
		e := mustEnsemble(t, mustBag(t, Bag{HalfLife: half}, d, nil, k, bagParams()))
		score := make([]float64, len(test.label))
		for i := range score {
			score[i], _ = e.Raw(test.row(i))
		}
		got[i] = auc(score, test.label)
	}
	if got[1] < got[0]+0.05 {
		t.Errorf("AUC on the newest rule is %.3f with a half-life and %.3f without", got[1], got[0])
	}
}

// Ctrl-C keeps the members that are finished; what the others left out has no
// judge.
func TestBagInterrupted(t *testing.T) {
	d := makeSynthetic(1000, 4, 7).dataset(t, Spec{})
	k := keysFor(1000, 10)
	for _, tc := range []struct{ member, members, trees int }{{1, 1, 3}, {2, 1, 12}, {3, 2, 24}} {
		ctx, cancel := context.WithCancel(t.Context())
		r, err := Bag{Members: 4}.Train(ctx, d, nil, k, bagParams(), func(p Progress) {
			if p.Member == tc.member && p.Tree == 3 {
				cancel()
			}
			if p.Members != 4 {
				t.Errorf("a tree is of %d members", p.Members)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if !r.Interrupted || len(r.Bagged.Members) != tc.members || len(r.Trees) != tc.trees {
			t.Errorf("interrupted in member %d: %d members, %d trees", tc.member, len(r.Bagged.Members), len(r.Trees))
		}
		mustEnsemble(t, r)
		for i, raw := range r.Bagged.OutOfBag {
			if judged := r.Bagged.Without[i] < tc.members; judged == math.IsNaN(raw) {
				t.Fatalf("row %d of member %d has the score %v", i, r.Bagged.Without[i], raw)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Bag{Members: 2}).Train(ctx, d, nil, k, bagParams(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("before the first tree: %v", err)
	}
}

// New members follow the trees of a model that is gone on from, which stay whole.
func TestBagGoesOn(t *testing.T) {
	s := makeSynthetic(1500, 4, 11)
	first := mustTrain(t, s.dataset(t, Spec{}), bagParams())
	base := mustBase(t, mustText(t, first))
	r := mustBag(t, Bag{Members: 3}, s.dataset(t, Spec{Base: base}), nil, keysFor(1500, 15), bagParams())
	if r.Base != 12 || len(r.Trees) != 12+36 || r.MemberTrees() != 12 {
		t.Fatalf("%d trees after %d, %d of each member", len(r.Trees), r.Base, r.MemberTrees())
	}
	e, old := mustEnsemble(t, r), mustEnsemble(t, first)
	for i := range 200 {
		row := s.row(i)
		want, _ := old.Raw(row)
		begin := want
		for _, m := range r.Bagged.Members {
			v, _ := mustEnsemble(t, m).Raw(row)
			want += (v - begin) / 3
		}
		if got, _ := e.Raw(row); math.Abs(got-want) > 1e-9 {
			t.Fatalf("row %d: %v, want %v", i, got, want)
		}
	}
}

func TestBagErrors(t *testing.T) {
	d := makeSynthetic(300, 3, 12).dataset(t, Spec{})
	one := tiny(t, 1, 1, 0, 0, 0, 0)
	number := makeSynthetic(300, 3, 12).dataset(t, Spec{Objective: L2})
	for _, tc := range []struct {
		bag  Bag
		d    *Dataset
		k    Keys
		want string
	}{
		{Bag{Members: -1}, d, Keys{}, "members is -1"},
		{Bag{Members: 5000}, d, Keys{}, "between 1 and 1000"},
		{Bag{Negatives: 1.5}, d, Keys{}, "sample_negatives is 1.5"},
		{Bag{Negatives: math.NaN()}, d, Keys{}, "sample_negatives is NaN"},
		{Bag{HalfLife: -1}, d, Keys{}, "half_life is -1"},
		{Bag{HalfLife: math.Inf(1)}, d, Keys{}, "half_life is +Inf"},
		{Bag{Members: 3}, d, Keys{}, "the component of each row is not told"},
		{Bag{HalfLife: 3}, d, Keys{}, "half_life needs the time"},
		{Bag{Members: 9}, d, keysFor(300, 100), "the table has 3 components"},
		{Bag{Members: 2}, one, Keys{Group: []int{0, 0, 1, 1, 2, 2}}, "only 1 of the 3 components has positive rows"},
		{Bag{Negatives: 0.5}, number, Keys{}, "sample_negatives is for objective binary"},
	} {
		_, err := tc.bag.Train(t.Context(), tc.d, nil, tc.k, bagParams(), nil)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v, want %q", tc.bag, err, tc.want)
		}
	}
}

// TestBagLeavesNothing: a half-life that only the newest rows survive, and a sample
// without a row, say so.
func TestBagLeavesNothing(t *testing.T) {
	d, err := NewDataset([]string{"x"}, [][]float64{{1, 2, 3, 4}}, []float64{0, 0, 1, 1}, nil, Spec{Objective: Binary})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		bag  Bag
		want string
	}{
		{Bag{HalfLife: 1e-9}, "1 of the 1 rows that the half-life"},
		{Bag{Negatives: 1e-6}, "2 of the 2 rows that the half-life"},
	} {
		_, err := c.bag.Train(t.Context(), d, nil, Keys{Time: []float64{1, 2, 3, 4}}, DefaultParams(), nil)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || !strings.Contains(err.Error(), "both classes are needed") {
			t.Errorf("%+v: error %v", c.bag, err)
		}
	}
}
