package train

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/stratoswarm/forestall/model"
)

// Scored is a row that a model has judged.
type Scored struct {
	Probability float64
	Positive    bool
	Group       float64 // the component
	Time        float64 // in the table's unit
	Event       float64 // time of the incident that a positive row announces; NaN: not told
}

// Evaluation is how good a model is on a table. What is not defined, such as
// the AUC of rows of one class, is NaN.
type Evaluation struct {
	Rows, Positives int
	AP, AUC         float64
	LogLoss         float64 // nats per row
	Brier           float64
	BrierSkill      float64 // 1 - Brier / Brier of the base rate
	ECE             float64 // over 10 equally wide bins
	Alarms          []AlarmBudget
}

// AlarmBudget is what alarms catch when so many false ones are accepted. An
// alarm begins with a row of at least the threshold's probability and stands
// while the next rows of its group have it; while it stands it counts again
// after each unit of time.
type AlarmBudget struct {
	FalseAlarms float64 // accepted for each 1,000 units of time of a component
	Threshold   float64 // the lowest probability that keeps to it
	Incidents   int
	Caught      int     // incidents that were announced
	LeadMedian  float64 // units of time from the first alarm to the incident
	LeadP10     float64 // nine of ten had more
	Actual      float64 // false alarms for each 1,000 units
}

// budgets are the false alarms for each 1,000 units of component time that
// figures are given for.
var budgets = []float64{0.1, 1, 10}

// Evaluate measures scored rows. With grouped, rows of the same Group are one
// component's, and the alarms are judged too: an incident is a run of positive
// rows without a negative one between, and happens at its Event or, where that
// is not told, at its last row.
func Evaluate(rows []Scored, grouped bool) (Evaluation, error) {
	p, y := make([]float64, len(rows)), make([]bool, len(rows))
	e := Evaluation{Rows: len(rows)}
	for i, r := range rows {
		p[i], y[i] = r.Probability, r.Positive
		if r.Positive {
			e.Positives++
		}
	}
	e.AP, e.AUC = model.AveragePrecision(p, y), model.ROCAUC(p, y)
	e.LogLoss, e.Brier, e.BrierSkill = model.LogLoss(p, y), model.Brier(p, y), model.BrierSkill(p, y)
	e.ECE = model.ECE(p, y, 10)
	if !grouped {
		return e, nil
	}
	t, err := newTimeline(rows)
	if err != nil {
		return e, err
	}
	for _, b := range budgets {
		e.Alarms = append(e.Alarms, t.budget(b))
	}
	return e, nil
}

// timeline is the rows of each component in the order of time.
type timeline struct {
	rows      []Scored
	exposure  float64   // units of component time without an incident ahead
	incidents int       // runs of positive rows
	scores    []float64 // thresholds to try, rising
}

func newTimeline(rows []Scored) (*timeline, error) {
	t := &timeline{rows: slices.Clone(rows)}
	slices.SortStableFunc(t.rows, func(a, b Scored) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Time, b.Time))
	})
	for i := range t.rows {
		r := &t.rows[i]
		t.scores = append(t.scores, r.Probability)
		if r.Group != r.Group || r.Time != r.Time {
			return nil, fmt.Errorf("a row has no group or no time")
		}
		same := i > 0 && t.rows[i-1].Group == r.Group
		if r.Positive {
			if !same || !t.rows[i-1].Positive {
				t.incidents++
			}
			continue
		}
		if same {
			t.exposure += r.Time - t.rows[i-1].Time
		}
	}
	slices.Sort(t.scores)
	t.scores = slices.Compact(t.scores)
	return t, nil
}

// budget finds the lowest threshold that keeps to the rate of false alarms. Two
// alarms may join as it falls, so the rate is not quite monotone; the search
// takes it to be.
func (t *timeline) budget(accepted float64) AlarmBudget {
	allowed := accepted * t.exposure / 1000
	n := sort.Search(len(t.scores), func(i int) bool {
		return float64(t.alarms(t.scores[i]).falseAlarms) <= allowed
	})
	threshold := 1.0
	switch {
	case n < len(t.scores):
		threshold = t.scores[n]
	case len(t.scores) > 0:
		threshold = math.Nextafter(t.scores[len(t.scores)-1], 2)
	}
	a := t.alarms(threshold)
	slices.Sort(a.leads)
	return AlarmBudget{
		FalseAlarms: accepted, Threshold: threshold, Incidents: t.incidents, Caught: len(a.leads),
		LeadMedian: quantile(a.leads, 0.5), LeadP10: quantile(a.leads, 0.1),
		Actual: float64(a.falseAlarms) / t.exposure * 1000,
	}
}

// alarms is what a threshold gives.
type alarms struct {
	falseAlarms int
	leads       []float64 // of the incidents that were announced
}

func (t *timeline) alarms(threshold float64) (a alarms) {
	counted := 0.0 // when the alarm that stands was counted last
	for i := 0; i < len(t.rows); {
		r := t.rows[i]
		if !r.Positive {
			stands := i > 0 && t.rows[i-1].Group == r.Group && !t.rows[i-1].Positive && t.rows[i-1].Probability >= threshold
			if r.Probability >= threshold && (!stands || r.Time-counted >= 1) {
				a.falseAlarms++
				counted = r.Time
			}
			i++
			continue
		}
		first, last := -1, i
		for ; last < len(t.rows) && t.rows[last].Positive && t.rows[last].Group == r.Group; last++ {
			if first < 0 && t.rows[last].Probability >= threshold {
				first = last
			}
		}
		if first >= 0 {
			event := t.rows[first].Event
			if event != event {
				event = t.rows[last-1].Time
			}
			a.leads = append(a.leads, event-t.rows[first].Time)
		}
		i = last
	}
	return a
}

// quantile returns the q-quantile of rising values, NaN of none.
func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	return v[int(q*float64(len(v)-1)+0.5)]
}
