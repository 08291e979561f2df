package main

import (
	"fmt"
	"time"

	"github.com/stratoswarm/forestall/train"
)

// driveRisk is Backblaze, quarter by quarter, on all drives.
func driveRisk() riskStudy {
	return riskStudy{
		name: "Backblaze", dir: "backblaze-smart", horizon: "fails within 10 days", unit: "drive",
		recipe: recipe{params: riskParams(), members: 5, share: 0.1, horizon: driveHorizon, memory: 101},
		bars:   riskBars{above: true},
		folds: func(dir string) ([]riskFold, []fold, error) {
			drives, err := readFleet(dir, true)
			if err != nil {
				return nil, nil, err
			}
			return driveFolds(drives), byQuarter(drives), nil
		},
	}
}

// riskParams are many small steps on half the features each, their splits chosen by
// half of the rows: members that differ.
func riskParams() train.Params {
	p := train.DefaultParams()
	p.Trees, p.LearningRate, p.SampleFeatures = 150, 0.05, 0.5
	p.MinLeaf, p.MinHessian = 1, 5
	return p
}

// driveFolds tests each quarter from 2014Q2 to 2016Q3 on a model of the 365 days
// before it whose outcomes were known when it began. The last quarter of these
// days calibrates.
func driveFolds(drives []drive) (folds []riskFold) {
	fleet := newDriveFleet(drives)
	for q := range 10 {
		year, month := 2014+(q+1)/4, time.Month((q+1)%4*3+1)
		from, to := day(year, month, 1), day(year, month+3, 1)
		folds = append(folds, riskFold{
			name: fmt.Sprintf("%dQ%d", year, (month+2)/3), features: fleetFeatures(),
			start: float64(from),
			train: func(emit func(riskRow) error) error { return fleet.emit(from-365, from-driveHorizon, emit) },
			held:  func(emit func(riskRow) error) error { return fleet.emit(from-91-driveHorizon, from-driveHorizon, emit) },
			test:  func(emit func(riskRow) error) error { return fleet.emit(from, to, emit) },
		})
	}
	return folds
}

// emit passes on the snapshots of the days in [from, to), as emitDrives does.
func (f *driveFleet) emit(from, to int, emit func(riskRow) error) error {
	for i := range f.drives {
		h := &f.drives[i]
		for at := from + (driveWeek-from%driveWeek)%driveWeek; at < to; at += driveWeek {
			fails, ok := h.outcome(at)
			if !ok || h.index(h.hours(at)) < 0 {
				continue
			}
			err := emit(riskRow{fails: fails, component: h.id, time: float64(at), fill: func(dst []float64) []float64 {
				dst, _ = f.features(dst, h, at)
				return dst
			}})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
