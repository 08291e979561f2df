package predict

import (
	"math"

	"github.com/stratoswarm/forestall/model"
)

// Alarms are counted at these thresholds: evenly spaced in log-odds from 0.1 %
// to 99.9 %, each about 16 % above the one before where probabilities are
// small. The number is part of what an engine keeps on disk.
const (
	levels     = 93
	levelRange = 6.906754778648554 // log-odds of 0.999
	levelStep  = 2 * levelRange / (levels - 1)
)

// levelAt returns threshold i, from 0.
func levelAt(i int) float64 { return model.Sigmoid(-levelRange + float64(i)*levelStep) }

// levelsUpTo returns how many thresholds the probability reaches.
func levelsUpTo(p float64) int {
	switch {
	case !(p > 0):
		return 0
	case p >= 1:
		return levels
	}
	n := int(math.Floor((math.Log(p/(1-p))+levelRange)/levelStep)) + 1
	n = min(max(n, 0), levels)
	for n < levels && levelAt(n) <= p { // what rounding missed
		n++
	}
	for n > 0 && levelAt(n-1) > p {
		n--
	}
	return n
}
