package main

import "github.com/stratoswarm/forestall/train"

// titanRisk is Titan, by time. Our model is trained anew every four weeks while it
// is in use, on what is known by then; the baseline is trained once for each
// span, as in the comparison of the trainers.
func titanRisk() riskStudy {
	return riskStudy{
		name: "Titan", dir: "titan-gpu-life", horizon: "DBE or OTB within 30 days", unit: "GPU",
		recipe: recipe{params: gpuParams(), members: 3, share: 0.1, half: 180, horizon: gpuHorizon, memory: 182},
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
// places many.
func gpuParams() train.Params {
	p := train.DefaultParams()
	p.Trees, p.LearningRate, p.Leaves, p.SampleFeatures = 100, 0.03, 8, 0.3
	p.MinLeaf, p.MinHessian, p.Start = 1, 10, 1
	return p
}

// gpuRetrain is how often the model is trained anew.
const gpuRetrain = 28 // days

// gpuFolds tests each span in parts. The half-year before a part calibrates.
func gpuFolds(f *fleet) (folds []riskFold) {
	g := newGPUFleet(f)
	for _, span := range titanSpans {
		for from := span.from; from < span.to-gpuHorizon; from += gpuRetrain {
			to := min(from+gpuRetrain, span.to)
			if to > span.to-gpuHorizon {
				to = span.to // nothing is known of the last rows
			}
			folds = append(folds, riskFold{
				name: span.name, features: gpuHistoryFeatures(), start: float64(from),
				recent: float64(from - 182 - gpuHorizon),
				train:  func(emit func(riskRow) error) error { return g.emit(titanStart, from-gpuHorizon, emit) },
				test:   func(emit func(riskRow) error) error { return g.emit(from, to, emit) },
			})
			if to == span.to {
				break
			}
		}
	}
	return folds
}
