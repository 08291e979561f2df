package gpu

// The metrics of a GPU, each named with its unit. Those ending in _total are
// counters since the driver was loaded; the others are gauges.
const (
	MetricTemperature       = "gpu_temperature_celsius"        // of the die
	MetricMemoryTemperature = "gpu_memory_temperature_celsius" // of the HBM stacks
	MetricPower             = "gpu_power_watts"                // drawn by the board
	MetricPowerLimit        = "gpu_power_limit_watts"          // enforced
	MetricUtilization       = "gpu_utilization_ratio"          // share of time with a kernel running, 0 to 1
	MetricMemoryUsed        = "gpu_memory_used_bytes"          //
	MetricMemoryTotal       = "gpu_memory_total_bytes"         //
	MetricSMClock           = "gpu_sm_clock_hertz"             //
	MetricThrottleThermal   = "gpu_throttle_thermal"           // 1 while clocks are held down for heat, else 0
	MetricECCSingleBit      = "gpu_ecc_sbe_total"              // corrected memory errors
	MetricECCDoubleBit      = "gpu_ecc_dbe_total"              // uncorrectable memory errors
	MetricRowRemapPending   = "gpu_row_remap_pending"          // 1 while a remapped row waits for a reset, else 0
	MetricRowRemaps         = "gpu_row_remap_total"            // memory rows remapped
	MetricPCIeReplays       = "gpu_pcie_replay_total"          // packets that were sent again
	MetricPCIeLinkWidth     = "gpu_pcie_link_width"            // lanes in use
	MetricPCIeLinkGen       = "gpu_pcie_link_generation"       // in use
	MetricNVLinkErrors      = "gpu_nvlink_errors_total"        // CRC, replay and recovery errors over all links
	MetricNVLinkActive      = "gpu_nvlink_active_links"        // links that are up
)

// The places of the metrics in a reading, and so their order in what Read
// appends.
const (
	temperature = iota
	memoryTemperature
	power
	powerLimit
	utilization
	memoryUsed
	memoryTotal
	smClock
	throttleThermal
	eccSingleBit
	eccDoubleBit
	rowRemapPending
	rowRemaps
	pcieReplays
	pcieLinkWidth
	pcieLinkGen
	nvlinkErrors
	nvlinkActive
	numMetrics
)

var metricNames = [numMetrics]string{
	temperature:       MetricTemperature,
	memoryTemperature: MetricMemoryTemperature,
	power:             MetricPower,
	powerLimit:        MetricPowerLimit,
	utilization:       MetricUtilization,
	memoryUsed:        MetricMemoryUsed,
	memoryTotal:       MetricMemoryTotal,
	smClock:           MetricSMClock,
	throttleThermal:   MetricThrottleThermal,
	eccSingleBit:      MetricECCSingleBit,
	eccDoubleBit:      MetricECCDoubleBit,
	rowRemapPending:   MetricRowRemapPending,
	rowRemaps:         MetricRowRemaps,
	pcieReplays:       MetricPCIeReplays,
	pcieLinkWidth:     MetricPCIeLinkWidth,
	pcieLinkGen:       MetricPCIeLinkGen,
	nvlinkErrors:      MetricNVLinkErrors,
	nvlinkActive:      MetricNVLinkActive,
}

// MetricNames returns the names of all metrics in the order in which Read
// appends them.
func MetricNames() []string { return append([]string(nil), metricNames[:]...) }
