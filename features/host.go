package features

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/procfs"
	"github.com/prometheus/procfs/blockdevice"
	"golang.org/x/sys/unix"

	"github.com/stratoswarm/forestall"
)

// HostOptions says where the kernel's files are; a container that watches its
// host mounts them elsewhere.
type HostOptions struct {
	ProcRoot string    // "" = /proc
	SysRoot  string    // "" = /sys
	Root     string    // the file system whose space is watched; "" = /
	Kmsg     string    // the kernel's log; "" = /dev/kmsg
	Newest   Newest    // that sums over devices go on from; nil: nothing is known
	LastXIDs *LastXIDs // that keep how far the kernel's log was read; nil: nothing is known
}

// Host reads the telemetry of the machine it runs on from the Linux kernel. It
// remembers the read before, from which it derives shares of time. It is not
// safe for concurrent use.
type Host struct {
	component forestall.Component
	opt       HostOptions
	proc      procfs.FS
	block     *blockdevice.FS // nil: the kernel shows no block devices
	slot      map[string]int  // metric name -> index of values
	kernel    *kernelLog      // nil: it cannot be read
	kernelErr error           // why

	values []float64 // of the read in progress
	reads  uint64
	counts map[string]*counting // by metric: sums over devices
	before counters
	events []forestall.Event
}

// counters is what shares of time are derived from.
type counters struct {
	at    time.Time // zero: nothing read yet
	cpu   procfs.CPUStat
	disks map[string]blockdevice.IOStats
	ooms  float64 // NaN: not shown
}

// NewHost returns a reader of the metrics of [Metrics] for [forestall.KindNode].
// It fails when ProcRoot is not a directory.
func NewHost(node string, opt HostOptions) (*Host, error) {
	if err := forestall.CheckName(node); err != nil {
		return nil, fmt.Errorf("host telemetry: node: %w", err)
	}
	if opt.ProcRoot == "" {
		opt.ProcRoot = procfs.DefaultMountPoint
	}
	if opt.SysRoot == "" {
		opt.SysRoot = "/sys"
	}
	if opt.Root == "" {
		opt.Root = "/"
	}
	proc, err := procfs.NewFS(opt.ProcRoot)
	if err != nil {
		return nil, fmt.Errorf("host telemetry: %w", err)
	}
	h := &Host{
		component: forestall.Node(node),
		opt:       opt,
		proc:      proc,
		slot:      map[string]int{},
		counts:    map[string]*counting{},
		values:    make([]float64, len(hostMetrics)),
	}
	if opt.Kmsg == "" {
		opt.Kmsg = "/dev/kmsg"
	}
	boot, _ := os.ReadFile(filepath.Join(opt.ProcRoot, "sys/kernel/random/boot_id")) // without it nothing is known
	h.kernel, h.kernelErr = openKernelLog(opt.Kmsg, strings.TrimSpace(string(boot)), opt.LastXIDs)
	if block, err := blockdevice.NewFS(opt.ProcRoot, opt.SysRoot); err == nil {
		h.block = &block
	}
	for i, m := range hostMetrics {
		h.slot[m.Name] = i
	}
	return h, nil
}

// KernelLog says why the kernel's log is not read; nil if it is.
func (h *Host) KernelLog() error { return h.kernelErr }

// LostKernelRecords returns how many times the kernel overwrote records of its
// log before they were read.
func (h *Host) LostKernelRecords() uint64 {
	if h.kernel == nil {
		return 0
	}
	return h.kernel.lost
}

// Close closes the kernel's log.
func (h *Host) Close() error {
	if h.kernel == nil {
		return nil
	}
	err := h.kernel.source.Close()
	h.kernel, h.kernelErr = nil, errors.New("closed")
	return err
}

// Read appends one sample of every node metric to dst, then of those of
// [Details], stamped now. What the
// kernel doesn't show, and in the first read every share of time, is NaN. An
// error means that the kernel's statistics could not be read at all; dst is
// then returned as it came.
func (h *Host) Read(now time.Time, dst []forestall.Sample) ([]forestall.Sample, error) {
	for i := range h.values {
		h.values[i] = math.NaN()
	}
	stat, err := h.proc.Stat()
	if err != nil {
		return dst, fmt.Errorf("host telemetry: %w", err)
	}
	h.reads++
	next := counters{at: now, cpu: stat.CPUTotal, ooms: math.NaN()}
	h.readCPU(now, stat)
	h.readMemory()
	h.readPressure()
	h.readRoot()
	next.disks = h.readDisks(now)
	h.readNetwork()
	h.readHardware()
	next.ooms = h.readOOMKills(now, h.readKernelLog(now))
	h.before = next
	for metric, c := range h.counts {
		c.seed(h.opt.Newest, h.component, metric)
		h.set(metric, c.total(h.reads))
	}
	dst = slices.Grow(dst, len(hostMetrics))
	for i, m := range hostMetrics {
		dst = append(dst, forestall.Sample{Component: h.component, Metric: m.Name, Time: now, Value: reported(h.values[i])})
	}
	return dst, nil
}

