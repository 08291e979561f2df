package anomaly

import (
	"math"
	"slices"
)

// Of how many peaks the tail is taken: of the highest quarter, so many at most.
const (
	mostTail  = 50
	leastTail = 10
)

// LeastPeaks is how many peaks [Rare] needs.
const LeastPeaks = 4 * leastTail

// Rare returns the level that so many of the peaks are expected to pass, fewer than
// one as a rule: the excess of the highest over those below them is taken for
// exponential (peaks over threshold, Pickands 1975, with shape 0). It is +Inf where
// the peaks are fewer than [LeastPeaks] or nothing is to pass. The peaks are sorted.
func Rare(peaks []float64, expected float64) float64 {
	if len(peaks) < LeastPeaks || !(expected > 0) {
		return math.Inf(1)
	}
	slices.Sort(peaks)
	tail := min(mostTail, len(peaks)/4)
	at := len(peaks) - tail - 1
	excess := 0.0
	for _, p := range peaks[at+1:] {
		excess += (p - peaks[at]) / float64(tail)
	}
	return peaks[at] + excess*math.Log(float64(tail)/expected)
}
