package gpu

import "math"

// The simulated board: an A100 SXM4 80 GB.
const (
	boardName     = "NVIDIA A100-SXM4-80GB (simulated)"
	boardMemory   = 80 << 30 // bytes
	boardLimit    = 400.0    // W
	boardLinks    = 12       // NVLinks
	boardWidth    = 16       // PCIe lanes
	boardLinkGen  = 4        // PCIe generation
	idleClock     = 210e6    // Hz
	boostClock    = 1410e6   // Hz
	throttleClock = 345e6    // Hz, the lowest under thermal throttling
	clockStep     = 15e6     // Hz
	slowdownAt    = 88.0     // °C, where thermal throttling begins
	shutdownAt    = 98.0     // °C, where the board switches itself off
	capFrom       = 0.95     // share of the power limit from which the clock gives way
)

// reading is one value per metric, by place.
type reading [numMetrics]float64

// board fills in what a healthy board reports beside its calibrated metrics.
func (r *reading) board() {
	r[powerLimit] = boardLimit
	r[memoryTotal] = boardMemory
	r[pcieLinkWidth] = boardWidth
	r[pcieLinkGen] = boardLinkGen
	r[nvlinkActive] = boardLinks
}

// unfold bends the gauges of a healthy reading as far as the mode has come: x
// from 0, nothing yet, to 1, failed. Events and the counters that go with
// them are the milestones' and hazards' business.
func (m Mode) unfold(x float64, r *reading) {
	switch m {
	case ModeThermalRunaway:
		r[memoryTemperature] += (shutdownAt + 7 - r[memoryTemperature]) * math.Pow(x, 1.05)
		r[temperature] += (shutdownAt - r[temperature]) * math.Pow(x, 1.2)
	case ModeECCStorm:
		if x >= 0.5 {
			r[rowRemapPending] = 1
		}
		if x >= 1 {
			r[utilization], r[memoryUsed] = 0, 0
		}
	case ModeLinkDegradation:
		r[pcieLinkWidth] = steps(x, boardWidth, step{0.5, 8}, step{0.8, 4})
		r[pcieLinkGen] = steps(x, boardLinkGen, step{0.65, 3}, step{0.85, 1})
		r[nvlinkActive] = steps(x, boardLinks, step{0.9, 11}, step{0.95, 8})
		if floor := quantiles[1].power; r[power] > floor {
			r[power] -= 0.5 * x * x * (r[power] - floor)
		}
	}
}

// settle applies what follows from temperature and power whatever caused
// them, and the resolution of the board's own sensors.
func (r *reading) settle() {
	clock := idleClock
	if r[utilization] > 0 {
		clock = boostClock - 1.5e6*math.Max(0, r[power]-capFrom*boardLimit)
	}
	if r[temperature] >= slowdownAt {
		r[throttleThermal] = 1
		depth := math.Min(1, (r[temperature]-slowdownAt)/(shutdownAt-slowdownAt))
		held := math.Min(clock, boostClock-depth*(boostClock-throttleClock))
		r[power] *= 0.4 + 0.6*held/clock
		clock = held
	}
	r[smClock] = math.Round(clock/clockStep) * clockStep
	r[temperature] = math.Round(r[temperature])
	r[memoryTemperature] = math.Round(r[memoryTemperature])
	r[power] = math.Round(r[power]*10) / 10
	r[utilization] = math.Round(r[utilization]*100) / 100
	r[memoryUsed] = math.Round(r[memoryUsed]/(1<<20)) * (1 << 20)
}

// step is a value that holds from x on.
type step struct{ x, value float64 }

func steps(x, value float64, down ...step) float64 {
	for _, s := range down {
		if x >= s.x {
			value = s.value
		}
	}
	return value
}

// hazards are the rates, per second, of what is counted.
type hazards struct{ singleBit, replays, nvlink float64 }

// healthy are the rates of a device without a fault: one corrected error in
// five days, a replay in two hours, an NVLink error in an hour.
var healthy = hazards{singleBit: 1 / (5 * 86400.0), replays: 1 / 7200.0, nvlink: 1 / 3600.0}

// hazards returns what the mode adds to the healthy rates.
func (m Mode) hazards(x float64) hazards {
	switch m {
	case ModeECCStorm:
		return hazards{singleBit: 0.05 * math.Exp(6.9*x)}
	case ModeLinkDegradation:
		return hazards{replays: 0.05 * math.Exp(6*x), nvlink: 0.1 * math.Exp(7*x)}
	case ModeFallsOffBus:
		if x >= 0.95 {
			return hazards{replays: 2}
		}
	}
	return hazards{}
}

// milestone is an XID that comes when the mode has got as far as x, and what
// it adds to a counter.
type milestone struct {
	x       float64
	xid     int
	counter int // a metric's place; -1: none
}

// milestones returns the mode's, in their order.
func (m Mode) milestones() []milestone {
	switch m {
	case ModeThermalRunaway, ModeFallsOffBus:
		return []milestone{{1, XIDFellOffBus, -1}}
	case ModeECCStorm:
		return []milestone{
			{0.5, XIDRowRemap, rowRemaps},
			{0.65, XIDRowRemap, rowRemaps},
			{0.8, XIDRowRemap, rowRemaps},
			{0.9, XIDContained, eccDoubleBit},
			{1, XIDDoubleBit, eccDoubleBit},
			{1, XIDRowRemapFailed, -1},
			{1, XIDUncontained, -1},
		}
	case ModeLinkDegradation:
		return []milestone{{0.9, XIDNVLink, -1}, {0.95, XIDNVLink, -1}, {1, XIDFellOffBus, -1}}
	case ModeTelemetryCollapse:
		return []milestone{{0.95, XIDGSPTimeout, -1}, {1, XIDFellOffBus, -1}}
	}
	return nil
}

// vanishing is the order in which series go missing in a telemetry collapse.
var vanishing = [numMetrics]int{
	nvlinkErrors, nvlinkActive, memoryTemperature, rowRemaps, rowRemapPending,
	eccSingleBit, eccDoubleBit, pcieReplays, pcieLinkWidth, pcieLinkGen,
	throttleThermal, smClock, powerLimit, memoryTotal, memoryUsed, power,
	utilization, temperature,
}

// vanish turns into NaN what a telemetry collapse keeps from being reported at
// x. A series is missing in about every second reading, by u in 0..1, while
// x is within 0.1 of where it vanishes for good.
func (r *reading) vanish(x, u float64) {
	const first, last, flicker = 0.15, 0.85, 0.1
	for i, metric := range vanishing {
		at := first + flicker + (last-first-flicker)*float64(i)/(numMetrics-1)
		_, coin := math.Modf(u + 0.618*float64(i))
		if x >= at || x >= at-flicker && coin < 0.5 {
			r[metric] = math.NaN()
		}
	}
}
