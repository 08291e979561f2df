package predict

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/stratoswarm/forestall/features"
)

// words is how people speak of a metric.
type words struct {
	label string
	unit  string  // shown after the value
	scale float64 // shown value per unit of the metric
	kind  valueKind
}

type valueKind uint8

const (
	level  valueKind = iota // a quantity with a present value
	events                  // a counter: what counts is its rate
	onOff                   // 0 or 1
)

const gib = 1 << 30

var metricWords = map[string]words{
	"gpu_temperature_celsius":        {label: "temperature", unit: "°C"},
	"gpu_memory_temperature_celsius": {label: "memory temperature", unit: "°C"},
	"gpu_power_watts":                {label: "power draw", unit: "W"},
	"gpu_power_limit_watts":          {label: "power limit", unit: "W"},
	"gpu_utilization_ratio":          {label: "utilization", unit: "%", scale: 100},
	"gpu_memory_used_bytes":          {label: "device memory in use", unit: "GiB", scale: 1.0 / gib},
	"gpu_memory_total_bytes":         {label: "device memory", unit: "GiB", scale: 1.0 / gib},
	"gpu_sm_clock_hertz":             {label: "SM clock", unit: "MHz", scale: 1e-6},
	"gpu_throttle_thermal":           {label: "thermal throttling", kind: onOff},
	"gpu_ecc_sbe_total":              {label: "corrected memory errors", kind: events},
	"gpu_ecc_dbe_total":              {label: "uncorrectable memory errors", kind: events},
	"gpu_row_remap_pending":          {label: "row remap pending:", kind: onOff},
	"gpu_row_remap_total":            {label: "remapped memory rows", kind: events},
	"gpu_pcie_replay_total":          {label: "PCIe replays", kind: events},
	"gpu_pcie_link_width":            {label: "PCIe link width", unit: "lanes"},
	"gpu_pcie_link_generation":       {label: "PCIe generation"},
	"gpu_nvlink_errors_total":        {label: "NVLink errors", kind: events},
	"gpu_nvlink_active_links":        {label: "NVLinks up"},

	"gpu_temperature_headroom_kelvin":               {label: "temperature", unit: "K below where clocks are lowered"},
	"gpu_temperature_over_expected_kelvin":          {label: "temperature", unit: "K above what its power explains"},
	"gpu_temperature_over_siblings_kelvin":          {label: "temperature", unit: "K above its siblings"},
	"gpu_temperature_over_siblings_at_power_kelvin": {label: "temperature", unit: "K above its siblings at the same power"},
	"gpu_memory_temperature_over_siblings_kelvin":   {label: "memory temperature", unit: "K above its siblings"},
	"gpu_power_over_siblings_watts":                 {label: "power draw", unit: "W above its siblings"},
	"gpu_utilization_over_siblings_ratio":           {label: "utilization", unit: "points above its siblings", scale: 100},
	"gpu_sm_clock_over_siblings_hertz":              {label: "SM clock", unit: "MHz above its siblings", scale: 1e-6},
	"gpu_reported_over_siblings_ratio":              {label: "metrics reported,", unit: "points above its siblings", scale: 100},
	"gpu_xids_total":                                {label: "XIDs", kind: events},
	"gpu_hardware_xids_total":                       {label: "XIDs of the hardware", kind: events},
	"own_failures":                                  {label: "its earlier failures:"},
	"node_failures":                                 {label: "failures on its node:"},
	"zone_failures":                                 {label: "failures in its zone:"},
	"since_repair_seconds":                          {label: "repaired", unit: "h ago", scale: 1.0 / 3600},
	"scrape_series":                                 {label: "series given by its source:"},
	"gpu_temperature_slowdown_celsius":              {label: "temperature where clocks are lowered", unit: "°C"},
	"gpu_temperature_shutdown_celsius":              {label: "temperature where the board switches off", unit: "°C"},
	"gpu_temperature_max_celsius":                   {label: "highest operating temperature", unit: "°C"},
	"gpu_temperature_memory_max_celsius":            {label: "highest memory temperature", unit: "°C"},
	"gpu_held_power_seconds_total":                  {label: "seconds held down for power", kind: events},
	"gpu_held_thermal_seconds_total":                {label: "seconds held down for heat", kind: events},
	"gpu_held_sync_boost_seconds_total":             {label: "seconds held down for a slower board", kind: events},
	"gpu_held_board_limit_seconds_total":            {label: "seconds held down by the board's limit", kind: events},
	"gpu_held_low_utilization_seconds_total":        {label: "seconds held down for want of work", kind: events},
	"gpu_held_reliability_seconds_total":            {label: "seconds held down by the voltage limit", kind: events},
	"gpu_power_limit_default_watts":                 {label: "default power limit", unit: "W"},
	"gpu_power_limit_max_watts":                     {label: "highest power limit", unit: "W"},
	"gpu_power_instant_watts":                       {label: "power draw at the moment", unit: "W"},
	"gpu_memory_clock_hertz":                        {label: "memory clock", unit: "MHz", scale: 1e-6},
	"gpu_sm_clock_max_hertz":                        {label: "highest SM clock", unit: "MHz", scale: 1e-6},
	"gpu_memory_utilization_ratio":                  {label: "memory utilization", unit: "%", scale: 100},
	"gpu_performance_state":                         {label: "performance state"},
	"gpu_throttle_power_cap":                        {label: "clock held down by the power limit:", kind: onOff},
	"gpu_throttle_hw_slowdown":                      {label: "clock lowered by the board:", kind: onOff},
	"gpu_throttle_hw_thermal":                       {label: "clock lowered by the board for heat:", kind: onOff},
	"gpu_throttle_sw_thermal":                       {label: "clock lowered by the driver for heat:", kind: onOff},
	"gpu_throttle_power_brake":                      {label: "clock lowered by the power supply:", kind: onOff},
	"gpu_retired_pages_pending":                     {label: "page retirement pending:", kind: onOff},
	"gpu_row_remap_failure":                         {label: "row remap failed:", kind: onOff},

	"node_cpu_utilization_ratio":                 {label: "CPU utilization", unit: "%", scale: 100},
	"node_cpu_iowait_ratio":                      {label: "CPU waiting for I/O", unit: "%", scale: 100},
	"node_cpu_steal_ratio":                       {label: "CPU stolen by the hypervisor", unit: "%", scale: 100},
	"node_load_per_cpu_ratio":                    {label: "load per CPU"},
	"node_blocked_processes":                     {label: "processes blocked on I/O"},
	"node_memory_available_ratio":                {label: "memory available", unit: "%", scale: 100},
	"node_memory_hardware_corrupted_bytes":       {label: "memory retired as corrupt", unit: "KiB", scale: 1.0 / 1024},
	"node_swap_used_ratio":                       {label: "swap in use", unit: "%", scale: 100},
	"node_pressure_cpu_some_ratio":               {label: "tasks waiting for CPU", unit: "% of the time", scale: 100},
	"node_pressure_memory_some_ratio":            {label: "tasks waiting for memory", unit: "% of the time", scale: 100},
	"node_pressure_memory_full_ratio":            {label: "all tasks stalled for memory", unit: "% of the time", scale: 100},
	"node_pressure_io_some_ratio":                {label: "tasks waiting for I/O", unit: "% of the time", scale: 100},
	"node_pressure_io_full_ratio":                {label: "all tasks stalled for I/O", unit: "% of the time", scale: 100},
	"node_pressure_cpu_waiting_seconds_total":    {label: "seconds waiting for CPU", kind: events},
	"node_pressure_memory_waiting_seconds_total": {label: "seconds waiting for memory", kind: events},
	"node_pressure_memory_stalled_seconds_total": {label: "seconds stalled for memory", kind: events},
	"node_pressure_io_waiting_seconds_total":     {label: "seconds waiting for I/O", kind: events},
	"node_pressure_io_stalled_seconds_total":     {label: "seconds stalled for I/O", kind: events},
	"node_filesystem_available_ratio":            {label: "root file system free", unit: "%", scale: 100},
	"node_filesystem_files_free_ratio":           {label: "inodes free", unit: "%", scale: 100},
	"node_disk_utilization_ratio":                {label: "busiest disk", unit: "% of the time", scale: 100},
	"node_disk_io_latency_seconds":               {label: "disk latency", unit: "ms", scale: 1000},
	"node_disk_io_errors_total":                  {label: "disk I/O errors", kind: events},
	"node_network_receive_bytes_total":           {label: "bytes received", kind: events},
	"node_network_transmit_bytes_total":          {label: "bytes sent", kind: events},
	"node_network_errors_total":                  {label: "network errors", kind: events},
	"node_network_drops_total":                   {label: "dropped packets", kind: events},
	"node_oom_kills_total":                       {label: "processes killed for memory", kind: events},
	"node_edac_correctable_errors_total":         {label: "corrected memory errors", kind: events},
	"node_edac_uncorrectable_errors_total":       {label: "uncorrectable memory errors", kind: events},
	"node_open_files":                            {label: "open files"},
	"node_uptime_seconds":                        {label: "uptime", unit: "h", scale: 1.0 / 3600},
	"node_temperature_celsius":                   {label: "host temperature", unit: "°C"},

	"node_machine_checks_total":      {label: "machine checks", kind: events},
	"node_disk_error_messages_total": {label: "messages of failing disks", kind: events},
	"node_link_downs_total":          {label: "network links gone down", kind: events},
	"node_pcie_errors_total":         {label: "PCIe errors", kind: events},
	"node_kernel_stalls_total":       {label: "stuck CPUs and tasks", kind: events},
	"node_cpu_throttles_total":       {label: "CPU clocks lowered for heat", kind: events},
	"node_infiniband_errors_total":   {label: "InfiniBand errors", kind: events},

	"error_rate_ratio":              {label: "failed requests", unit: "%", scale: 100},
	"response_time_seconds":         {label: "response time", unit: "ms", scale: 1000},
	"requests_total":                {label: "requests", kind: events},
	"errors_total":                  {label: "failed requests", kind: events},
	"queue_length_requests":         {label: "requests waiting"},
	"process_cpu_seconds_total":     {label: "CPU seconds used", kind: events},
	"process_resident_memory_bytes": {label: "resident memory", unit: "GiB", scale: 1.0 / gib},
	"process_open_files":            {label: "open files"},

	"scrape": {label: "scrape"},
	"series": {}, // its phrases say what they are about
}

