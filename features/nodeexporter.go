package features

import (
	"math"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/stratoswarm/forestall"
)

// nodeMapping maps node_exporter with its default collectors. What it doesn't
// export stays missing: the pressure averages (their totals are there), I/O
// errors and the utilisation of the busiest disk.
func nodeMapping() *Mapping {
	helpers := []string{
		".cpu_rest", ".cpu_iowait", ".cpu_steal", ".cpu_all", ".cpus", ".load1",
		".mem_total", ".mem_available", ".swap_total", ".swap_free",
		".fs_size", ".fs_avail", ".fs_files", ".fs_files_free",
		".io_seconds", ".io_completed", ".now", ".boot",
	}
	root := label("mountpoint", "/")
	disk := func(l labels.Labels) bool { return physicalDisk(l.Get("device")) }
	nic := func(l labels.Labels) bool { return physicalInterface(l.Get("device")) }
	one := func(float64) float64 { return 1 }
	m := compile(Mapping{name: "node", kind: forestall.KindNode, locate: nodeComponent}, helpers, []spec{
		{from: "node_cpu_seconds_total", to: ".cpu_all", join: joinSum},
		{from: "node_cpu_seconds_total", to: ".cpu_rest", join: joinSum, where: label("mode", "idle", "iowait")},
		{from: "node_cpu_seconds_total", to: ".cpus", join: joinSum, where: label("mode", "idle"), value: one},
		{from: "node_cpu_seconds_total", to: ".cpu_iowait", join: joinSum, where: label("mode", "iowait")},
		{from: "node_cpu_seconds_total", to: ".cpu_steal", join: joinSum, where: label("mode", "steal")},
		{from: "node_load1", to: ".load1"},
		{from: "node_procs_blocked", to: nodeBlockedProcesses},
		{from: "node_memory_MemTotal_bytes", to: ".mem_total"},
		{from: "node_memory_MemAvailable_bytes", to: ".mem_available"},
		{from: "node_memory_HardwareCorrupted_bytes", to: nodeMemoryCorrupted},
		{from: "node_memory_SwapTotal_bytes", to: ".swap_total"},
		{from: "node_memory_SwapFree_bytes", to: ".swap_free"},
		{from: "node_pressure_cpu_waiting_seconds_total", to: nodePressureCPUWaiting},
		{from: "node_pressure_memory_waiting_seconds_total", to: nodePressureMemoryWaiting},
		{from: "node_pressure_memory_stalled_seconds_total", to: nodePressureMemoryStalled},
		{from: "node_pressure_io_waiting_seconds_total", to: nodePressureIOWaiting},
		{from: "node_pressure_io_stalled_seconds_total", to: nodePressureIOStalled},
		{from: "node_filesystem_size_bytes", to: ".fs_size", where: root},
		{from: "node_filesystem_avail_bytes", to: ".fs_avail", where: root},
		{from: "node_filesystem_files", to: ".fs_files", where: root},
		{from: "node_filesystem_files_free", to: ".fs_files_free", where: root},
		{from: "node_disk_read_time_seconds_total", to: ".io_seconds", join: joinSum, where: disk},
		{from: "node_disk_write_time_seconds_total", to: ".io_seconds", join: joinSum, where: disk},
		{from: "node_disk_reads_completed_total", to: ".io_completed", join: joinSum, where: disk},
		{from: "node_disk_writes_completed_total", to: ".io_completed", join: joinSum, where: disk},
		{from: "node_network_receive_bytes_total", to: nodeNetworkReceive, join: joinSum, where: nic},
		{from: "node_network_transmit_bytes_total", to: nodeNetworkTransmit, join: joinSum, where: nic},
		{from: "node_network_receive_errs_total", to: nodeNetworkErrors, join: joinSum, where: nic},
		{from: "node_network_transmit_errs_total", to: nodeNetworkErrors, join: joinSum, where: nic},
		{from: "node_network_receive_drop_total", to: nodeNetworkDrops, join: joinSum, where: nic},
		{from: "node_network_transmit_drop_total", to: nodeNetworkDrops, join: joinSum, where: nic},
		{from: "node_vmstat_oom_kill", to: nodeOOMKills},
		{from: "node_edac_correctable_errors_total", to: nodeEDACCorrectable, join: joinSum},
		{from: "node_edac_uncorrectable_errors_total", to: nodeEDACUncorrectable, join: joinSum},
		{from: "node_filefd_allocated", to: nodeOpenFiles},
		{from: "node_time_seconds", to: ".now"},
		{from: "node_boot_time_seconds", to: ".boot"},
		{from: "node_thermal_zone_temp", to: nodeTemperature, join: joinMax},
	})
	at := map[string]int{}
	for i, name := range m.slots {
		at[name] = i
	}
	m.derive = func(now, before []float64) {
		grown := func(name string) float64 { return growth(before[at[name]], now[at[name]]) }
		ratio := func(part, whole string) float64 { return quotient(now[at[part]], now[at[whole]]) }
		all := grown(".cpu_all")
		now[at[nodeCPUUtilization]] = quotient(all-grown(".cpu_rest"), all)
		now[at[nodeCPUIowait]] = quotient(max(now[at[".cpu_iowait"]]-before[at[".cpu_iowait"]], 0), all) // may be taken back
		now[at[nodeCPUSteal]] = quotient(grown(".cpu_steal"), all)
		now[at[nodeLoadPerCPU]] = ratio(".load1", ".cpus")
		now[at[nodeMemoryAvailable]] = ratio(".mem_available", ".mem_total")
		now[at[nodeSwapUsed]] = 1 - ratio(".swap_free", ".swap_total")
		now[at[nodeFilesystemAvailable]] = ratio(".fs_avail", ".fs_size")
		now[at[nodeFilesystemInodes]] = ratio(".fs_files_free", ".fs_files")
		now[at[nodeDiskLatency]] = quotient(grown(".io_seconds"), grown(".io_completed"))
		now[at[nodeUptime]] = now[at[".now"]] - now[at[".boot"]]
	}
	return m
}

