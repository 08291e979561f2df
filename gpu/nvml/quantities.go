//go:build cgo && linux

package nvml

import (
	nv "github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/stratoswarm/forestall/gpu"
)

// quantity is a value that one function of the library gives.
type quantity struct {
	metric string
	symbol string // of the function
	fixed  bool   // it does not change: read once
	read   func(nv.Device) (float64, nv.Return)
}

const (
	nano  = 1e-9
	milli = 1e-3
	mega  = 1e6
)

// scaled makes a quantity's read of a function of the library.
func scaled[N int | uint32 | uint64 | nv.Pstates](call func(nv.Device) (N, nv.Return), scale float64) func(nv.Device) (float64, nv.Return) {
	return func(d nv.Device) (float64, nv.Return) {
		v, ret := call(d)
		return float64(v) * scale, ret
	}
}

func clock(of nv.ClockType) func(nv.Device) (uint32, nv.Return) {
	return func(d nv.Device) (uint32, nv.Return) { return d.GetClockInfo(of) }
}

func threshold(of nv.TemperatureThresholds) func(nv.Device) (float64, nv.Return) {
	return scaled(func(d nv.Device) (uint32, nv.Return) { return d.GetTemperatureThreshold(of) }, 1)
}

func ecc(kind nv.MemoryErrorType, span nv.EccCounterType) func(nv.Device) (float64, nv.Return) {
	return scaled(func(d nv.Device) (uint64, nv.Return) { return d.GetTotalEccErrors(kind, span) }, 1)
}

func sram(kind nv.MemoryErrorType, span nv.EccCounterType) func(nv.Device) (float64, nv.Return) {
	return scaled(func(d nv.Device) (uint64, nv.Return) {
		return d.GetMemoryErrorCounter(kind, span, nv.MEMORY_LOCATION_SRAM)
	}, 1)
}

const (
	corrected   = nv.MEMORY_ERROR_TYPE_CORRECTED
	uncorrected = nv.MEMORY_ERROR_TYPE_UNCORRECTED
)

