package features

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/procfs/blockdevice"

	"github.com/stratoswarm/forestall"
)

// readDisks returns the statistics of the physical disks, for the next read.
func (h *Host) readDisks(now time.Time) map[string]blockdevice.IOStats {
	if h.block == nil {
		return nil
	}
	all, err := h.block.ProcDiskstats()
	if err != nil {
		return nil
	}
	disks := make(map[string]blockdevice.IOStats)
	elapsed := float64(now.Sub(h.before.at).Milliseconds())
	busiest, ticks, completed, known := math.NaN(), 0.0, 0.0, false
	for _, d := range all {
		if !physicalDisk(d.DeviceName) {
			continue
		}
		disks[d.DeviceName] = d.IOStats
		h.count(nodeDiskErrors, d.DeviceName, hexFile(filepath.Join(h.opt.SysRoot, "block", d.DeviceName, "device/ioerr_cnt")))
		b, ok := h.before.disks[d.DeviceName]
		if !ok || elapsed <= 0 || d.IOsTotalTicks < b.IOsTotalTicks || d.ReadIOs < b.ReadIOs || d.WriteIOs < b.WriteIOs {
			continue
		}
		known = true
		// Ticks are rounded to the kernel's timer: a busy disk can read 1.001.
		share := min(float64(d.IOsTotalTicks-b.IOsTotalTicks)/elapsed, 1)
		if math.IsNaN(busiest) || share > busiest {
			busiest = share
		}
		ticks += float64(d.ReadTicks-b.ReadTicks) + float64(d.WriteTicks-b.WriteTicks)
		completed += float64(d.ReadIOs-b.ReadIOs) + float64(d.WriteIOs-b.WriteIOs)
	}
	if known {
		h.set(nodeDiskUtilization, busiest)
		h.set(nodeDiskLatency, quotient(ticks/1000, completed))
	}
	return disks
}

// readHardware reads memory controllers, thermal zones and file handles.
func (h *Host) readHardware() {
	hottest := math.NaN()
	controllers, _ := filepath.Glob(filepath.Join(h.opt.SysRoot, "devices/system/edac/mc/mc[0-9]*"))
	for _, dir := range controllers {
		h.count(nodeEDACCorrectable, dir, numberFile(filepath.Join(dir, "ce_count")))
		h.count(nodeEDACUncorrectable, dir, numberFile(filepath.Join(dir, "ue_count")))
	}
	zones, _ := filepath.Glob(filepath.Join(h.opt.SysRoot, "class/thermal/thermal_zone[0-9]*/temp"))
	for _, file := range zones {
		if t := numberFile(file) / 1000; math.IsNaN(hottest) || t > hottest {
			hottest = t
		}
	}
	h.set(nodeTemperature, hottest)
	h.readThrottles()
	if b, err := os.ReadFile(filepath.Join(h.opt.ProcRoot, "sys/fs/file-nr")); err == nil {
		if fields := strings.Fields(string(b)); len(fields) > 0 {
			h.set(nodeOpenFiles, parseNumber(fields[0]))
		}
	}
}

// readOOMKills reads the kernel's count of processes killed for memory, and
// notes an event when it grew; killed are those that its log names.
func (h *Host) readOOMKills(now time.Time, killed []string) float64 {
	n := vmstat(filepath.Join(h.opt.ProcRoot, "vmstat"), "oom_kill")
	h.set(nodeOOMKills, n)
	if h.before.at.IsZero() {
		return n
	}
	count := growth(h.before.ooms, n)
	if math.IsNaN(count) { // kernels before 4.13 do not count
		count = float64(len(killed))
	}
	if count > 0 {
		const named = 8
		detail := fmt.Sprintf("%g killed for memory since the read before", count)
		if len(killed) > 0 {
			detail += ": " + strings.Join(killed[:min(len(killed), named)], ", ")
		}
		h.event(forestall.Event{Component: h.component, Kind: forestall.EventOOMKill, Time: now, Code: int(count), Detail: detail})
	}
	return n
}

// readThrottles reads how often the cores lowered their clock for heat, and the
// errors of InfiniBand ports.
func (h *Host) readThrottles() {
	cores, _ := filepath.Glob(filepath.Join(h.opt.SysRoot, "devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count"))
	for _, file := range cores {
		h.count(nodeCPUThrottles, file, numberFile(file))
	}
	for _, counter := range infinibandErrors {
		files, _ := filepath.Glob(filepath.Join(h.opt.SysRoot, "class/infiniband/*/ports/*/counters", counter))
		for _, file := range files {
			h.count(nodeInfinibandErrors, file, numberFile(file))
		}
	}
}

// infinibandErrors are the counters of a port that grow with faults of its link
// (Linux: Documentation/ABI/stable/sysfs-class-infiniband).
var infinibandErrors = []string{
	"symbol_error", "link_error_recovery", "link_downed", "port_rcv_errors", "local_link_integrity_errors", "excessive_buffer_overrun_errors",
}

// vmstat returns one field of /proc/vmstat, NaN when it isn't there.
func vmstat(path, field string) float64 {
	f, err := os.Open(path)
	if err != nil {
		return math.NaN()
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), " "); ok && name == field {
			return parseNumber(value)
		}
	}
	return math.NaN()
}

// numberFile reads a decimal number from a file, NaN when it can't.
func numberFile(path string) float64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return math.NaN()
	}
	return parseNumber(string(bytes.TrimSpace(b)))
}

// hexFile reads a number such as 0x1f.
func hexFile(path string) float64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return math.NaN()
	}
	n, err := strconv.ParseUint(string(bytes.TrimSpace(b)), 0, 64)
	if err != nil {
		return math.NaN()
	}
	return float64(n)
}

func parseNumber(s string) float64 {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil {
		return math.NaN()
	}
	return v
}
