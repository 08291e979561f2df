package train

import (
	"bytes"
	"context"
	"math"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train/table/tabletest"
)

// goOn trains on s, from the text of a model.
func goOn(t *testing.T, s synthetic, text []byte, p Params) *Result {
	t.Helper()
	base := mustBase(t, text)
	return mustTrain(t, s.dataset(t, Spec{Base: base}), p)
}

func mustBase(t *testing.T, text []byte) *Base {
	t.Helper()
	base, err := NewBase(text)
	if err != nil {
		t.Fatal(err)
	}
	return base
}

func mustText(t *testing.T, r *Result) []byte {
	t.Helper()
	text, err := r.Text()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func newBaseError(text []byte) error {
	_, err := NewBase(text)
	return err
}

// Twenty trees and twenty more on the same rows are the forty of one training,
// byte by byte.
func TestContinueIsTheSameTraining(t *testing.T) {
	for name, set := range map[string]func(*Params){
		"defaults": func(*Params) {},
		"all rows": func(p *Params) { p.SampleRows = 1 },
		"sampled":  func(p *Params) { p.SampleRows, p.SampleFeatures = 0.6, 0.6 },
		"smoothed": func(p *Params) { p.SampleRows, p.PathSmooth = 0.6, 3 },
		"goss":     func(p *Params) { p.SampleRows, p.GOSSTop, p.GOSSRest = 1, 0.1, 0.2 },
	} {
		t.Run(name, func(t *testing.T) { continueIsTheSame(t, set) })
	}
}

func continueIsTheSame(t *testing.T, set func(*Params)) {
	s := makeSynthetic(5000, 7, 21)
	p := DefaultParams()
	set(&p)
	p.Trees = 40
	whole := mustTrain(t, s.dataset(t, Spec{}), p)
	p.Trees = 20
	half := mustTrain(t, s.dataset(t, Spec{}), p)
	r := goOn(t, s, mustText(t, half), p)
	if r.Base != 20 || len(r.Trees) != 40 {
		t.Fatalf("%d trees, %d of them the base's; want 40 and 20", len(r.Trees), r.Base)
	}
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
	if !bytes.Equal(mustText(t, r), mustText(t, whole)) {
		t.Error("trained in two halves the model is another than in one go")
	}
}

// On rows that the base knows nothing of, going on learns them and keeps what
// was there first.
func TestContinueKeepsTheBase(t *testing.T) {
	old, recent := makeSynthetic(5000, 7, 22), makeSynthetic(5000, 7, 23)
	p := DefaultParams()
	p.Trees = 10
	first := mustTrain(t, old.dataset(t, Spec{}), p)
	r := goOn(t, recent, mustText(t, first), p)
	var base, again bytes.Buffer
	if err := model.WriteEnsemble(&base, first.Features, first.Objective, first.Trees); err != nil {
		t.Fatal(err)
	}
	if err := model.WriteEnsemble(&again, r.Features, r.Objective, r.Trees[:10]); err != nil {
		t.Fatal(err)
	}
	if base.String() != again.String() {
		t.Error("the base's trees have changed")
	}
	before := mustEnsemble(t, first)
	scores := make([]float64, len(recent.label))
	for i := range scores {
		scores[i], _ = before.Raw(recent.row(i))
	}
	if a, b := auc(scores, recent.label), auc(r.Scores, recent.label); b <= a {
		t.Errorf("AUC on the new rows %v before and %v after", a, b)
	}
}

// Where no new tree helps, early stopping leaves the base as it was.
func TestContinueStopsAtTheBase(t *testing.T) {
	s, other := makeSynthetic(3000, 7, 24), makeSynthetic(3000, 7, 24)
	p := DefaultParams()
	p.Trees = 10
	first := mustTrain(t, s.dataset(t, Spec{}), p)
	for i, y := range other.label { // the contrary of the rule
		other.label[i] = 1 - y
	}
	base := mustBase(t, mustText(t, first))
	d := other.dataset(t, Spec{Base: base})
	valid := d.like(s)
	p.EarlyStopping = 3
	r, err := Train(context.Background(), d, valid, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Stopped || len(r.Trees) != 10 {
		t.Errorf("stopped %v with %d trees; want the base's 10", r.Stopped, len(r.Trees))
	}
}

func TestContinueRefuses(t *testing.T) {
	s := makeSynthetic(500, 3, 25)
	p := DefaultParams()
	p.Trees = 2
	text := mustText(t, mustTrain(t, s.dataset(t, Spec{}), p))
	base := mustBase(t, text)
	read := func(csv string, spec Spec) error {
		spec.Label, spec.Base = "y", base
		_, err := ReadDataset(t.Context(), tabletest.Write(t, "t.csv", []byte(csv)), spec)
		return err
	}
	rows := "1,2,3,0,4\n2,3,4,1,5\n"
	withSigmoid2 := bytes.Replace(text, []byte("sigmoid:1"), []byte("sigmoid:2"), 1)
	for want, err := range map[string]error{
		"its objective has sigmoid:2; scores are trained here with sigmoid:1":                                 newBaseError(withSigmoid2),
		`column "f0" is no categorical one in the model to go on from; leave --categorical f0 out`:            read("f0,f1,f2,y,z\n"+rows, Spec{Objective: Binary, Drop: []string{"z"}, Categorical: []string{"f0"}}),
		"a value of 0 is not missing; leave --zero-missing out":                                               read("f0,f1,f2,y,z\n"+rows, Spec{Objective: Binary, Drop: []string{"z"}, ZeroMissing: true}),
		`line 1: column "f2" is missing or dropped, and the model to go on from needs it`:                     read("f0,f1,x,y,z\n"+rows, Spec{Objective: Binary, Drop: []string{"z"}}),
		`line 1: column "z" is not among the features of the model to go on from; leave it out with --drop z`: read("f0,f1,f2,y,z\n"+rows, Spec{Objective: Binary}),
		`objective is regression; the model to go on from was trained for binary`:                             read("f0,f1,f2,y,z\n"+rows, Spec{Objective: L2}),
		`the model cannot be gone on from: objective is "huber"; it must be binary or regression`:             newBaseError(bytes.Replace(text, []byte("objective=binary sigmoid:1"), []byte("objective=huber"), 1)),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	// From scores that no gradient can follow nothing is learnt.
	l2 := mustTrain(t, s.dataset(t, Spec{Objective: L2}), p)
	for i := range l2.Trees[0].Leaves {
		l2.Trees[0].Leaves[i].Value = -1e30
	}
	base = mustBase(t, mustText(t, l2))
	if err := read("f0,f1,f2,y\n1,2,3,0\n2,3,4,1\n", Spec{Objective: L2}); err == nil || !strings.HasSuffix(err.Error(), "t.csv: row 1: the model to go on from says -1e+30; from at most 1e+18 either way more can be learnt") {
		t.Errorf("error %v", err)
	}
	base = mustBase(t, text)
	// The table's order does not matter, only the names.
	if err := read("z,f2,y,f1,f0\n1,2,0,3,4\n1,2,1,3,4\n", Spec{Objective: Binary, Drop: []string{"z"}}); err != nil {
		t.Error(err)
	}
}