var quantities = []quantity{
	{gpu.MetricTemperature, "nvmlDeviceGetTemperature", false, scaled(func(d nv.Device) (uint32, nv.Return) { return d.GetTemperature(nv.TEMPERATURE_GPU) }, 1)},
	{gpu.MetricPower, "nvmlDeviceGetPowerUsage", false, scaled(nv.Device.GetPowerUsage, milli)},
	{gpu.MetricPowerLimit, "nvmlDeviceGetEnforcedPowerLimit", false, scaled(nv.Device.GetEnforcedPowerLimit, milli)},
	{gpu.MetricSMClock, "nvmlDeviceGetClockInfo", false, scaled(clock(nv.CLOCK_SM), mega)},
	{gpu.MetricECCSingleBit, "nvmlDeviceGetTotalEccErrors", false, ecc(corrected, nv.VOLATILE_ECC)},
	{gpu.MetricECCDoubleBit, "nvmlDeviceGetTotalEccErrors", false, ecc(uncorrected, nv.VOLATILE_ECC)},
	{gpu.MetricPCIeReplays, "nvmlDeviceGetPcieReplayCounter", false, scaled(nv.Device.GetPcieReplayCounter, 1)},
	{gpu.MetricPCIeLinkWidth, "nvmlDeviceGetCurrPcieLinkWidth", false, scaled(nv.Device.GetCurrPcieLinkWidth, 1)},
	{gpu.MetricPCIeLinkGen, "nvmlDeviceGetCurrPcieLinkGeneration", false, scaled(nv.Device.GetCurrPcieLinkGeneration, 1)},

	{"gpu_temperature_slowdown_celsius", "nvmlDeviceGetTemperatureThreshold", true, threshold(nv.TEMPERATURE_THRESHOLD_SLOWDOWN)},
	{"gpu_temperature_shutdown_celsius", "nvmlDeviceGetTemperatureThreshold", true, threshold(nv.TEMPERATURE_THRESHOLD_SHUTDOWN)},
	{"gpu_temperature_max_celsius", "nvmlDeviceGetTemperatureThreshold", true, threshold(nv.TEMPERATURE_THRESHOLD_GPU_MAX)},
	{"gpu_temperature_memory_max_celsius", "nvmlDeviceGetTemperatureThreshold", true, threshold(nv.TEMPERATURE_THRESHOLD_MEM_MAX)},
	{"gpu_power_limit_default_watts", "nvmlDeviceGetPowerManagementDefaultLimit", true, scaled(nv.Device.GetPowerManagementDefaultLimit, milli)},
	{"gpu_power_limit_max_watts", "nvmlDeviceGetPowerManagementLimitConstraints", true, func(d nv.Device) (float64, nv.Return) {
		_, most, ret := d.GetPowerManagementLimitConstraints()
		return float64(most) * milli, ret
	}},
	{"gpu_memory_clock_hertz", "nvmlDeviceGetClockInfo", false, scaled(clock(nv.CLOCK_MEM), mega)},
	{"gpu_sm_clock_max_hertz", "nvmlDeviceGetMaxClockInfo", true, scaled(func(d nv.Device) (uint32, nv.Return) { return d.GetMaxClockInfo(nv.CLOCK_SM) }, mega)},
	{"gpu_performance_state", "nvmlDeviceGetPerformanceState", false, func(d nv.Device) (float64, nv.Return) {
		state, ret := d.GetPerformanceState()
		if ret == nv.SUCCESS && state > 15 { // PSTATE_UNKNOWN
			ret = nv.ERROR_NO_DATA
		}
		return float64(state), ret
	}},
	{"gpu_ecc_sbe_aggregate_total", "nvmlDeviceGetTotalEccErrors", false, ecc(corrected, nv.AGGREGATE_ECC)},
	{"gpu_ecc_dbe_aggregate_total", "nvmlDeviceGetTotalEccErrors", false, ecc(uncorrected, nv.AGGREGATE_ECC)},
	{"gpu_ecc_sram_sbe_total", "nvmlDeviceGetMemoryErrorCounter", false, sram(corrected, nv.VOLATILE_ECC)},
	{"gpu_ecc_sram_dbe_total", "nvmlDeviceGetMemoryErrorCounter", false, sram(uncorrected, nv.VOLATILE_ECC)},
	{"gpu_ecc_sram_sbe_aggregate_total", "nvmlDeviceGetMemoryErrorCounter", false, sram(corrected, nv.AGGREGATE_ECC)},
	{"gpu_ecc_sram_dbe_aggregate_total", "nvmlDeviceGetMemoryErrorCounter", false, sram(uncorrected, nv.AGGREGATE_ECC)},
	{"gpu_pcie_link_width_max", "nvmlDeviceGetMaxPcieLinkWidth", true, scaled(nv.Device.GetMaxPcieLinkWidth, 1)},
	{"gpu_pcie_link_generation_max", "nvmlDeviceGetMaxPcieLinkGeneration", true, scaled(nv.Device.GetMaxPcieLinkGeneration, 1)},
}

