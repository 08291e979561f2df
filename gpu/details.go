package gpu

// Metrics that NVML gives beyond MetricNames, where the device has them. They
// end in their unit, in _total for a counter, or are 1 while something holds
// and 0 while it does not. The errors that memory has seen in its life
// (aggregate) outlast a reboot, the others count from the driver's start.
var detailNames = [...]string{
	"gpu_temperature_slowdown_celsius",   // of the die, where clocks are lowered
	"gpu_temperature_shutdown_celsius",   // of the die, where the board switches itself off
	"gpu_temperature_max_celsius",        // of the die, where it still runs at its best
	"gpu_temperature_memory_max_celsius", // of the memory, where clocks are lowered
	"gpu_power_limit_default_watts",
	"gpu_power_limit_max_watts",
	"gpu_power_instant_watts", // without the averaging of gpu_power_watts
	"gpu_memory_clock_hertz",
	"gpu_sm_clock_max_hertz",
	"gpu_memory_utilization_ratio", // share of time with device memory being read or written
	"gpu_performance_state",        // 0, the fastest, to 15
	"gpu_throttle_power_cap",       // clocks are held down by the power limit
	"gpu_throttle_hw_slowdown",     // by the board, for heat or power
	"gpu_throttle_hw_thermal",      // by the board, for heat
	"gpu_throttle_sw_thermal",      // by the driver, for heat
	"gpu_throttle_power_brake",     // by a signal of the power supply
	"gpu_ecc_sbe_aggregate_total",
	"gpu_ecc_dbe_aggregate_total",
	"gpu_ecc_dram_sbe_total",
	"gpu_ecc_dram_dbe_total",
	"gpu_ecc_dram_sbe_aggregate_total",
	"gpu_ecc_dram_dbe_aggregate_total",
	"gpu_ecc_sram_sbe_total",
	"gpu_ecc_sram_dbe_total",
	"gpu_ecc_sram_sbe_aggregate_total",
	"gpu_ecc_sram_dbe_aggregate_total",
	"gpu_ecc_l1_sbe_total",
	"gpu_ecc_l1_dbe_total",
	"gpu_ecc_l2_sbe_total",
	"gpu_ecc_l2_dbe_total",
	"gpu_ecc_register_sbe_total",
	"gpu_ecc_register_dbe_total",
	"gpu_ecc_texture_sbe_total",
	"gpu_ecc_texture_dbe_total",
	"gpu_ecc_l1_sbe_aggregate_total",
	"gpu_ecc_l1_dbe_aggregate_total",
	"gpu_ecc_l2_sbe_aggregate_total",
	"gpu_ecc_l2_dbe_aggregate_total",
	"gpu_ecc_register_sbe_aggregate_total",
	"gpu_ecc_register_dbe_aggregate_total",
	"gpu_ecc_texture_sbe_aggregate_total",
	"gpu_ecc_texture_dbe_aggregate_total",
	"gpu_retired_pages_sbe_total", // memory pages taken out of use for corrected errors
	"gpu_retired_pages_dbe_total", // for an uncorrectable one
	"gpu_retired_pages_pending",   // a page waits for a reset to be taken out of use
	"gpu_row_remap_correctable_total",
	"gpu_row_remap_uncorrectable_total",
	"gpu_row_remap_failure", // a row could not be remapped
	"gpu_pcie_replay_rollover_total",
	"gpu_pcie_link_width_max",
	"gpu_pcie_link_generation_max",
	"gpu_pcie_correctable_errors_total",
	"gpu_pcie_fatal_errors_total",
	"gpu_nvlink_crc_flit_errors_total",
	"gpu_nvlink_crc_data_errors_total",
	"gpu_nvlink_replays_total",
	"gpu_nvlink_recoveries_total",
	// Time for which clocks were held down for a cause.
	"gpu_held_power_seconds_total",
	"gpu_held_thermal_seconds_total",
	"gpu_held_sync_boost_seconds_total", // for the slowest of a group of boards
	"gpu_held_board_limit_seconds_total",
	"gpu_held_low_utilization_seconds_total",
	"gpu_held_reliability_seconds_total", // by the board's voltage limit
}

// DetailNames returns the names of the metrics that a source may append after
// those of MetricNames, in this order, each only where the device has it.
func DetailNames() []string { return append([]string(nil), detailNames[:]...) }
