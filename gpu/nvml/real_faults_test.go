//go:build cgo && linux

package nvml

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/gpu"
)

// openReal opens this machine's GPUs through a child process, or skips.
func openReal(t testing.TB, cfg gpu.NVMLConfig) *gpu.NVML {
	t.Helper()
	cfg.Command, cfg.Node = []string{os.Args[0], "nvml-child"}, "n1"
	s, err := gpu.OpenNVML(t.Context(), cfg)
	if err != nil {
		t.Skipf("there is no GPU to read: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// readReal returns a GPU's values by the names of the metrics.
func readReal(t testing.TB, s *gpu.NVML, index int) map[string]float64 {
	t.Helper()
	samples, err := s.Read(t.Context(), time.Now(), "n1", index, nil)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, sample := range samples {
		values[sample.Metric] = sample.Value
	}
	return values
}

// TestRealGPUAgreesWithSMI compares with what NVIDIA's own tool shows.
func TestRealGPUAgreesWithSMI(t *testing.T) {
	s := openReal(t, gpu.NVMLConfig{})
	smi, err := exec.LookPath("nvidia-smi")
	if err != nil {
		t.Skip("nvidia-smi is not installed: there is nothing to compare with")
	}
	columns := []struct {
		query, metric string
		scale, within float64 // of nvidia-smi's number; difference that is allowed, in the metric's unit
	}{
		{"temperature.gpu", gpu.MetricTemperature, 1, 5},
		{"temperature.memory", gpu.MetricMemoryTemperature, 1, 5},
		{"power.draw", gpu.MetricPower, 1, 100},
		{"enforced.power.limit", gpu.MetricPowerLimit, 1, 0.01},
		{"power.default_limit", "gpu_power_limit_default_watts", 1, 0.01},
		{"power.max_limit", "gpu_power_limit_max_watts", 1, 0.01},
		{"memory.total", gpu.MetricMemoryTotal, 1 << 20, 1 << 30}, // without what the driver keeps for itself
		{"clocks.max.sm", "gpu_sm_clock_max_hertz", 1e6, 1},
		{"clocks.mem", "gpu_memory_clock_hertz", 1e6, 1e6},
		{"pcie.link.width.max", "gpu_pcie_link_width_max", 1, 0},
		{"pcie.link.width.current", gpu.MetricPCIeLinkWidth, 1, 0},
		{"ecc.errors.corrected.volatile.total", gpu.MetricECCSingleBit, 1, 0},
		{"ecc.errors.uncorrected.volatile.total", gpu.MetricECCDoubleBit, 1, 0},
		{"ecc.errors.corrected.aggregate.total", "gpu_ecc_sbe_aggregate_total", 1, 0},
		{"ecc.errors.uncorrected.aggregate.total", "gpu_ecc_dbe_aggregate_total", 1, 0},
		{"ecc.errors.uncorrected.volatile.dram", "gpu_ecc_dram_dbe_total", 1, 0},
		{"ecc.errors.uncorrected.volatile.sram", "gpu_ecc_sram_dbe_total", 1, 0},
	}
	query := "uuid,name,pci.bus_id"
	for _, c := range columns {
		query += "," + c.query
	}
	devices, err := s.Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(smi, "--query-gpu="+query, "--format=csv,noheader,nounits").Output()
	if err != nil {
		t.Fatalf("nvidia-smi: %v: %s", err, out)
	}
	r := csv.NewReader(bytes.NewReader(out))
	r.TrimLeadingSpace = true
	rows, err := r.ReadAll()
	if err != nil || len(rows) != len(devices) {
		t.Fatalf("nvidia-smi shows %d GPUs, NVML %d: %v", len(rows), len(devices), err)
	}
	for i, row := range rows {
		d := devices[i]
		if d.UUID != row[0] || d.Name != row[1] || !strings.EqualFold(d.PCIBus, row[2]) {
			t.Errorf("GPU %d is %s %s at %s; nvidia-smi says %v", i, d.UUID, d.Name, d.PCIBus, row[:3])
		}
		values := readReal(t, s, i)
		for j, c := range columns {
			cell, got := row[3+j], values[c.metric]
			want, err := strconv.ParseFloat(cell, 64)
			if err != nil { // "[N/A]"
				want = math.NaN()
			}
			want *= c.scale
			same := math.Abs(got-want) <= c.within || math.IsNaN(got) && math.IsNaN(want)
			if !same {
				t.Errorf("GPU %d: %s = %v; nvidia-smi says %s of %s", i, c.metric, got, cell, c.query)
			}
			t.Logf("%-42s %16v  nvidia-smi %s", c.metric, got, cell)
		}
	}
}

// nvmlChildren returns the child processes of this one that call NVML.
func nvmlChildren(t testing.TB) []int {
	t.Helper()
	var pids []int
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		after := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if after[1] == strconv.Itoa(os.Getpid()) && bytes.Contains(cmdline, []byte("nvml-child")) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestRealGPUHang stops the process that calls the driver, as a call that never
// returns would: the reading ends at its deadline, says that the GPU is silent
// and not that it failed, and the GPU is read again soon after.
func TestRealGPUHang(t *testing.T) {
	const deadline = 500 * time.Millisecond
	s := openReal(t, gpu.NVMLConfig{Deadline: deadline})
	readReal(t, s, 0)
	children := nvmlChildren(t)
	if len(children) != 1 {
		t.Fatalf("%d children call NVML", len(children))
	}
	if err := syscall.Kill(children[0], syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, err := s.Read(t.Context(), start, "n1", 0, nil)
	took := time.Since(start)
	if !errors.Is(err, gpu.ErrSilent) {
		t.Fatalf("a reading whose child was stopped gives %v", err)
	}
	if took > 2*deadline {
		t.Errorf("it took %s with a deadline of %s", took, deadline)
	}
	events := s.Events()
	if len(events) != 1 || events[0].Kind != forestall.EventTelemetryCollapse || events[0].Component != forestall.GPU("n1", 0) {
		t.Errorf("events %+v", events)
	}
	t.Logf("after %s: %v", took, err)
	for stop := time.Now().Add(30 * time.Second); ; {
		if _, err = s.Read(t.Context(), time.Now(), "n1", 0, nil); err == nil {
			break
		}
		if time.Now().After(stop) {
			t.Fatalf("still %v", err)
		}
	}
	t.Logf("read again %s after the child was stopped", time.Since(start).Round(time.Millisecond))
	if err := syscall.Kill(children[0], 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the stopped child %d is still there: %v", children[0], err)
	}
}

// TestRealGPUXID lets a kernel write where it may not and waits for the XID that
// the driver reports.
func TestRealGPUXID(t *testing.T) {
	s := openReal(t, gpu.NVMLConfig{})
	nvcc, err := exec.LookPath("nvcc")
	if err != nil {
		t.Skip("nvcc is not installed: no kernel can be built to provoke an XID")
	}
	readReal(t, s, 0) // from here on its XIDs are listened to
	s.Events()
	fault := filepath.Join(t.TempDir(), "fault")
	if out, err := exec.Command(nvcc, "-o", fault, "testdata/fault.cu").CombinedOutput(); err != nil {
		t.Fatalf("nvcc: %v: %s", err, out)
	}
	start := time.Now()
	out, err := exec.Command(fault).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", fault, err, out)
	}
	for stop := time.Now().Add(30 * time.Second); time.Now().Before(stop); {
		values := readReal(t, s, 0) // events travel with the answers
		for _, e := range s.Events() {
			t.Logf("%s after the fault (%s): %+v", e.Time.Sub(start).Round(time.Millisecond), bytes.TrimSpace(out), e)
			if e.Kind != forestall.EventXID || e.Code != gpu.XIDPageFault && e.Code != gpu.XIDGraphicsException {
				t.Errorf("unexpected event %+v", e)
			}
			if e.Component != forestall.GPU("n1", 0) {
				continue
			}
			if math.IsNaN(values[gpu.MetricTemperature]) {
				t.Error("the GPU's temperature can no longer be read")
			}
			return
		}
	}
	t.Error("no XID within 30 s")
}

// BenchmarkRealGPURead is one reading of a GPU through pipes, child and driver.
// It also reports what a reading costs the child in processor time, and the
// memory that the child holds.
func BenchmarkRealGPURead(b *testing.B) {
	s := openReal(b, gpu.NVMLConfig{})
	readReal(b, s, 0)
	children := nvmlChildren(b)
	if len(children) != 1 {
		b.Fatalf("%d children call NVML", len(children))
	}
	before, _ := childCost(b, children[0])
	var samples []forestall.Sample
	reads := 0
	for b.Loop() {
		var err error
		if samples, err = s.Read(b.Context(), time.Now(), "n1", 0, samples[:0]); err != nil {
			b.Fatal(err)
		}
		reads++
	}
	after, resident := childCost(b, children[0])
	b.ReportMetric(float64(reads*len(samples))/b.Elapsed().Seconds(), "samples/s")
	b.ReportMetric(float64((after-before).Microseconds())/float64(reads), "child-us/op")
	b.ReportMetric(resident/(1<<20), "child-MiB")
}

// childCost returns the processor time that a process has used and the bytes
// that it holds in memory.
func childCost(b *testing.B, pid int) (time.Duration, float64) {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // from the state, field 3 of proc(5), on
	var n [3]float64
	for i, field := range []int{14, 15, 24} { // utime, stime in ticks of 10 ms; rss in pages
		if n[i], err = strconv.ParseFloat(fields[field-3], 64); err != nil {
			b.Fatal(err)
		}
	}
	return time.Duration(n[0]+n[1]) * 10 * time.Millisecond, n[2] * float64(os.Getpagesize())
}