// fields are the values that one call gives together. Those without a metric
// are used otherwise.
var fields = []struct {
	id     uint32
	metric string
	scale  float64
}{
	{nv.FI_DEV_MEMORY_TEMP, gpu.MetricMemoryTemperature, 1},
	{nv.FI_DEV_NVLINK_LINK_COUNT, "", 1},
	{nv.FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL, "gpu_nvlink_crc_flit_errors_total", 1},
	{nv.FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL, "gpu_nvlink_crc_data_errors_total", 1},
	{nv.FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL, "gpu_nvlink_replays_total", 1},
	{nv.FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL, "gpu_nvlink_recoveries_total", 1},
	{nv.FI_DEV_POWER_INSTANT, "gpu_power_instant_watts", milli},
	{nv.FI_DEV_ECC_SBE_VOL_DEV, "gpu_ecc_dram_sbe_total", 1},
	{nv.FI_DEV_ECC_DBE_VOL_DEV, "gpu_ecc_dram_dbe_total", 1},
	{nv.FI_DEV_ECC_SBE_AGG_DEV, "gpu_ecc_dram_sbe_aggregate_total", 1},
	{nv.FI_DEV_ECC_DBE_AGG_DEV, "gpu_ecc_dram_dbe_aggregate_total", 1},
	{nv.FI_DEV_ECC_SBE_VOL_L1, "gpu_ecc_l1_sbe_total", 1},
	{nv.FI_DEV_ECC_DBE_VOL_L1, "gpu_ecc_l1_dbe_total", 1},
	{nv.FI_DEV_ECC_SBE_VOL_L2, "gpu_ecc_l2_sbe_total", 1},
	{nv.FI_DEV_ECC_DBE_VOL_L2, "gpu_ecc_l2_dbe_total", 1},
	{nv.FI_DEV_ECC_SBE_VOL_REG, "gpu_ecc_register_sbe_total", 1},
	{nv.FI_DEV_ECC_DBE_VOL_REG, "gpu_ecc_register_dbe_total", 1},
	{nv.FI_DEV_ECC_SBE_VOL_TEX, "gpu_ecc_texture_sbe_total", 1},
	{nv.FI_DEV_ECC_DBE_VOL_TEX, "gpu_ecc_texture_dbe_total", 1},
	{nv.FI_DEV_ECC_SBE_AGG_L1, "gpu_ecc_l1_sbe_aggregate_total", 1},
	{nv.FI_DEV_ECC_DBE_AGG_L1, "gpu_ecc_l1_dbe_aggregate_total", 1},
	{nv.FI_DEV_ECC_SBE_AGG_L2, "gpu_ecc_l2_sbe_aggregate_total", 1},
	{nv.FI_DEV_ECC_DBE_AGG_L2, "gpu_ecc_l2_dbe_aggregate_total", 1},
	{nv.FI_DEV_ECC_SBE_AGG_REG, "gpu_ecc_register_sbe_aggregate_total", 1},
	{nv.FI_DEV_ECC_DBE_AGG_REG, "gpu_ecc_register_dbe_aggregate_total", 1},
	{nv.FI_DEV_ECC_SBE_AGG_TEX, "gpu_ecc_texture_sbe_aggregate_total", 1},
	{nv.FI_DEV_ECC_DBE_AGG_TEX, "gpu_ecc_texture_dbe_aggregate_total", 1},
	{nv.FI_DEV_RETIRED_SBE, "gpu_retired_pages_sbe_total", 1},
	{nv.FI_DEV_RETIRED_DBE, "gpu_retired_pages_dbe_total", 1},
	{nv.FI_DEV_RETIRED_PENDING, "gpu_retired_pages_pending", 1},
	{nv.FI_DEV_PCIE_REPLAY_ROLLOVER_COUNTER, "gpu_pcie_replay_rollover_total", 1},
	{nv.FI_DEV_PCIE_COUNT_CORRECTABLE_ERRORS, "gpu_pcie_correctable_errors_total", 1},
	{nv.FI_DEV_PCIE_COUNT_FATAL_ERROR, "gpu_pcie_fatal_errors_total", 1},
	{nv.FI_DEV_PERF_POLICY_POWER, "gpu_held_power_seconds_total", nano},
	{nv.FI_DEV_PERF_POLICY_THERMAL, "gpu_held_thermal_seconds_total", nano},
	{nv.FI_DEV_PERF_POLICY_SYNC_BOOST, "gpu_held_sync_boost_seconds_total", nano},
	{nv.FI_DEV_PERF_POLICY_BOARD_LIMIT, "gpu_held_board_limit_seconds_total", nano},
	{nv.FI_DEV_PERF_POLICY_LOW_UTILIZATION, "gpu_held_low_utilization_seconds_total", nano},
	{nv.FI_DEV_PERF_POLICY_RELIABILITY, "gpu_held_reliability_seconds_total", nano},
}

// throttles are the clocks event reasons that become metrics.
var throttles = []struct {
	mask   uint64
	metric string
}{
	{nv.ClocksEventReasonSwThermalSlowdown | nv.ClocksThrottleReasonHwThermalSlowdown, gpu.MetricThrottleThermal},
	{nv.ClocksEventReasonSwPowerCap, "gpu_throttle_power_cap"},
	{nv.ClocksThrottleReasonHwSlowdown, "gpu_throttle_hw_slowdown"},
	{nv.ClocksThrottleReasonHwThermalSlowdown, "gpu_throttle_hw_thermal"},
	{nv.ClocksEventReasonSwThermalSlowdown, "gpu_throttle_sw_thermal"},
	{nv.ClocksThrottleReasonHwPowerBrakeSlowdown, "gpu_throttle_power_brake"},
}
