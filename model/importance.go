package model

import "math"

// Gain returns for each feature how much its splits improved the loss in
// training, as the model's text tells; all 0 where it does not.
func (e *Ensemble) Gain() []float64 {
	gain := make([]float64, len(e.features))
	copy(gain, e.gain)
	return gain
}

// addGain adds what the splits of a tree gained.
func (e *Ensemble) addGain(t *Tree) {
	if e.gain == nil {
		e.gain = make([]float64, len(e.features))
	}
	for _, s := range t.Splits {
		if s.Gain > 0 && !math.IsInf(s.Gain, 0) { // else it says nothing
			e.gain[s.Feature] += s.Gain
		}
	}
}
