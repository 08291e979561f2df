package report

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
)

// Rows is what the rows of a table tell about a model beside their figures.
type Rows struct {
	Importance  []Importance // the most important first
	Sampled     int          // rows that Contribution is the mean of; 0: the model cannot explain its scores
	FalseAlarms []Explained
	Misses      []Explained
}

// Importance is what a feature means to a model.
type Importance struct {
	Feature      string
	Gain         float64 // its share of the loss that the splits took away in training
	Contribution float64 // mean of the absolute contributions, in log-odds; NaN: not known
}

// Explained is a row with what made its score.
type Explained struct {
	train.Example
	Score   float64  // raw, in log-odds
	Average float64  // raw score of the training rows; NaN where there are no reasons
	Reasons []Reason // the greatest first
	Rest    float64  // what the features that are not named add
}

// Reason is what one feature adds to a row's score.
type Reason struct {
	Feature      string
	Value        float64 // NaN: missing
	Contribution float64 // in log-odds
}

const (
	reasonsShown = 5
	sampleRows   = 2000 // whose contributions are averaged
	sampleStream = 0x7265706f7274
)

// Collect reads the table once more for the rows of the examples and a sample
// of the others, and explains them. only says of each row of the table whether
// it was evaluated; nil: all were.
func Collect(ctx context.Context, m *model.Model, path string, only []bool, e *train.Evaluation, seed uint64) (Rows, error) {
	c := &collector{m: m, sampled: map[int]bool{}, values: map[int][]float64{}, sum: make([]float64, m.NumFeatures()), out: make([]float64, m.NumFeatures()+1)}
	rng := rand.New(rand.NewPCG(seed, sampleStream))
	for len(c.sampled) < min(sampleRows, e.Rows) {
		c.sampled[rng.IntN(e.Rows)] = true
	}
	for _, x := range slices.Concat(e.Detail.FalseAlarms, e.Detail.Misses) {
		c.values[x.Row] = nil
	}
	at, evaluated := -1, 0
	err := train.ScanTable(ctx, path, m.Features(), func(row []float64) error {
		at++
		if only != nil && (at >= len(only) || !only[at]) {
			return nil
		}
		evaluated++
		return c.add(at, evaluated-1, row)
	})
	if err != nil {
		return Rows{}, err
	}
	if evaluated != e.Rows || only != nil && at+1 != len(only) {
		return Rows{}, fmt.Errorf("%s: the file changed while it was evaluated: it has %d rows now", path, at+1)
	}
	r := Rows{Importance: c.importance(), Sampled: c.explained}
	for _, x := range e.Detail.FalseAlarms {
		r.FalseAlarms = append(r.FalseAlarms, c.explain(x))
	}
	for _, x := range e.Detail.Misses {
		r.Misses = append(r.Misses, c.explain(x))
	}
	return r, nil
}

type collector struct {
	m         *model.Model
	sampled   map[int]bool      // by their place among the rows that were evaluated
	values    map[int][]float64 // of the rows of examples, by their place in the table
	sum       []float64         // of the absolute contributions
	out       []float64
	explained int
}

func (c *collector) add(at, evaluated int, row []float64) error {
	if _, wanted := c.values[at]; wanted {
		c.values[at] = slices.Clone(row)
	}
	if !c.sampled[evaluated] {
		return nil
	}
	err := c.m.Contributions(row, c.out)
	if errors.Is(err, model.ErrNoCounts) {
		return nil
	}
	if err != nil {
		return err
	}
	for i := range c.sum {
		c.sum[i] += math.Abs(c.out[i])
	}
	c.explained++
	return nil
}

func (c *collector) importance() []Importance {
	gain := c.m.Gain()
	total := 0.0
	for _, g := range gain {
		total += g
	}
	var all []Importance
	for i, name := range c.m.Features() {
		x := Importance{Feature: name, Gain: math.NaN(), Contribution: math.NaN()}
		if total > 0 {
			x.Gain = gain[i] / total
		}
		if c.explained > 0 {
			x.Contribution = c.sum[i] / float64(c.explained)
		}
		all = append(all, x)
	}
	slices.SortStableFunc(all, func(a, b Importance) int {
		return cmp.Or(cmp.Compare(b.Contribution, a.Contribution), cmp.Compare(b.Gain, a.Gain))
	})
	return all
}

func (c *collector) explain(x train.Example) Explained {
	row := c.values[x.Row]
	score, err := c.m.Raw(row)
	if err != nil {
		score = math.NaN()
	}
	e := Explained{Example: x, Score: score, Average: math.NaN(), Rest: math.NaN()}
	if c.m.Contributions(row, c.out) != nil {
		return e
	}
	for i, name := range c.m.Features() {
		e.Reasons = append(e.Reasons, Reason{name, row[i], c.out[i]})
	}
	slices.SortStableFunc(e.Reasons, func(a, b Reason) int {
		return cmp.Compare(math.Abs(b.Contribution), math.Abs(a.Contribution))
	})
	e.Average, e.Rest = c.out[len(c.out)-1], 0
	for len(e.Reasons) > reasonsShown || len(e.Reasons) > 0 && e.Reasons[len(e.Reasons)-1].Contribution == 0 {
		e.Rest += e.Reasons[len(e.Reasons)-1].Contribution
		e.Reasons = e.Reasons[:len(e.Reasons)-1]
	}
	return e
}
