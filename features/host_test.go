package features

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
)

// fakeHost copies the fixture, for tests to change.
func fakeHost(t *testing.T) (h *Host, dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/host")); err != nil {
		t.Fatal(err)
	}
	return openHost(t, dir), dir
}

func openHost(t *testing.T, dir string) *Host {
	t.Helper()
	h, err := NewHost("n1", HostOptions{ProcRoot: filepath.Join(dir, "proc"), SysRoot: filepath.Join(dir, "sys"), Root: dir, Kmsg: filepath.Join(dir, "kmsg")})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func replace(t *testing.T, path string, oldnew ...string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.NewReplacer(oldnew...).Replace(string(b))), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readHost(t *testing.T, h *Host, at time.Time) []forestall.Sample {
	t.Helper()
	samples, err := h.Read(at, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range samples { // the disk under the test is not fixed
		if strings.HasPrefix(samples[i].Metric, "node_filesystem") {
			if v := samples[i].Value; !(v >= 0 && v <= 1) && !math.IsNaN(v) {
				t.Errorf("%s = %v", samples[i].Metric, v)
			}
			samples[i].Value = math.NaN()
		}
	}
	return samples
}

func TestHostRead(t *testing.T) {
	h, dir := fakeHost(t)
	at := time.Unix(1700000000, 0).Add(100 * time.Second).UTC()
	first := map[string]float64{
		"node_load_per_cpu_ratio": 1.5, "node_blocked_processes": 2, "node_uptime_seconds": 100,
		"node_memory_available_ratio": 0.25, "node_memory_hardware_corrupted_bytes": 64 << 10, "node_swap_used_ratio": 0.25,
		"node_pressure_cpu_some_ratio": 0.125, "node_pressure_cpu_waiting_seconds_total": 2.5,
		"node_pressure_memory_some_ratio": 0.04, "node_pressure_memory_full_ratio": 0.02,
		"node_pressure_memory_waiting_seconds_total": 1.5, "node_pressure_memory_stalled_seconds_total": 0.5,
		"node_pressure_io_some_ratio": 0.08, "node_pressure_io_full_ratio": 0.06,
		"node_pressure_io_waiting_seconds_total": 3.5, "node_pressure_io_stalled_seconds_total": 3,
		"node_disk_io_errors_total":        31,
		"node_network_receive_bytes_total": 1100, "node_network_transmit_bytes_total": 2200,
		"node_network_errors_total": 4, "node_network_drops_total": 7,
		"node_oom_kills_total":               3,
		"node_edac_correctable_errors_total": 7, "node_edac_uncorrectable_errors_total": 1,
		"node_open_files": 1024, "node_temperature_celsius": 61.5,
	}
	checkGroup(t, readHost(t, h, at), forestall.Node("n1"), at, first)
	if events := h.Events(); len(events) != 0 {
		t.Errorf("events %v at the first read: the kills may be old", events)
	}

	// In the next 10 s: 20 CPU-seconds of which 12 idle, 2 waiting for I/O and 1
	// stolen; sda is busy for 4 s and nvme0n1 for 1 s, 20 I/Os take 5 s in all;
	// 2 processes are killed.
	replace(t, filepath.Join(dir, "proc/stat"), "cpu  10000 0 5000 80000 4000 0 500 500 0 0", "cpu  10300 0 5200 81200 4200 0 500 600 0 0")
	replace(t, filepath.Join(dir, "proc/diskstats"),
		"sda 1000 0 8000 4000 500 0 4000 3000 0 5000 7000", "sda 1006 0 8000 6000 504 0 4000 5500 0 9000 9999",
		"nvme0n1 2000 0 16000 1000 1000 0 8000 500 0 1200 1500", "nvme0n1 2010 0 16000 1500 1000 0 8000 500 0 2200 1500")
	replace(t, filepath.Join(dir, "proc/vmstat"), "oom_kill 3", "oom_kill 5")
	at = at.Add(10 * time.Second)
	second := map[string]float64{}
	for name, v := range first {
		second[name] = v
	}
	second["node_uptime_seconds"] = 110
	second["node_cpu_utilization_ratio"] = 0.3
	second["node_cpu_iowait_ratio"] = 0.1
	second["node_cpu_steal_ratio"] = 0.05
	second["node_disk_utilization_ratio"] = 0.4
	second["node_disk_io_latency_seconds"] = 0.25
	second["node_oom_kills_total"] = 5
	checkGroup(t, readHost(t, h, at), forestall.Node("n1"), at, second)
	want := []forestall.Event{{Component: forestall.Node("n1"), Kind: forestall.EventOOMKill, Time: at, Code: 2, Detail: "2 killed for memory since the read before"}}
	if diff := cmp.Diff(want, h.Events()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// A kernel without swap, PSI, EDAC, thermal zones, OOM counts and disks reports
// them missing, not as 0.
func TestHostWithoutWhatAKernelMayLack(t *testing.T) {
	_, dir := fakeHost(t)
	for _, gone := range []string{"proc/pressure", "proc/vmstat", "proc/diskstats", "proc/net", "proc/loadavg", "proc/sys", "sys"} {
		if err := os.RemoveAll(filepath.Join(dir, gone)); err != nil {
			t.Fatal(err)
		}
	}
	replace(t, filepath.Join(dir, "proc/meminfo"), "SwapTotal:        400000", "SwapTotal: 0", "SwapFree:         300000", "SwapFree: 0", "HardwareCorrupted:    64 kB\n", "")
	h := openHost(t, dir)
	for i := range 2 {
		at := time.Unix(1700000000, 0).Add(time.Duration(i) * time.Second).UTC()
		checkGroup(t, readHost(t, h, at), forestall.Node("n1"), at, map[string]float64{
			"node_blocked_processes": 2, "node_uptime_seconds": float64(i), "node_memory_available_ratio": 0.25,
		})
	}
	if events := h.Events(); len(events) != 0 {
		t.Errorf("events %v", events)
	}
}

// A counter that restarts gives no share of time, and the iowait that a kernel
// takes back gives none below 0.
func TestHostCountersGoBack(t *testing.T) {
	h, dir := fakeHost(t)
	at := time.Unix(1700000100, 0).UTC()
	readHost(t, h, at)
	replace(t, filepath.Join(dir, "proc/stat"), "cpu  10000 0 5000 80000 4000", "cpu  10100 0 5000 80400 3900")
	if got := value(readHost(t, h, at.Add(time.Second)), nodeCPUIowait); got != 0 {
		t.Errorf("iowait %v, want 0", got)
	}
	replace(t, filepath.Join(dir, "proc/stat"), "cpu  10100", "cpu  1")
	replace(t, filepath.Join(dir, "proc/diskstats"), "sda 1000 0", "sda 1 0", "nvme0n1 2000 0", "nvme0n1 1 0")
	samples := readHost(t, h, at.Add(2*time.Second))
	for _, name := range []string{nodeCPUUtilization, nodeCPUIowait, nodeDiskUtilization, nodeDiskLatency} {
		if got := value(samples, name); !math.IsNaN(got) {
			t.Errorf("%s = %v after a restart, want NaN", name, got)
		}
	}
}

func TestHostUnreadable(t *testing.T) {
	h, dir := fakeHost(t)
	if err := os.Remove(filepath.Join(dir, "proc/stat")); err != nil {
		t.Fatal(err)
	}
	dst := make([]forestall.Sample, 1, 100)
	got, err := h.Read(epoch, dst)
	if err == nil || len(got) != 1 {
		t.Errorf("%d samples, error %v; want dst as it was and an error", len(got), err)
	}
	if _, err := NewHost("n1", HostOptions{ProcRoot: filepath.Join(dir, "nonesuch")}); err == nil {
		t.Error("a missing ProcRoot is accepted")
	}
	if _, err := NewHost("n 1", HostOptions{}); err == nil {
		t.Error("a bad node name is accepted")
	}
}

// The real thing: this machine's own telemetry is plausible.
func TestHostLive(t *testing.T) {
	if _, err := os.Stat("/proc/stat"); err != nil {
		t.Skip("this machine has no /proc/stat")
	}
	h, err := NewHost("here", HostOptions{})
	if err != nil {
		t.Fatal(err)
	}
	readHost(t, h, time.Now())
	for start := time.Now(); time.Since(start) < 30*time.Millisecond; { // 3 clock ticks of work
		_ = h.component.String()
	}
	samples, err := h.Read(time.Now(), nil)
	if err != nil {
		t.Fatal(err)
	}
	known := 0
	for _, s := range samples {
		if math.IsNaN(s.Value) {
			continue
		}
		known++
		if s.Value < 0 || strings.HasSuffix(s.Metric, "_ratio") && s.Metric != nodeLoadPerCPU && s.Value > 1 {
			t.Errorf("%s = %v", s.Metric, s.Value)
		}
	}
	t.Logf("%d of %d metrics reported", known, len(samples))
	if known < 10 {
		t.Errorf("%d of %d metrics reported, want at least 10", known, len(samples))
	}
}

func TestPhysicalDevices(t *testing.T) {
	for name, want := range map[string]bool{
		"sda": true, "sdaa": true, "sda1": false, "vda": true, "vda2": false, "xvda1": false,
		"nvme0n1": true, "nvme0n1p2": false, "mmcblk0": true, "mmcblk0p1": false,
		"loop3": false, "dm-0": false, "md127": false, "zram0": false, "sr0": false, "": false,
	} {
		if got := physicalDisk(name); got != want {
			t.Errorf("physicalDisk(%q) = %v", name, got)
		}
	}
	for name, want := range map[string]bool{
		"eth0": true, "enp3s0f1": true, "ib0": true, "lo": false, "veth12ab": false, "docker0": false, "br-12": false, "ifb0": false, "": false,
	} {
		if got := physicalInterface(name); got != want {
			t.Errorf("physicalInterface(%q) = %v", name, got)
		}
	}
}

func value(samples []forestall.Sample, metric string) float64 {
	for _, s := range samples {
		if s.Metric == metric {
			return s.Value
		}
	}
	return math.NaN()
}
