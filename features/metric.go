package features

import (
	"slices"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/gpu"
)

// MetricType says how the values of a metric relate over time.
type MetricType uint8

// The types of metric.
const (
	Gauge   MetricType = iota // goes up and down; windows give its delta
	Counter                   // goes up, or restarts from zero; windows give its rate
)

// String returns "gauge" or "counter".
func (t MetricType) String() string {
	if t == Counter {
		return "counter"
	}
	return "gauge"
}

// Metric describes one quantity that a component reports.
type Metric struct {
	Name string // snake case, ending in its unit, or in _total for a counter
	Type MetricType
	Unit string // singular base unit or ratio: celsius, byte, second, ratio
	Help string // one line, no full stop
}

// Metrics that agents and services report through heartbeats or their own
// exposition.
const (
	MetricErrorRate    = "error_rate_ratio"
	MetricResponseTime = "response_time_seconds"
	MetricRequests     = "requests_total"
	MetricErrors       = "errors_total"
	MetricQueueLength  = "queue_length_requests"
	MetricProcessCPU   = "process_cpu_seconds_total"
	MetricProcessRSS   = "process_resident_memory_bytes"
	MetricProcessFiles = "process_open_files"
)

// MetricScrapeLatency is the name under which a scrape's latency travels as a
// sample: [HistoryWriter] writes it and [Store.Push] takes it for the latency.
const MetricScrapeLatency = "scrape_latency_seconds"

// Metrics returns the metrics of a kind of component in their fixed order, nil
// for a kind that has none. The slice is the caller's.
func Metrics(kind forestall.Kind) []Metric {
	switch kind {
	case forestall.KindGPU:
		return slices.Clone(gpuMetrics)
	case forestall.KindNode:
		return slices.Clone(nodeMetrics)
	case forestall.KindAgent, forestall.KindService:
		return slices.Clone(processMetrics)
	}
	return nil
}

var gpuMetrics = []Metric{
	{gpu.MetricTemperature, Gauge, "celsius", "temperature of the GPU core"},
	{gpu.MetricMemoryTemperature, Gauge, "celsius", "temperature of the device memory"},
	{gpu.MetricPower, Gauge, "watt", "power drawn"},
	{gpu.MetricPowerLimit, Gauge, "watt", "power that the GPU may draw"},
	{gpu.MetricUtilization, Gauge, "ratio", "share of time in which a kernel ran"},
	{gpu.MetricMemoryUsed, Gauge, "byte", "device memory in use"},
	{gpu.MetricMemoryTotal, Gauge, "byte", "device memory installed"},
	{gpu.MetricSMClock, Gauge, "hertz", "clock of the streaming multiprocessors"},
	{gpu.MetricThrottleThermal, Gauge, "ratio", "1 while the clock is lowered for heat"},
	{gpu.MetricECCSingleBit, Counter, "error", "single-bit memory errors, corrected"},
	{gpu.MetricECCDoubleBit, Counter, "error", "double-bit memory errors, not corrected"},
	{gpu.MetricRowRemapPending, Gauge, "ratio", "1 while a row remap waits for a reset"},
	{gpu.MetricRowRemaps, Counter, "row", "memory rows remapped"},
	{gpu.MetricPCIeReplays, Counter, "replay", "PCIe packets sent again"},
	{gpu.MetricPCIeLinkWidth, Gauge, "lane", "PCIe lanes in use"},
	{gpu.MetricPCIeLinkGen, Gauge, "generation", "PCIe generation in use"},
	{gpu.MetricNVLinkErrors, Counter, "error", "NVLink CRC, replay and recovery errors"},
	{gpu.MetricNVLinkActive, Gauge, "link", "NVLinks that are up"},
}

var nodeMetrics = []Metric{
	{nodeCPUUtilization, Gauge, "ratio", "share of CPU time not idle"},
	{nodeCPUIowait, Gauge, "ratio", "share of CPU time idle while I/O was pending"},
	{nodeCPUSteal, Gauge, "ratio", "share of CPU time taken by the hypervisor"},
	{nodeLoadPerCPU, Gauge, "ratio", "one-minute load average per CPU"},
	{nodeBlockedProcesses, Gauge, "process", "processes blocked on I/O"},
	{nodeMemoryAvailable, Gauge, "ratio", "share of memory available without swapping"},
	{nodeMemoryCorrupted, Gauge, "byte", "memory that the kernel has retired as corrupt"},
	{nodeSwapUsed, Gauge, "ratio", "share of swap in use"},
	{nodePressureCPUSome, Gauge, "ratio", "share of the last 10 s in which a task waited for a CPU"},
	{nodePressureMemorySome, Gauge, "ratio", "share of the last 10 s in which a task waited for memory"},
	{nodePressureMemoryFull, Gauge, "ratio", "share of the last 10 s in which every task waited for memory"},
	{nodePressureIOSome, Gauge, "ratio", "share of the last 10 s in which a task waited for I/O"},
	{nodePressureIOFull, Gauge, "ratio", "share of the last 10 s in which every task waited for I/O"},
	{nodePressureCPUWaiting, Counter, "second", "time in which a task waited for a CPU"},
	{nodePressureMemoryWaiting, Counter, "second", "time in which a task waited for memory"},
	{nodePressureMemoryStalled, Counter, "second", "time in which every task waited for memory"},
	{nodePressureIOWaiting, Counter, "second", "time in which a task waited for I/O"},
	{nodePressureIOStalled, Counter, "second", "time in which every task waited for I/O"},
	{nodeFilesystemAvailable, Gauge, "ratio", "share of the root file system available"},
	{nodeFilesystemInodes, Gauge, "ratio", "share of the root file system's inodes free"},
	{nodeDiskUtilization, Gauge, "ratio", "share of time in which the busiest disk had I/O in flight"},
	{nodeDiskLatency, Gauge, "second", "mean time of the I/O completed since the last scrape"},
	{nodeDiskErrors, Counter, "error", "I/O errors of all disks"},
	{nodeNetworkReceive, Counter, "byte", "bytes received on physical interfaces"},
	{nodeNetworkTransmit, Counter, "byte", "bytes sent on physical interfaces"},
	{nodeNetworkErrors, Counter, "error", "receive and transmit errors on physical interfaces"},
	{nodeNetworkDrops, Counter, "packet", "packets dropped on physical interfaces"},
	{nodeOOMKills, Counter, "kill", "processes killed for memory"},
	{nodeEDACCorrectable, Counter, "error", "memory errors corrected, of all controllers"},
	{nodeEDACUncorrectable, Counter, "error", "memory errors not corrected, of all controllers"},
	{nodeOpenFiles, Gauge, "file", "file handles allocated"},
	{nodeUptime, Gauge, "second", "time since boot"},
	{nodeTemperature, Gauge, "celsius", "temperature of the hottest thermal zone"},
}

