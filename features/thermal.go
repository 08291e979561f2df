package features

import (
	"math"
	"time"
)

// thermalFit is how warm a GPU has been at which power: a line by least squares
// over its readings, an older one counting less (weights decay with thermalMemory;
// updated as in West 1979). A cooler that fails shows within minutes as a
// distance from the line, whatever the load does, also on a node with one GPU.
type thermalFit struct {
	readings       int
	last           time.Time
	weight         float64 // of all readings
	power, celsius float64 // weighted means
	spread, shared float64 // weighted sums of (p-mean)^2 and (p-mean)(t-mean)
}

const (
	thermalMemory  = 6 * time.Hour
	thermalMinimum = 30 // readings before a line is drawn
	thermalSpread  = 5  // W, standard deviation of power below which the line is level
)

// over returns how much warmer the GPU is at a power than its line says, in
// kelvin, and takes the reading into the line. Powers beyond three standard
// deviations are judged as if they lay there. NaN: too little has been read.
func (f *thermalFit) over(at time.Time, celsius, watts float64) float64 {
	if math.IsNaN(celsius) || math.IsNaN(watts) {
		return math.NaN()
	}
	over := math.NaN()
	if f.readings >= thermalMinimum {
		deviation := math.Sqrt(f.spread / f.weight)
		slope := 0.0
		if deviation >= thermalSpread {
			slope = max(f.shared/f.spread, 0)
		}
		over = celsius - f.celsius - slope*min(max(watts-f.power, -3*deviation), 3*deviation)
	}
	if !f.last.IsZero() {
		passed := at.Sub(f.last)
		if passed <= 0 {
			return over
		}
		kept := math.Exp(-passed.Seconds() / thermalMemory.Seconds())
		f.weight *= kept
		f.spread *= kept
		f.shared *= kept
		if f.weight < 0.1 { // what it was is long ago
			*f = thermalFit{}
		}
	}
	f.last = at
	f.readings++
	f.weight++
	dp, dt := watts-f.power, celsius-f.celsius
	f.power += dp / f.weight
	f.celsius += dt / f.weight
	f.spread += dp * (watts - f.power)
	f.shared += dp * (celsius - f.celsius)
	return over
}
