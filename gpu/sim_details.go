package gpu

import (
	"math"
	"time"

	"github.com/stratoswarm/forestall"
)

// simDetails are those of DetailNames that the simulated board has, in that
// order: each follows from one of its metrics, and is missing when that is.
var simDetails = []struct {
	name  string
	of    int
	value func(v float64) float64
}{
	{"gpu_temperature_slowdown_celsius", temperature, always(slowdownAt)},
	{"gpu_temperature_shutdown_celsius", temperature, always(shutdownAt)},
	{"gpu_temperature_max_celsius", temperature, always(slowdownAt - 3)},
	{"gpu_temperature_memory_max_celsius", memoryTemperature, always(slowdownAt + 7)},
	{"gpu_power_limit_default_watts", powerLimit, always(boardLimit)},
	{"gpu_power_limit_max_watts", powerLimit, always(boardLimit)},
	{"gpu_power_instant_watts", power, same},
	{"gpu_memory_clock_hertz", memoryUsed, always(1593e6)},
	{"gpu_sm_clock_max_hertz", smClock, always(boostClock)},
	{"gpu_memory_utilization_ratio", utilization, func(v float64) float64 { return math.Round(60*v) / 100 }},
	{"gpu_performance_state", smClock, func(v float64) float64 { return when(v <= idleClock, 8) }},
	{"gpu_throttle_power_cap", power, func(v float64) float64 { return when(v >= capFrom*boardLimit, 1) }},
	{"gpu_throttle_hw_slowdown", throttleThermal, same},
	{"gpu_throttle_hw_thermal", throttleThermal, same},
	{"gpu_throttle_sw_thermal", throttleThermal, always(0)},
	{"gpu_throttle_power_brake", throttleThermal, always(0)},
	{"gpu_ecc_sbe_aggregate_total", eccSingleBit, same},
	{"gpu_ecc_dbe_aggregate_total", eccDoubleBit, same},
	{"gpu_ecc_dram_sbe_total", eccSingleBit, same},
	{"gpu_ecc_dram_dbe_total", eccDoubleBit, same},
	{"gpu_ecc_dram_sbe_aggregate_total", eccSingleBit, same},
	{"gpu_ecc_dram_dbe_aggregate_total", eccDoubleBit, same},
	{"gpu_row_remap_correctable_total", rowRemaps, always(0)},
	{"gpu_row_remap_uncorrectable_total", rowRemaps, same},
	{"gpu_pcie_link_width_max", pcieLinkWidth, always(boardWidth)},
	{"gpu_pcie_link_generation_max", pcieLinkGen, always(boardLinkGen)},
}

func same(v float64) float64 { return v }

func always(value float64) func(float64) float64 { return func(float64) float64 { return value } }

func when(holds bool, value float64) float64 {
	if holds {
		return value
	}
	return 0
}

// details appends the details of a reading.
func (r *reading) details(dst []forestall.Sample, c forestall.Component, now time.Time) []forestall.Sample {
	for _, d := range simDetails {
		v := r[d.of]
		if !math.IsNaN(v) {
			v = d.value(v)
		}
		dst = append(dst, forestall.Sample{Component: c, Metric: d.name, Time: now, Value: v})
	}
	return dst
}
