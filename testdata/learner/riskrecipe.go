package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
)

// recipe is how a model of risks is trained: as `forestall train --members
// --sample-negatives --half-life --calibrate out-of-bag --recalibrate` does, but
// that the rows come from a history's own code, are drawn while they are read and
// trained on span after span. What came of the tests before, as far as it was
// known when a test began, corrects the probabilities: rates drift.
type recipe struct {
	params  train.Params
	members int
	share   float64 // of the negative rows that are trained on; each counts 1/share
	horizon float64 // until the outcome of a row is known
	memory  float64 // time over which earlier tests correct the probabilities; 0: they do not
	half    float64 // time in which a row's weight halves; 0: all weigh the same
}

// riskScores is what a model said of a fold's test rows.
type riskScores struct {
	fold        string
	score       []float64 // log-odds
	probability []float64 // calibrated
	label       []bool
	component   []int
	time        []float64
	uncorrected []float64 // probability as calibrated on training rows
	plain       []float64 // the baseline's score; nil: there is none

	unseen *unseenRows
}

// unseenRows are the training rows that calibrated, each judged by a member that
// had not seen its component.
type unseenRows struct {
	train.Held
	time []float64
}

// add appends what a later model said of later rows.
func (s *riskScores) add(r *riskScores) {
	s.score, s.probability = append(s.score, r.score...), append(s.probability, r.probability...)
	s.uncorrected = append(s.uncorrected, r.uncorrected...)
	s.label, s.component, s.time = append(s.label, r.label...), append(s.component, r.component...), append(s.time, r.time...)
}

// learnt are the rows that a recipe trains on.
type learnt struct {
	columns       [][]float64
	label, weight []float64
	keys          train.Keys
}

// runAll runs the folds in their order and joins the parts of a test.
func (r *recipe) runAll(ctx context.Context, name string, folds []riskFold) ([]*riskScores, error) {
	var tested []*riskScores
	var peaks []train.Peak
	for i, f := range folds {
		tell("%s %s, %d of %d", name, f.name, i+1, len(folds))
		s, err := r.run(ctx, f, r.correction(peaks, f.start))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		peaks = append(peaks, train.Peaks(s.uncorrected, s.label, s.time)...)
		if n := len(tested); n > 0 && tested[n-1].fold == f.name {
			tested[n-1].add(s)
		} else {
			tested = append(tested, s)
		}
	}
	return tested, nil
}

// correction returns the factor of the odds at a time, by the peaks whose outcome
// was known by then.
func (r *recipe) correction(peaks []train.Peak, now float64) float64 {
	return train.Recalibrate(peaks, now-r.memory, now-r.horizon).Factor()
}

func (r *recipe) run(ctx context.Context, f riskFold, correction float64) (*riskScores, error) {
	l, err := r.sample(f)
	if err != nil {
		return nil, err
	}
	names, used := l.used(f.features)
	trained, err := r.train(ctx, l, names)
	if err != nil {
		return nil, err
	}
	judges, err := newJudges(trained, l.keys.Group)
	if err != nil {
		return nil, err
	}
	calibration, unseen, err := judges.calibrate(f, used)
	if err != nil {
		return nil, err
	}
	joined, err := ensemble(trained)
	if err != nil {
		return nil, err
	}
	out := &riskScores{fold: f.name, unseen: unseen}
	err = scoreRows(f.test, used, func(riskRow) *model.Ensemble { return joined }, func(row riskRow, score float64) {
		out.score = append(out.score, score)
		p := calibration.Probability(score)
		out.uncorrected = append(out.uncorrected, p)
		out.probability = append(out.probability, model.TimesOdds(p, correction))
		out.label = append(out.label, row.fails)
		out.component = append(out.component, row.component)
		out.time = append(out.time, row.time)
	})
	return out, err
}

// sample collects the rows to train on.
func (r *recipe) sample(f riskFold) (*learnt, error) {
	l := &learnt{columns: make([][]float64, len(f.features))}
	var row []float64
	err := f.train(func(x riskRow) error {
		label, weight := 1.0, 1.0
		if !x.fails {
			label, weight = 0, 1/r.share
			if lot(x.component, int(x.time)) >= r.share {
				return nil
			}
		}
		row = x.fill(row[:0])
		l.add(row, label, weight, x.component, x.time)
		return nil
	})
	return l, err
}

func (l *learnt) add(row []float64, label, weight float64, component int, time float64) {
	for c, v := range row {
		l.columns[c] = append(l.columns[c], v)
	}
	l.label, l.weight = append(l.label, label), append(l.weight, weight)
	l.keys.Group, l.keys.Time = append(l.keys.Group, component), append(l.keys.Time, time)
}

// lot returns a number in [0,1) that depends on its arguments only (the last
// steps of MurmurHash3).
func lot(a, b int) float64 {
	x := uint64(a)*0x9E3779B97F4A7C15 + uint64(b)*0xC2B2AE3D27D4EB4F
	x ^= x >> 33
	x *= 0xFF51AFD7ED558CCD
	x ^= x >> 33
	x *= 0xC4CEB9FE1A85EC53
	x ^= x >> 33
	return float64(x>>11) / (1 << 53)
}

