package main

import (
	"fmt"
	"math"
)

// cmapssRisk is a set of C-MAPSS: nearly saturated, a check of trainer and
// evaluation.
func cmapssRisk(set string) riskStudy {
	params := riskParams()
	params.Trees, params.Leaves, params.MinHessian, params.SampleFeatures, params.Start = 300, 15, 1, 0.3, 1
	return riskStudy{
		name: "C-MAPSS " + set, dir: "cmapss", horizon: "fails within 30 cycles", unit: "engine", leads: true,
		recipe: recipe{params: params, members: 5, share: 1},
		bars:   riskBars{auc: map[string]float64{set: 0.997}},
		folds: func(dir string) ([]riskFold, []fold, error) {
			learn, test, err := readCmapss(dir, set)
			if err != nil {
				return nil, nil, err
			}
			f := riskFold{
				name: set, features: engineFeatures(),
				train: func(emit func(riskRow) error) error { return emitEngineRisks(learn, emit) },
				held:  func(emit func(riskRow) error) error { return emitEngineRisks(learn, emit) },
				test:  func(emit func(riskRow) error) error { return emitEngineRisks(test, emit) },
			}
			return []riskFold{f}, []fold{cmapssFold(set, learn, test)}, nil
		},
	}
}

// What an engine has shown, beside the means: averages that fade, and how far the
// newest readings are from its first ones.
const (
	engineFade  = 20 // cycles in which a reading counts half
	engineFirst = 20 // cycles that are its beginning
	engineNow   = 15
)

func engineFeatures() []string {
	names := cmapssFeatures()
	n := len(names)
	for _, name := range names[1 : 1+cmapssColumns] {
		names = append(names, fmt.Sprintf("%s_ewma%d", name, engineFade), name+"_since_first")
	}
	return names[:n+2*cmapssColumns]
}

func (e *engine) history(dst []float64, at int) []float64 {
	dst = append(dst, e.features(at)...)
	keep := math.Exp2(-1.0 / engineFade)
	for c := range cmapssColumns {
		sum, weight := 0.0, 0.0
		for i := 0; i <= at; i++ {
			sum, weight = sum*keep+e.cycles[i][c], weight*keep+1
		}
		dst = append(dst, sum/weight, e.mean(c, at+1-engineNow, at+1)-e.mean(c, 0, min(engineFirst, at+1)))
	}
	return dst
}

// mean returns a column's mean over the cycles in [from, to).
func (e *engine) mean(column, from, to int) (sum float64) {
	from = max(0, from)
	for i := from; i < to; i++ {
		sum += e.cycles[i][column]
	}
	return sum / float64(to-from)
}

func emitEngineRisks(engines []engine, emit func(riskRow) error) error {
	for i := range engines {
		e := &engines[i]
		for at := range e.cycles {
			x := riskRow{
				fails: e.remaining(at) <= cmapssHorizon, component: e.unit, time: float64(at + 1),
				fill: func(dst []float64) []float64 { return e.history(dst, at) },
			}
			if err := emit(x); err != nil {
				return err
			}
		}
	}
	return nil
}
