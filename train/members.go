package train

import (
	"context"
	"math"
	"slices"

	"github.com/stratoswarm/forestall/model"
)

// joiner makes one model of members.
type joiner struct {
	d, valid *Dataset
	drawn    *chosen
	bagged   *Bagged

	sum         []float64 // of the members' scores, of each drawn row
	validSum    []float64
	interrupted bool
}

func newJoiner(d, valid *Dataset, s *chosen, without []int) *joiner {
	j := &joiner{d: d, valid: valid, drawn: s, sum: make([]float64, len(s.rows))}
	j.bagged = &Bagged{Without: without, OutOfBag: make([]float64, d.rows)}
	for i := range j.bagged.OutOfBag {
		j.bagged.OutOfBag[i] = math.NaN()
	}
	if valid != nil {
		j.validSum = make([]float64, valid.rows)
	}
	return j
}

// member trains one; false: the context ended before it was whole, and it is not
// the first.
func (j *joiner) member(ctx context.Context, m int, has *room, p Params, report func(Progress)) (done bool, err error) {
	var in, left []int // places among the drawn rows; rows
	for place, row := range j.drawn.rows {
		if j.bagged.Without[row] != m {
			in = append(in, place)
		}
	}
	for row, w := range j.bagged.Without {
		if w == m {
			left = append(left, row)
		}
	}
	// A validation set that does not end a member is only scored: to judge it after
	// each tree would take longer than to grow the tree.
	others := []*scored{{d: j.d.Subset(left)}}
	valid := j.valid
	if valid != nil && p.EarlyStopping == 0 {
		others, valid = append(others, &scored{d: valid}), nil
	}
	r, err := trainBeside(ctx, j.drawn.of(j.d, in), valid, others, has, p, report)
	if err != nil {
		return false, err
	}
	if r.Interrupted && m > 0 {
		return false, nil
	}
	for i, row := range left {
		j.bagged.OutOfBag[row] = others[0].score[i]
	}
	at := 0
	for place, row := range j.drawn.rows {
		if j.bagged.Without[row] == m {
			j.sum[place] += j.bagged.OutOfBag[row]
			continue
		}
		j.sum[place] += r.Scores[at]
		at++
	}
	if len(others) > 1 {
		r.Valid = others[1].score
	}
	for i, s := range r.Valid {
		j.validSum[i] += s
	}
	j.bagged.Members = append(j.bagged.Members, r)
	return !r.Interrupted, nil
}

// join returns the model whose score is the mean of the members'.
func (j *joiner) join(p *Params) *Result {
	first := j.bagged.Members[0]
	n := float64(len(j.bagged.Members))
	r := &Result{
		Features: first.Features, Objective: first.Objective, Base: first.Base, Monotone: first.Monotone,
		Interrupted: j.interrupted, Scores: j.sum, Bagged: j.bagged,
		Trees: slices.Clone(first.Trees[:first.Base]),
	}
	for _, m := range j.bagged.Members {
		r.Stopped, r.Full = r.Stopped || m.Stopped, r.Full || m.Full
		for _, t := range m.Trees[m.Base:] {
			r.Trees = append(r.Trees, scaled(t, 1/n))
		}
	}
	for i := range r.Scores {
		r.Scores[i] /= n
	}
	if j.valid != nil {
		for i := range j.validSum {
			j.validSum[i] /= n
		}
		r.Valid = j.validSum
		by := newJudge(j.valid, p)
		by.score = r.Valid
		r.Metric, r.Best = by.metric, by.value()
	}
	if j.d.spec.Objective == Binary {
		r.Intercept = intercept(j.drawn.of(j.d, nil), r.Scores, threads(p.Threads))
	}
	return r
}

// scaled returns a tree whose leaves say a share of what a tree's say.
func scaled(t model.Tree, share float64) model.Tree {
	t.Leaves = slices.Clone(t.Leaves)
	for i := range t.Leaves {
		t.Leaves[i].Value *= share
	}
	return t
}