// nodeDetails are those of [Details] for nodes. What is counted of the kernel's
// log counts from the engine's start.
var nodeDetails = []Metric{
	{nodeMachineChecks, Counter, "event", "machine checks and hardware errors in the kernel's log"},
	{nodeDiskMessages, Counter, "event", "messages of failing disks in the kernel's log"},
	{nodeLinkDowns, Counter, "event", "messages of network links that went down in the kernel's log"},
	{nodePCIeErrors, Counter, "event", "messages of PCIe errors (AER) in the kernel's log"},
	{nodeKernelStalls, Counter, "event", "stuck CPUs and tasks in the kernel's log"},
	{nodeCPUThrottles, Counter, "event", "times that cores lowered their clock for heat"},
	{nodeInfinibandErrors, Counter, "error", "link errors of all InfiniBand ports"},
}

// hostMetrics are what [Host.Read] gives.
var hostMetrics = slices.Concat(nodeMetrics, nodeDetails)

var processMetrics = []Metric{
	{MetricErrorRate, Gauge, "ratio", "share of requests that failed"},
	{MetricResponseTime, Gauge, "second", "time to answer a request"},
	{MetricRequests, Counter, "request", "requests answered"},
	{MetricErrors, Counter, "error", "requests that failed"},
	{MetricQueueLength, Gauge, "request", "requests waiting"},
	{MetricProcessCPU, Counter, "second", "CPU time used"},
	{MetricProcessRSS, Gauge, "byte", "resident memory"},
	{MetricProcessFiles, Gauge, "file", "open file descriptors"},
}

// The names of the node metrics. Where node_exporter has the same quantity,
// the name is node_exporter's.
const (
	nodeCPUUtilization        = "node_cpu_utilization_ratio"
	nodeCPUIowait             = "node_cpu_iowait_ratio"
	nodeCPUSteal              = "node_cpu_steal_ratio"
	nodeLoadPerCPU            = "node_load_per_cpu_ratio"
	nodeBlockedProcesses      = "node_blocked_processes"
	nodeMemoryAvailable       = "node_memory_available_ratio"
	nodeMemoryCorrupted       = "node_memory_hardware_corrupted_bytes"
	nodeSwapUsed              = "node_swap_used_ratio"
	nodePressureCPUSome       = "node_pressure_cpu_some_ratio"
	nodePressureMemorySome    = "node_pressure_memory_some_ratio"
	nodePressureMemoryFull    = "node_pressure_memory_full_ratio"
	nodePressureIOSome        = "node_pressure_io_some_ratio"
	nodePressureIOFull        = "node_pressure_io_full_ratio"
	nodePressureCPUWaiting    = "node_pressure_cpu_waiting_seconds_total"
	nodePressureMemoryWaiting = "node_pressure_memory_waiting_seconds_total"
	nodePressureMemoryStalled = "node_pressure_memory_stalled_seconds_total"
	nodePressureIOWaiting     = "node_pressure_io_waiting_seconds_total"
	nodePressureIOStalled     = "node_pressure_io_stalled_seconds_total"
	nodeFilesystemAvailable   = "node_filesystem_available_ratio"
	nodeFilesystemInodes      = "node_filesystem_files_free_ratio"
	nodeDiskUtilization       = "node_disk_utilization_ratio"
	nodeDiskLatency           = "node_disk_io_latency_seconds"
	nodeDiskErrors            = "node_disk_io_errors_total"
	nodeNetworkReceive        = "node_network_receive_bytes_total"
	nodeNetworkTransmit       = "node_network_transmit_bytes_total"
	nodeNetworkErrors         = "node_network_errors_total"
	nodeNetworkDrops          = "node_network_drops_total"
	nodeOOMKills              = "node_oom_kills_total"
	nodeEDACCorrectable       = "node_edac_correctable_errors_total"
	nodeEDACUncorrectable     = "node_edac_uncorrectable_errors_total"
	nodeOpenFiles             = "node_open_files"
	nodeUptime                = "node_uptime_seconds"
	nodeTemperature           = "node_temperature_celsius"
	nodeMachineChecks         = "node_machine_checks_total"
	nodeDiskMessages          = "node_disk_error_messages_total"
	nodeLinkDowns             = "node_link_downs_total"
	nodePCIeErrors            = "node_pcie_errors_total"
	nodeKernelStalls          = "node_kernel_stalls_total"
	nodeCPUThrottles          = "node_cpu_throttles_total"
	nodeInfinibandErrors      = "node_infiniband_errors_total"
)