// wordsOf falls back to the metric's own name, which says its unit.
func wordsOf(metric string) words {
	w, ok := metricWords[metric]
	if !ok {
		w = words{label: strings.ReplaceAll(metric, "_", " ")}
		if strings.HasSuffix(metric, "_total") {
			w.kind = events
		}
	}
	if w.scale == 0 {
		w.scale = 1
	}
	return w
}

// isLevel reports whether the present value of a metric says something.
func isLevel(metric string) bool { return wordsOf(metric).kind != events }

// phrase words one feature's value, without its metric's label.
func phrase(d features.Feature, v float64) string {
	w := wordsOf(d.Metric)
	over := " over " + model.Duration(d.Window).String()
	switch {
	case d.Metric == "scrape" || d.Metric == "series":
		return ownPhrase(d, v)
	case d.Stat == features.StatMissingRatio:
		return w.amount(100*v, "%") + " of readings missing" + over
	case math.IsNaN(v):
		if d.Stat == features.StatLast {
			return "not reported"
		}
		return d.Stat + over + " not known"
	}
	switch d.Stat {
	case features.StatLast:
		if w.kind == onOff {
			return map[bool]string{true: "on", false: "off"}[v >= 0.5]
		}
		return w.value(v)
	case features.StatSinceChange:
		return "unchanged for " + ago(v)
	case features.StatMean:
		if w.kind == onOff {
			return w.amount(100*v, "%") + " of the time" + over
		}
		return w.value(v) + " on average" + over
	case features.StatStd:
		return "varying by " + w.value(v) + over
	case features.StatMin:
		return "down to " + w.value(v) + over
	case features.StatMax:
		return "up to " + w.value(v) + over
	case features.StatEWMA:
		return w.value(v) + " smoothed" + over
	case features.StatSlope:
		return direction(v, "rising ", "falling ") + w.value(60*math.Abs(v)) + "/min" + over
	case features.StatDelta:
		if v == 0 {
			return "unchanged" + over
		}
		return direction(v, "up ", "down ") + w.value(math.Abs(v)) + over
	case features.StatRate:
		if v == 0 {
			return "none" + over
		}
		if v < 0.1 {
			return w.value(60*v) + "/min" + over
		}
		return w.value(v) + "/s" + over
	}
	return w.value(v) + over
}