// Events drains what happened between reads: processes that the kernel killed
// for memory, one event per read with their number as its code, and what the
// kernel's log says of GPUs, processors, disks, links and stuck tasks. The newest
// 256 are kept.
func (h *Host) Events() []forestall.Event {
	events := h.events
	h.events = nil
	return events
}

func (h *Host) event(e forestall.Event) {
	if len(h.events) == maxPendingEvents {
		h.events = slices.Delete(h.events, 0, 1)
	}
	h.events = append(h.events, e)
}

// count adds a device's counter to a metric that is the sum of several.
func (h *Host) count(metric, device string, v float64) {
	c := h.counts[metric]
	if c == nil {
		c = &counting{}
		h.counts[metric] = c
	}
	c.take(c.of(countedKey{name: device}), h.reads, v)
}

func (h *Host) set(metric string, v float64) { h.values[h.slot[metric]] = v }

func (h *Host) readCPU(now time.Time, stat procfs.Stat) {
	if !h.before.at.IsZero() {
		b, c := h.before.cpu, stat.CPUTotal
		all := growth(cpuSeconds(b), cpuSeconds(c))
		idle := growth(b.Idle+b.Iowait, c.Idle+c.Iowait)
		h.set(nodeCPUUtilization, quotient(all-idle, all))
		h.set(nodeCPUIowait, quotient(max(c.Iowait-b.Iowait, 0), all)) // the kernel may take iowait back
		h.set(nodeCPUSteal, quotient(growth(b.Steal, c.Steal), all))
	}
	h.set(nodeBlockedProcesses, float64(stat.ProcessesBlocked))
	if stat.BootTime > 0 {
		h.set(nodeUptime, now.Sub(time.Unix(int64(stat.BootTime), 0)).Seconds())
	}
	if load, err := h.proc.LoadAvg(); err == nil {
		h.set(nodeLoadPerCPU, quotient(load.Load1, float64(len(stat.CPU))))
	}
}

// cpuSeconds is the CPU time in all states. Guest time is part of user time.
func cpuSeconds(c procfs.CPUStat) float64 {
	return c.User + c.Nice + c.System + c.Idle + c.Iowait + c.IRQ + c.SoftIRQ + c.Steal
}

func (h *Host) readMemory() {
	m, err := h.proc.Meminfo()
	if err != nil {
		return
	}
	h.set(nodeMemoryAvailable, quotient(number(m.MemAvailableBytes), number(m.MemTotalBytes)))
	h.set(nodeMemoryCorrupted, number(m.HardwareCorruptedBytes))
	h.set(nodeSwapUsed, 1-quotient(number(m.SwapFreeBytes), number(m.SwapTotalBytes)))
}

// readPressure reads PSI: averages in percent, totals in microseconds.
func (h *Host) readPressure() {
	for _, p := range []struct{ resource, some, full, waiting, stalled string }{
		{"cpu", nodePressureCPUSome, "", nodePressureCPUWaiting, ""},
		{"memory", nodePressureMemorySome, nodePressureMemoryFull, nodePressureMemoryWaiting, nodePressureMemoryStalled},
		{"io", nodePressureIOSome, nodePressureIOFull, nodePressureIOWaiting, nodePressureIOStalled},
	} {
		psi, err := h.proc.PSIStatsForResource(p.resource)
		if err != nil {
			continue
		}
		if psi.Some != nil {
			h.set(p.some, psi.Some.Avg10/100)
			h.set(p.waiting, float64(psi.Some.Total)/1e6)
		}
		if psi.Full != nil && p.full != "" { // a CPU is never fully stalled system-wide
			h.set(p.full, psi.Full.Avg10/100)
			h.set(p.stalled, float64(psi.Full.Total)/1e6)
		}
	}
}

func (h *Host) readRoot() {
	var fs unix.Statfs_t
	if unix.Statfs(h.opt.Root, &fs) != nil {
		return
	}
	h.set(nodeFilesystemAvailable, quotient(float64(fs.Bavail), float64(fs.Blocks)))
	h.set(nodeFilesystemInodes, quotient(float64(fs.Ffree), float64(fs.Files)))
}

func (h *Host) readNetwork() {
	devices, err := h.proc.NetDev()
	if err != nil {
		return
	}
	for name, d := range devices {
		if !physicalInterface(name) {
			continue
		}
		h.count(nodeNetworkReceive, name, float64(d.RxBytes))
		h.count(nodeNetworkTransmit, name, float64(d.TxBytes))
		h.count(nodeNetworkErrors, name, float64(d.RxErrors+d.TxErrors))
		h.count(nodeNetworkDrops, name, float64(d.RxDropped+d.TxDropped))
	}
}

// number is the value of a field that a kernel may lack.
func number(v *uint64) float64 {
	if v == nil {
		return math.NaN()
	}
	return float64(*v)
}
