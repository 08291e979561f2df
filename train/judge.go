package train

import (
	"math"

	"github.com/stratoswarm/forestall/model"
)

// judge follows the model's quality on the validation set.
type judge struct {
	metric Metric
	d      *Dataset
	score  []float64 // raw
	label  []bool

	last, best float64
	bestTrees  int       // after how many trees it was best
	bestScore  []float64 // the scores then, where training may go back to it
}

func newJudge(valid *Dataset, p *Params) *judge {
	j := &judge{metric: p.Metric, d: valid, score: make([]float64, valid.rows), label: make([]bool, valid.rows)}
	if j.metric == "" {
		j.metric = LogLoss
		if valid.spec.Objective == L2 {
			j.metric = RMSE
		}
	}
	copy(j.score, valid.start)
	for i, y := range valid.label {
		j.label[i] = y == 1
	}
	return j
}

// begin judges the model that is gone on from, of that many trees.
func (j *judge) begin(trees int) {
	j.last = j.value()
	j.best, j.bestTrees = j.last, trees
}

// add judges the scores after a tree, the trees-th from 0, and reports whether
// they are the best so far.
func (j *judge) add(trees int) bool {
	j.last = j.value()
	if trees > 0 && !j.metric.Better(j.last, j.best) {
		return false
	}
	j.best, j.bestTrees = j.last, trees+1
	return true
}

// keep keeps the scores as the best.
func (j *judge) keep() { j.bestScore = append(j.bestScore[:0], j.score...) }

func (j *judge) value() float64 {
	switch j.metric {
	case AP:
		return model.AveragePrecision(j.score, j.label)
	case AUC:
		return model.ROCAUC(j.score, j.label)
	case RMSE:
		sum := 0.0
		for i, s := range j.score {
			sum += (s - j.d.label[i]) * (s - j.d.label[i])
		}
		return math.Sqrt(sum / float64(len(j.score)))
	}
	sum := 0.0
	for i, s := range j.score {
		if j.label[i] {
			s = -s
		}
		sum += math.Max(s, 0) + math.Log1p(math.Exp(-math.Abs(s)))
	}
	return sum / float64(len(j.score))
}