// ownPhrase words what a component's telemetry says about itself.
func ownPhrase(d features.Feature, v float64) string {
	var w words
	switch {
	case math.IsNaN(v):
		return "not measured"
	case d.Stat == features.StatVanished:
		if v == 1 {
			return "1 metric vanished within " + model.Duration(d.Window).String()
		}
		return w.amount(v, "metrics") + " vanished within " + model.Duration(d.Window).String()
	case d.Metric == "series":
		return w.amount(100*v, "%") + " of metrics reported"
	case strings.Contains(d.Name, "gap"):
		return "after a gap of " + seconds(v)
	}
	return "took " + seconds(v)
}

// ago prints a length of time in seconds in the largest unit of which it has two.
func ago(v float64) string {
	for _, u := range []struct {
		seconds float64
		name    string
	}{{24 * 3600, "d"}, {3600, "h"}, {60, "min"}} {
		if v >= 2*u.seconds {
			return fmt.Sprintf("%.0f %s", math.Floor(v/u.seconds), u.name)
		}
	}
	return words{}.amount(v, "s")
}

func seconds(v float64) string {
	return time.Duration(v * float64(time.Second)).Round(time.Millisecond).String()
}

func direction(v float64, up, down string) string {
	if v < 0 {
		return down
	}
	return up
}

// value prints v, in the metric's unit, in the unit that people read.
func (w words) value(v float64) string { return w.amount(v*w.scale, w.unit) }

// amount prints a number with three digits that matter.
func (words) amount(v float64, unit string) string {
	var s string
	switch a := math.Abs(v); {
	case a >= 100 || v == math.Trunc(v) && a < 1e15:
		s = fmt.Sprintf("%.0f", v)
	case a >= 1:
		s = fmt.Sprintf("%.1f", v)
	default:
		s = fmt.Sprintf("%.2g", v)
	}
	if unit == "" {
		return s
	}
	return s + " " + unit
}
