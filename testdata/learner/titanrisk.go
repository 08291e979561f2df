package main

import "github.com/stratoswarm/forestall/train"

// titanRisk is Titan, by time. Our model is trained anew every four weeks while it
// is in use, on what is known by then; the baseline is trained once for each
// span, as in the comparison of the trainers.
func titanRisk() riskStudy {
	return riskStudy{
		name: "Titan", dir: "titan-gpu-life", horizon: "DBE or OTB within 30 days", unit: "GPU",
		recipe: recipe{params: gpuParams(), members: 5, share: 0.1, half: 180, horizon: gpuHorizon, memory: 182},
		bars:   riskBars{auc: map[string]float64{"2016H2": 0.84, "2017": 0.86, "2018-2019": 0.83}, above: true},
		folds: func(dir string) ([]riskFold, []fold, error) {
			f, err := readTitan(dir)
			if err != nil {
				return nil, nil, err
			}
			return gpuFolds(f), titanFolds(f, titanSpans), nil
		},
	}
}

// gpuParams are small trees on a third of the features each: events are few, and
// places many. The newest row weighs 1, and half a year ago half of that.
func gpuParams() train.Params {
	p := train.DefaultParams()
	p.Trees, p.LearningRate, p.Leaves, p.SampleFeatures = 100, 0.03, 8, 0.3
	p.MinLeaf, p.MinHessian, p.L2, p.Start = 1, 5, 0.5, 1
	p.SampleRows = 1 // half of them, the default, was worse in every span
	return p
}

// gpuSoon is the horizon that is trained for, in days. It is shorter than the
// one asked for, so that newer rows have their outcome; the calibration is for the
// one asked for.
const gpuSoon = 14

// gpuRetrain is how often the model is trained anew.
const gpuRetrain = 28 // days

// gpuFolds tests each span in parts. The half-year before a part calibrates.
func gpuFolds(f *fleet) (folds []riskFold) {
	g := newGPUFleet(f)
	for _, span := range titanSpans {
		end := min(span.to, int(titanEnd)-gpuHorizon) // nothing is known of the outcome of later rows
		for from, to := span.from, span.from; to < end; from = to {
			if to = from + gpuRetrain; to+gpuRetrain/2 > end {
				to = span.to
			}
			folds = append(folds, riskFold{
				name: span.name, features: gpuHistoryFeatures(), start: float64(from),
				train: func(emit func(riskRow) error) error { return g.emit(titanStart, from-gpuSoon, gpuSoon, emit) },
				held: func(emit func(riskRow) error) error {
					return g.emit(from-182-gpuHorizon, from-gpuHorizon, gpuHorizon, emit)
				},
				test: func(emit func(riskRow) error) error { return g.emit(from, to, gpuHorizon, emit) },
			})
		}
	}
	return folds
}
