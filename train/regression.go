package train

import (
	"errors"
	"math"
)

// Regression is how good predicted numbers are, in the unit of the label.
type Regression struct {
	Rows, Components int
	Resamples        int      // behind the intervals; 0: there are none
	RMSE             Estimate // root of the mean squared error
	MAE              Estimate // mean absolute error
	Bias             Estimate // mean of predicted less actual
	R2               Estimate // 1 - squared error / squared deviation from the mean; NaN where the label does not vary
}

// errorSums are sums over the rows of one unit that is drawn.
type errorSums struct{ n, square, absolute, signed, actual, actualSquare float64 }

func (s *errorSums) add(o errorSums, times float64) {
	s.n += times * o.n
	s.square += times * o.square
	s.absolute += times * o.absolute
	s.signed += times * o.signed
	s.actual += times * o.actual
	s.actualSquare += times * o.actualSquare
}

// figures returns RMSE, MAE, bias and R2.
func (s *errorSums) figures() [4]float64 {
	deviation := s.actualSquare - s.actual*s.actual/s.n
	r2 := math.NaN()
	if deviation > 0 {
		r2 = 1 - s.square/deviation
	}
	return [4]float64{math.Sqrt(s.square / s.n), s.absolute / s.n, s.signed / s.n, r2}
}

// EvaluateRegression compares predicted with actual numbers. group, which may be
// nil, has the number of each row's component, from 0; the intervals are then
// those of other components, else of other rows. Of the options Bootstrap, Seed
// and Threads count.
func EvaluateRegression(predicted, actual []float64, group []int32, o EvaluateOptions) (Regression, error) {
	if len(predicted) != len(actual) || group != nil && len(group) != len(actual) {
		return Regression{}, errors.New("predictions, labels and groups differ in number")
	}
	if len(actual) == 0 {
		return Regression{}, errors.New("there are no rows")
	}
	// Deviations are taken from the first label, so that large ones keep their
	// digits.
	var units []errorSums
	for i, y := range actual {
		at := i
		if group != nil {
			at = int(group[i])
		}
		for len(units) <= at {
			units = append(units, errorSums{})
		}
		e, y := predicted[i]-y, y-actual[0]
		units[at].add(errorSums{1, e * e, math.Abs(e), e, y, y * y}, 1)
	}
	var all errorSums
	for _, u := range units {
		all.add(u, 1)
	}
	r := Regression{Rows: len(actual), Resamples: resamplesOf(len(units), o.Bootstrap)}
	if group != nil {
		r.Components = len(units)
	}
	drawn := [4][]float64{}
	for k := range drawn {
		drawn[k] = make([]float64, r.Resamples)
	}
	resample(threads(o.Threads), len(units), r.Resamples, o.Seed, func(_, i int, weight []uint16) {
		var s errorSums
		for u, w := range weight {
			s.add(units[u], float64(w))
		}
		for k, v := range s.figures() {
			drawn[k][i] = v
		}
	})
	for k, v := range all.figures() {
		*[4]*Estimate{&r.RMSE, &r.MAE, &r.Bias, &r.R2}[k] = Estimate{v, interval(drawn[k])}
	}
	return r, nil
}
