package train

import (
	"cmp"
	"math"
	"slices"

	"github.com/stratoswarm/forestall/model"
)

// Detail is what a report draws. A curve has at most curvePoints points.
type Detail struct {
	PR          []XY // recall, precision; the precision of a point holds back to the point before
	ROC         []XY // false positive rate, true positive rate
	Reliability []model.ReliabilityBin
	Scores      Histogram
	Budgets     []BudgetPoint // rising rate; nil without times
	Leads       [][]XY        // per [Evaluation.Alarms]: time left, share of incidents caught with at least that; nil without times
	FalseAlarms []Example     // the highest probabilities without an incident, one of each component
	Misses      []Example     // the incidents with the lowest peaks
}

// XY is a point of a curve.
type XY struct{ X, Y float64 }

// BudgetPoint is what one threshold gives.
type BudgetPoint struct {
	Threshold float64
	Rate      float64 // false alarms for each 1,000 days of a component
	Caught    float64 // share of the incidents
}

// Histogram counts the rows of each class in equally wide bins of log-odds from
// Low to High. The first and the last bin hold what lies outside too.
type Histogram struct {
	Low, High          float64
	Negative, Positive []int
}

// Example is one row that is worth a look.
type Example struct {
	Row         int    // of the table, from 0
	Component   string // empty: not told
	Time        float64
	Event       float64 // when the component's incident happens that is next or under way; NaN: there is none, or times are not told
	Probability float64
}

const (
	curvePoints   = 500
	budgetPoints  = 100
	histogramBins = 50
)

func (m *measures) detail(examples, workers int) *Detail {
	s := m.scores
	d := &Detail{
		PR: m.rank.pr(), ROC: m.rank.roc(), Scores: m.rank.histogram(),
		Reliability: model.ReliabilityBins(s.Probability, s.Positive, reliabilityBins),
	}
	d.FalseAlarms, d.Misses = m.examples(examples)
	if m.line == nil {
		return d
	}
	d.Budgets = m.budgetCurve(workers)
	for _, p := range m.points {
		d.Leads = append(d.Leads, p.leadCurve(m.e.Incidents))
	}
	return d
}

// pr returns the precision-recall curve at its positive scores, thinned to
// steps of recall where there are many.
func (r *ranking) pr() (curve []XY) {
	positives := 0
	for _, k := range r.key {
		positives += int(k & 1)
	}
	step := max(1, positives/(curvePoints-2))
	tp, last := 0, 0
	for i, k := range r.key {
		tp += int(k & 1)
		if tied := i+1 < len(r.key) && r.score[i+1] == r.score[i]; tied || tp == last || tp-last < step && tp < positives {
			continue
		}
		curve = append(curve, XY{float64(tp) / float64(positives), float64(tp) / float64(i+1)})
		if last = tp; tp == positives {
			break
		}
	}
	return curve
}

// roc returns the ROC curve in steps of at least 1/240 to the right or up; nil
// of one class.
func (r *ranking) roc() []XY {
	positives := 0
	for _, k := range r.key {
		positives += int(k & 1)
	}
	negatives := len(r.key) - positives
	if positives == 0 || negatives == 0 {
		return nil
	}
	const step = 1. / 240
	curve := []XY{{0, 0}}
	tp := 0
	for i, k := range r.key {
		tp += int(k & 1)
		if i+1 < len(r.key) && r.score[i+1] == r.score[i] {
			continue
		}
		at, last := XY{float64(i+1-tp) / float64(negatives), float64(tp) / float64(positives)}, curve[len(curve)-1]
		if at.X-last.X >= step || at.Y-last.Y >= step || i+1 == len(r.key) {
			curve = append(curve, at)
		}
	}
	return curve
}

// histogram spreads its bins from the lowest to the highest probability, at
// most from 1e-6 to 1-1e-6.
func (r *ranking) histogram() Histogram {
	logit := func(p float64) float64 {
		p = min(max(p, 1e-6), 1-1e-6)
		return math.Log(p / (1 - p))
	}
	h := Histogram{Low: logit(r.score[len(r.score)-1]), High: logit(r.score[0]), Negative: make([]int, histogramBins), Positive: make([]int, histogramBins)}
	if h.Low == h.High {
		h.Low, h.High = h.Low-1, h.High+1
	}
	for i, p := range r.score {
		bin := min(int((logit(p)-h.Low)/(h.High-h.Low)*histogramBins), histogramBins-1)
		if r.key[i]&1 == 1 {
			h.Positive[bin]++
		} else {
			h.Negative[bin]++
		}
	}
	return h
}

// budgetCurve tries the thresholds of the alarms and those of the ranks 1 to
// all, in equal ratios.
func (m *measures) budgetCurve(workers int) []BudgetPoint {
	score := m.rank.score
	var thresholds []float64
	for k := range budgetPoints {
		rank := math.Pow(float64(len(score)), float64(k)/(budgetPoints-1))
		thresholds = append(thresholds, score[min(int(rank), len(score))-1])
	}
	for _, a := range m.e.Alarms {
		thresholds = append(thresholds, a.Threshold)
	}
	slices.SortFunc(thresholds, func(a, b float64) int { return cmp.Compare(b, a) })
	thresholds = slices.Compact(thresholds)
	out := make([]BudgetPoint, len(thresholds))
	parallel(workers, len(out), func(_, i int) {
		t := m.line
		out[i] = BudgetPoint{Threshold: thresholds[i], Rate: 1000 * ratio(float64(t.countFalse(thresholds[i])), t.total)}
		caught := 0
		for _, in := range t.incidents {
			if row, left := t.alarm(in, thresholds[i]); row >= 0 && left >= t.lead {
				caught++
			}
		}
		out[i].Caught = ratio(float64(caught), float64(len(t.incidents)))
	})
	slices.SortStableFunc(out, func(a, b BudgetPoint) int { return cmp.Compare(a.Rate, b.Rate) })
	return out
}

// leadCurve returns the share of so many incidents that was caught with at
// least that time left, at the times where it falls.
func (p *point) leadCurve(incidents int) (curve []XY) {
	step := max(1, len(p.leads)/curvePoints)
	for i := len(p.leads) - 1; i >= 0; i-- {
		if i%step == 0 {
			curve = append(curve, XY{p.leads[i].left, float64(len(p.leads)-i) / float64(incidents)})
		}
	}
	slices.Reverse(curve)
	return curve
}
