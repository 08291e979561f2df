package train

import (
	"fmt"

	"github.com/stratoswarm/forestall/model"
)

// AutoCalibration asks [Calibrate] to choose between Platt and isotonic.
const AutoCalibration model.Method = "auto"

// isotonicPositives is from how many positive rows on AutoCalibration takes an
// isotonic calibration: docs/train.md has the measurement.
const isotonicPositives = 1000

// reliabilityBins is what [model.ReliabilityBins] is asked for, of cards and
// pages.
const reliabilityBins = 10

// Held are rows that a model was not trained on, to calibrate it by.
type Held struct {
	Raw    []float64 // scores
	Label  []bool
	Before []float64 // probabilities without the calibration
	Group  []int     // component of each row, from 0; nil: not told
}

// Calibrate fits a calibration by a method, isotonic, platt or auto, and judges
// it: the rows are halved, by component where that is told, else into the first
// and the last rows, and each half is judged by a calibration fitted on the
// other. Where a half lacks a class, the calibration is judged on its own rows,
// and the result's Unseen is false.
func Calibrate(h Held, method model.Method) (model.Calibration, model.Reliability, error) {
	method = chooseCalibration(h, method)
	c, err := fitCalibration(h.Raw, h.Label, method)
	if err != nil {
		return c, model.Reliability{}, err
	}
	after, err := h.crossFitted(method)
	unseen := err == nil
	if !unseen {
		after = make([]float64, len(h.Raw))
		for i, raw := range h.Raw {
			after[i] = c.Probability(raw)
		}
	}
	r := model.NewReliability(h.Before, after, h.Label, reliabilityBins)
	r.Unseen = unseen
	return c, r, nil
}

func chooseCalibration(h Held, method model.Method) model.Method {
	if method != AutoCalibration {
		return method
	}
	positives := 0
	for _, y := range h.Label {
		if y {
			positives++
		}
	}
	if positives >= isotonicPositives && len(h.Label)-positives >= isotonicPositives {
		return model.Isotonic
	}
	return model.Platt
}

func fitCalibration(raw []float64, label []bool, method model.Method) (model.Calibration, error) {
	switch method {
	case model.Platt:
		return model.FitPlatt(raw, label)
	case model.Isotonic:
		return model.FitIsotonic(raw, label)
	}
	return model.Calibration{}, fmt.Errorf("calibration is %q; it must be %s, %s or %s", method, model.Platt, model.Isotonic, AutoCalibration)
}

// crossFitted returns each row's probability by a calibration of the half that
// the row is not in.
func (h *Held) crossFitted(method model.Method) ([]float64, error) {
	half := h.halves()
	var fitted [2]model.Calibration
	for side := range fitted {
		var raw []float64
		var label []bool
		for i, of := range half {
			if of != side {
				raw, label = append(raw, h.Raw[i]), append(label, h.Label[i])
			}
		}
		var err error
		if fitted[side], err = fitCalibration(raw, label, method); err != nil {
			return nil, err
		}
	}
	p := make([]float64, len(h.Raw))
	for i, raw := range h.Raw {
		p[i] = fitted[half[i]].Probability(raw)
	}
	return p, nil
}

// halves returns which half, 0 or 1, each row is in.
func (h *Held) halves() []int {
	half := make([]int, len(h.Raw))
	if h.Group == nil {
		for i := len(half) / 2; i < len(half); i++ {
			half[i] = 1
		}
		return half
	}
	for i := range half {
		half[i] = i
	}
	halfOf, _ := deal(componentsOf(h.Group, half, func(row int) bool { return h.Label[row] }, 0), 2)
	for i := range half {
		half[i] = halfOf[h.Group[i]]
	}
	return half
}