// used returns the features that have a value in some row, by name and by place.
func (l *learnt) used(features []string) (names []string, used []int) {
	for c, column := range l.columns {
		if slices.ContainsFunc(column, func(v float64) bool { return v == v }) {
			names, used = append(names, features[c]), append(used, c)
		}
	}
	return names, used
}

func (r *recipe) train(ctx context.Context, l *learnt, names []string) (*train.Result, error) {
	var columns [][]float64
	for _, column := range l.columns {
		if slices.ContainsFunc(column, func(v float64) bool { return v == v }) {
			columns = append(columns, column)
		}
	}
	d, err := train.NewDataset(names, columns, l.label, l.weight, train.Spec{Objective: train.Binary})
	if err != nil {
		return nil, err
	}
	l.columns = nil // the dataset holds their bins
	return train.Bag{Members: r.members, HalfLife: r.half}.Train(ctx, d, nil, l.keys, r.params, nil)
}

// judges are the members, each for the components that it left out.
type judges struct {
	members []*model.Ensemble
	without map[int]int // member that left a component out
}

func newJudges(r *train.Result, component []int) (*judges, error) {
	j := &judges{without: map[int]int{}}
	for _, m := range r.Bagged.Members {
		e, err := ensemble(m)
		if err != nil {
			return nil, err
		}
		j.members = append(j.members, e)
	}
	for row, m := range r.Bagged.Without {
		j.without[component[row]] = m
	}
	return j, nil
}

// of returns the member that has not seen a component; of one that none has seen
// any.
func (j *judges) of(component int) *model.Ensemble {
	m, seen := j.without[component]
	if !seen {
		m = int(lot(component, -1) * float64(len(j.members)))
	}
	return j.members[m]
}

// calibrate fits the probabilities to what each member says of the components
// that it left out, in the newest training rows.
func (j *judges) calibrate(f riskFold, used []int) (c model.Calibration, held *unseenRows, err error) {
	held = &unseenRows{}
	err = scoreRows(f.held, used, func(x riskRow) *model.Ensemble { return j.of(x.component) }, func(x riskRow, score float64) {
		held.Raw, held.Label = append(held.Raw, score), append(held.Label, x.fails)
		held.Before = append(held.Before, model.Sigmoid(score))
		held.Group = append(held.Group, x.component)
		held.time = append(held.time, x.time)
	})
	if err != nil {
		return c, nil, err
	}
	c, _, err = train.Calibrate(held.Held, train.AutoCalibration)
	return c, held, err
}

// ensemble returns what was trained, as it would be read from its file.
func ensemble(r *train.Result) (*model.Ensemble, error) {
	text, err := r.Text()
	if err != nil {
		return nil, err
	}
	return model.ReadEnsemble(bytes.NewReader(text))
}

const scoreBatch = 4096

// scoreRows passes each row to done with its score by the model that judges it;
// used are the places of the model's features among the row's.
func scoreRows(rows func(func(riskRow) error) error, used []int, judge func(riskRow) *model.Ensemble, done func(riskRow, float64)) error {
	type batch struct {
		rows   []riskRow
		values []float64
	}
	waiting := map[*model.Ensemble]*batch{}
	var order []*model.Ensemble
	scores := make([]float64, scoreBatch)
	flush := func(e *model.Ensemble) error {
		b := waiting[e]
		if err := e.RawBatch(b.values, scores[:len(b.rows)]); err != nil {
			return err
		}
		for i, x := range b.rows {
			done(x, scores[i])
		}
		b.rows, b.values = b.rows[:0], b.values[:0]
		return nil
	}
	var row []float64
	err := rows(func(x riskRow) error {
		e := judge(x)
		b := waiting[e]
		if b == nil {
			b = &batch{}
			waiting[e] = b
			order = append(order, e)
		}
		row = x.fill(row[:0])
		for _, c := range used {
			b.values = append(b.values, row[c])
		}
		x.fill = nil
		if b.rows = append(b.rows, x); len(b.rows) == scoreBatch {
			return flush(e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, e := range order {
		if err := flush(e); err != nil {
			return err
		}
	}
	return nil
}

// baseline scores the test rows by XGBoost from a plain table, or reads the
// scores of a run before from the cache.
func (s *riskScores) baseline(ctx context.Context, px *peer, dir string, f fold) error {
	file := filepath.Join(dir, "xgboost.txt")
	scores, err := readScores(file)
	if err != nil || len(scores) != len(s.score) {
		t, err := writeTables(ctx, dir, f)
		if err != nil {
			return err
		}
		if !slices.Equal(t.label, s.label) || !slices.Equal(t.component, s.component) {
			return fmt.Errorf("the baseline's %d test rows are not the %d of ours", len(t.label), len(s.label))
		}
		p := evalParams(0, 1, 1)[0]
		if _, err := px.load(t.train, t.test, t.features, p.Threads); err != nil {
			return err
		}
		if scores, err = px.score(p, file); err != nil {
			return err
		}
		for _, table := range []string{t.train, t.test} {
			if err := os.Remove(table); err != nil {
				return err
			}
		}
	}
	if slices.ContainsFunc(scores, math.IsNaN) || len(scores) != len(s.score) {
		return fmt.Errorf("XGBoost scored %d of %d rows", len(scores), len(s.score))
	}
	s.plain = scores
	return nil
}
