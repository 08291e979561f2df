package train

import (
	"fmt"
	"math"
)

// EvaluateOptions say how [Evaluate] measures.
type EvaluateOptions struct {
	Budgets    []float64 // false alarms accepted for each 1,000 component-days; nil: 0.1, 1 and 10
	Thresholds []float64 // probabilities, chosen on another table, to give the figures for
	Unit       TimeUnit  // of the times
	Lead       float64   // an alarm with less time left than this, in Unit, is late
	Bootstrap  int       // resamples for the intervals; 0: no intervals
	Seed       uint64    // of the resamples
	Threads    int       // 0: one per processor; the result does not depend on it
	Detail     int       // examples of each kind and the curves for a report; 0: none
}

// DefaultBudgets are the false alarms for each 1,000 component-days that
// figures are given for.
func DefaultBudgets() []float64 { return []float64{0.1, 1, 10} }

// Validate names the option that is not usable.
func (o *EvaluateOptions) Validate() error {
	for _, b := range o.Budgets {
		if !(b > 0) || math.IsInf(b, 0) {
			return fmt.Errorf("budget is %v; it must be a positive number of false alarms", b)
		}
	}
	for _, p := range o.Thresholds {
		if !(p > 0 && p <= 1) {
			return fmt.Errorf("threshold is %v; it must be a probability above 0", p)
		}
	}
	switch {
	case !(o.Lead >= 0) || math.IsInf(o.Lead, 0):
		return fmt.Errorf("lead is %v; it must be a time of 0 or more", o.Lead)
	case o.Bootstrap < 0 || o.Bootstrap > maxResamples:
		return fmt.Errorf("bootstrap is %d; it must be 0 to %d resamples", o.Bootstrap, maxResamples)
	case o.Threads < 0:
		return fmt.Errorf("threads is %d; it must be 0 or more", o.Threads)
	case o.Detail < 0:
		return fmt.Errorf("detail is %d; it must be 0 or more", o.Detail)
	}
	return nil
}

// maxResamples bounds the memory that the resamples' figures take.
const maxResamples = 100_000

// Estimate is a figure with its 95 % interval; what is not defined, such as the
// AUC of rows of one class, is NaN.
type Estimate struct {
	Value float64
	Interval
}

// Evaluation is how good a model is on a table. Its intervals come from drawing
// whole components, or rows where those are not told, with replacement; that of the
// rate of false alarms is the wider of that one and the exact one of a Poisson
// process (Garwood 1936), at each end.
type Evaluation struct {
	Rows, Positives int
	Components      int     // 0: not told
	Incidents       int     // 0 without times
	Exposure        float64 // observed component time without an incident ahead, in Rate
	Rate            string  // what alarms are counted over: "days", or the table's unit of time
	Resamples       int     // 0: there are no intervals, for none were asked for or there is one component or row

	AP, AUC    Estimate
	LogLoss    Estimate // nats per row
	Brier      Estimate
	BrierSkill Estimate // 1 - Brier / Brier of the base rate
	ECE        Estimate // over 10 equally wide bins
	Top        []TopShare
	Alarms     []Alarms // given thresholds first, then budgets
	Detail     *Detail  // nil unless asked for
}

// TopShare is what is among the rows with the highest probabilities. Rows of
// equal probability at the edge count in proportion.
type TopShare struct {
	Share     float64 // of all rows
	Precision Estimate
	Recall    Estimate
}

// topShares are the shares of rows that figures are given for.
var topShares = []float64{0.001, 0.01, 0.05}

// Evaluate measures scored rows. Where s tells components and times, alarms are
// judged too; see [Alarms]. It puts the rows of s in another order.
func Evaluate(s *Scores, opt EvaluateOptions) (*Evaluation, error) {
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	m := newMeasures(s, &opt)
	e := &m.e
	e.set(m.figures(ones(m.units), nil), nil)
	workers := threads(opt.Threads)
	width := len(e.estimates())
	resampled := make([]float64, width*e.Resamples)
	resample(workers, m.units, e.Resamples, opt.Seed, func(_, i int, weight []uint16) {
		m.figures(weight, resampled[i*width:i*width:(i+1)*width])
	})
	if e.Resamples > 0 {
		e.set(nil, resampled)
		// Resamples know nothing of what was not seen: without a false alarm all
		// of them have none.
		for i := range e.Alarms {
			if a := &e.Alarms[i]; e.Exposure > 0 {
				exact, scale := poissonInterval(a.FalseAlarms), 1000/e.Exposure
				a.Rate.Interval = a.Rate.widen(Interval{scale * exact.Low, scale * exact.High})
			}
		}
	}
	if opt.Detail > 0 {
		e.Detail = m.detail(opt.Detail, workers)
	}
	return e, nil
}

// estimates lists the figures in the order of [measures.figures].
func (e *Evaluation) estimates() []*Estimate {
	all := []*Estimate{&e.AP, &e.AUC, &e.LogLoss, &e.Brier, &e.BrierSkill, &e.ECE}
	for i := range e.Top {
		all = append(all, &e.Top[i].Precision, &e.Top[i].Recall)
	}
	for i := range e.Alarms {
		a := &e.Alarms[i]
		all = append(all, &a.RowPrecision, &a.RowRecall)
		if e.Rate != "" {
			all = append(all, &a.Rate, &a.Caught, &a.Late, &a.Components, &a.Precision, &a.LeadMedian, &a.LeadP10)
		}
	}
	return all
}

// set fills in the values, or the intervals from the resamples' figures one
// resample after the other.
func (e *Evaluation) set(values, resampled []float64) {
	all := e.estimates()
	for k, f := range all {
		if values != nil {
			*f = Estimate{values[k], Interval{math.NaN(), math.NaN()}}
			continue
		}
		column := make([]float64, 0, len(resampled)/len(all))
		for i := k; i < len(resampled); i += len(all) {
			column = append(column, resampled[i])
		}
		f.Interval = interval(column)
	}
}