func nodeComponent(_ labels.Labels, node string) (forestall.Component, error) {
	return forestall.Node(node), nil
}

// growth is how much a counter grew between two reads; NaN when one is missing
// or the counter restarted.
func growth(before, now float64) float64 {
	if now < before {
		return math.NaN()
	}
	return now - before
}

// quotient is part of whole, NaN when there is no whole: the share of no time,
// of no swap, the latency of no I/O is not 0.
func quotient(part, whole float64) float64 {
	if whole == 0 {
		return math.NaN()
	}
	return part / whole
}

// physicalDisk reports whether a block device is a disk of its own, not a
// partition, a mapping or memory.
func physicalDisk(device string) bool {
	for _, prefix := range []string{"loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd"} {
		if strings.HasPrefix(device, prefix) {
			return false
		}
	}
	return device != "" && !partition(device)
}

// partition reports whether a device name ends in a partition's number: sda1,
// nvme0n1p2, mmcblk0p1; nvme0n1 and mmcblk0 are whole.
func partition(device string) bool {
	base := strings.TrimRight(device, "0123456789")
	if base == device {
		return false
	}
	if strings.HasPrefix(device, "nvme") || strings.HasPrefix(device, "mmcblk") {
		return strings.HasSuffix(base, "p")
	}
	for _, prefix := range []string{"sd", "hd", "vd", "xvd"} {
		if strings.HasPrefix(device, prefix) {
			return true
		}
	}
	return false
}

// physicalInterface reports whether traffic on a network interface is the
// node's own: not loopback, not a container's end, not a tunnel or bridge that
// would count the same bytes again.
func physicalInterface(device string) bool {
	for _, prefix := range []string{"lo", "veth", "docker", "br-", "cni", "cali", "flannel", "cilium", "lxc", "virbr", "tap", "tun", "dummy", "ifb", "kube-", "nodelocaldns", "vxlan", "wg", "bond"} {
		if strings.HasPrefix(device, prefix) {
			return false
		}
	}
	return device != ""
}
