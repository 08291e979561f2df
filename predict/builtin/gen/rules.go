package main

import "time"

// standing is what evidence that waits for somebody's hand adds: it makes a GPU
// suspect by itself, and not failing.
const standing = 4.7

// gpuTable is about the four ways of failing that announce themselves. A
// healthy GPU, also a busy one at 80 °C, stays at the base: 0.25 %.
var gpuTable = table{
	kind:    "gpu",
	version: "builtin-gpu-1",
	windows: []time.Duration{10 * time.Second, time.Minute, time.Hour},
	horizon: 2 * time.Minute,
	base:    -6,
	rules: []rule{
		// Thermal runaway. Boards slow down from about 85 to 90 °C and switch
		// off some 10 °C above; device memory bears a little more.
		when(2, above("gpu_temperature_celsius_last", 84)),
		when(2.5, above("gpu_temperature_celsius_last", 88)),
		when(2, above("gpu_temperature_celsius_last", 93)),
		when(2, above("gpu_memory_temperature_celsius_last", 92)),
		when(2.5, above("gpu_memory_temperature_celsius_last", 97)),
		when(2.5, above("gpu_throttle_thermal_10s_mean", 0.5)),
		// Hot and still heating, over 10 s and over 1 min, without a job that
		// draws more power than before.
		when(3.2, above("gpu_temperature_celsius_last", 72), above("gpu_temperature_celsius_10s_slope", 0.25),
			above("gpu_temperature_celsius_1m_delta", 8), atMost("gpu_power_watts_1m_delta", 60)),
		when(3.2, above("gpu_memory_temperature_celsius_last", 78), above("gpu_memory_temperature_celsius_10s_slope", 0.25),
			above("gpu_memory_temperature_celsius_1m_delta", 8), atMost("gpu_power_watts_1m_delta", 60)),
		// Faster than a job that settles in would heat a board this hot.
		when(3.2, above("gpu_temperature_celsius_last", 76), above("gpu_temperature_celsius_10s_slope", 0.6),
			atMost("gpu_power_watts_10s_delta", 30)),
		when(3.2, above("gpu_memory_temperature_celsius_last", 81), above("gpu_memory_temperature_celsius_10s_slope", 0.6),
			atMost("gpu_power_watts_10s_delta", 30)),
		// The same whatever the job does, where a healthy board never gets.
		when(1.5, above("gpu_temperature_celsius_last", 80), above("gpu_temperature_celsius_10s_slope", 0.25)),
		when(1.5, above("gpu_memory_temperature_celsius_last", 86), above("gpu_memory_temperature_celsius_10s_slope", 0.25)),
		// Heating though it does nothing: the cooling fails.
		when(2.5, atMost("gpu_utilization_ratio_10s_mean", 0.1),
			above("gpu_temperature_celsius_1m_delta", 15), above("gpu_temperature_celsius_10s_slope", 0.25)),

		// ECC storm. A healthy board corrects an error in days, so three in
		// 10 s are news.
		when(2.5, above("gpu_ecc_sbe_total_10s_rate", 0.25)),
		when(2.5, above("gpu_ecc_sbe_total_10s_rate", 1)),
		when(2, above("gpu_ecc_sbe_total_1m_rate", 0.2)),
		// What a reset has yet to mend is suspect for so long, so that no new work
		// goes there. The count of uncorrectable errors begins anew with a reset.
		when(standing, above("gpu_ecc_dbe_total_last", 0.5), atMost("gpu_ecc_dbe_total_since_change_seconds", 24*3600)),
		when(0.6, above("gpu_ecc_dbe_total_1m_rate", 0)),
		when(standing, above("gpu_row_remap_pending_last", 0.5)),
		when(2.5, above("gpu_row_remap_total_1h_rate", 0)),

		// Link degradation. The PCIe generation is left out: it drops to save
		// power on healthy boards.
		when(2, above("gpu_nvlink_errors_total_10s_rate", 0.5)),
		when(2.5, above("gpu_nvlink_errors_total_10s_rate", 5)),
		when(2, above("gpu_pcie_replay_total_10s_rate", 0.3)),
		when(2.5, above("gpu_pcie_replay_total_10s_rate", 2)),
		// Links and lanes that went within the hour and are not back.
		when(standing, atMost("gpu_nvlink_active_links_1h_delta", -0.5)),
		when(standing, atMost("gpu_pcie_link_width_1h_delta", -0.5)),

		// Telemetry collapse: series that were there and are not, and reads
		// that take long. A series that a board never had is no evidence.
		when(1.5, above("series_vanished_10s", 0.5)),
		when(2.5, above("series_vanished_1m", 2.5)),
		when(3, above("series_vanished_1m", 5.5)),
		when(2, above("scrape_latency_seconds_last", 0.25)),
		when(2, above("scrape_latency_seconds_last", 1)),
		when(2, above("gpu_temperature_celsius_10s_missing_ratio", 0.3), above("series_vanished_1m", 0.5)),
	},
}

// nodeTable is about hosts that run out of something, or whose hardware says
// so. Being busy is no evidence.
var nodeTable = table{
	kind:    "node",
	version: "builtin-node-1",
	windows: []time.Duration{time.Minute, 5 * time.Minute},
	horizon: 10 * time.Minute,
	base:    -6.5,
	rules: []rule{
		// Memory: little left, and everything waiting for it.
		when(2, atMost("node_memory_available_ratio_last", 0.05)),
		when(2.5, atMost("node_memory_available_ratio_last", 0.02)),
		when(2.5, above("node_pressure_memory_full_ratio_1m_mean", 0.2)),
		when(2.5, above("node_pressure_memory_full_ratio_1m_mean", 0.5)),
		when(2, above("node_oom_kills_total_5m_rate", 0)),
		when(2, above("node_oom_kills_total_1m_rate", 0.05)),

		// Disk: full, failing, or so slow that everything waits.
		when(2.5, atMost("node_filesystem_available_ratio_last", 0.03)),
		when(3, atMost("node_filesystem_available_ratio_last", 0.01)),
		when(2.5, atMost("node_filesystem_files_free_ratio_last", 0.02)),
		when(3, above("node_disk_io_errors_total_5m_rate", 0)),
		when(3, above("node_pressure_io_full_ratio_1m_mean", 0.6), above("node_disk_io_latency_seconds_1m_mean", 0.5)),

		// Memory hardware.
		when(6, above("node_edac_uncorrectable_errors_total_5m_rate", 0)),
		when(2.5, above("node_edac_correctable_errors_total_1m_rate", 1)),
		when(3, above("node_memory_hardware_corrupted_bytes_5m_delta", 0)),

		// Heat, and telemetry that goes away.
		when(3, above("node_temperature_celsius_1m_mean", 95)),
		when(2.5, above("series_vanished_1m", 5.5)),
		when(1.5, above("scrape_latency_seconds_last", 2)),
	},
}
