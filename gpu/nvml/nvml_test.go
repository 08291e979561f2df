//go:build cgo && linux

package nvml

import (
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	nv "github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock"
	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall/gpu"
)

func mustOpen(t *testing.T, d *dgx) *boards {
	t.Helper()
	sys := t.TempDir()
	for _, bus := range []string{"0000:1b:00.0", "0000:22:00.0"} {
		dir := filepath.Join(sys, "bus/pci/devices", bus)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		node := "1\n"
		if bus == "0000:22:00.0" {
			node = "-1\n"
		}
		if err := os.WriteFile(filepath.Join(dir, "numa_node"), []byte(node), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := open(d, sys)
	if err != nil {
		t.Fatal(err)
	}
	return b.(*boards)
}

// readBy returns a reading by metric; what is NaN is left out.
func readBy(t *testing.T, b *boards, uuid string) map[string]float64 {
	t.Helper()
	values, err := b.Read(uuid)
	if err != nil {
		t.Fatal(err)
	}
	names := append(gpu.MetricNames(), gpu.DetailNames()...)
	if len(values) != len(names) {
		t.Fatalf("%d values of %d metrics", len(values), len(names))
	}
	got := map[string]float64{}
	for i, v := range values {
		if !math.IsNaN(v) {
			got[names[i]] = v
		}
	}
	return got
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	d := newDGX()
	b := mustOpen(t, d)
	n, driver, err := b.Count()
	if n != 8 || driver != "550.54.15" || err != nil {
		t.Errorf("Count = %d, %q, %v", n, driver, err)
	}
	got, err := b.Describe(0)
	if err != nil {
		t.Fatal(err)
	}
	want := gpu.Device{
		Index: 0, UUID: "GPU-0", Name: d.device(0).Config.Name, MemoryBytes: int64(d.device(0).MemoryInfo.Total),
		NUMANode: 1, PCIBus: "00000000:1B:00.0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("device 0:\n%s", diff)
	}
	for _, index := range []int{1, 7} { // sysfs has no entry; an entry of -1
		if got, err := b.Describe(index); err != nil || got.NUMANode != -1 {
			t.Errorf("device %d = %+v, %v; want no NUMA node", index, got, err)
		}
	}
	if _, err := b.Describe(8); err == nil || errors.Is(err, gpu.ErrGone) {
		t.Errorf("device 8: %v", err)
	}
}

func TestTopology(t *testing.T) {
	t.Parallel()
	d := newDGX()
	b := mustOpen(t, d)
	got, err := b.Topology([]string{"GPU-0", "GPU-1", "", "GPU-3", "GPU-4"})
	if err != nil {
		t.Fatal(err)
	}
	want := gpu.Neighbours{
		Links: []int{0, 1, 4},
		PCIe:  []gpu.PCIePeer{{Index: 0, Via: "NUMA node"}, {Index: 1, Via: "NUMA node"}, {Index: 4, Via: "system"}},
	}
	if diff := cmp.Diff(want, got[3]); diff != "" {
		t.Errorf("neighbours of GPU 3:\n%s", diff)
	}
	if diff := cmp.Diff(gpu.PCIePeer{Index: 1, Via: "switch"}, got[0].PCIe[0]); diff != "" {
		t.Errorf("nearest of GPU 0:\n%s", diff)
	}
	if got[2].Links != nil || got[2].PCIe != nil {
		t.Errorf("neighbours of no GPU: %+v", got[2])
	}
}

func TestMIG(t *testing.T) {
	t.Parallel()
	d := newDGX()
	device := d.device(2)
	device.MigMode = nv.DEVICE_MIG_ENABLE
	device.GetMaxMigDeviceCountFunc = func() (int, nv.Return) { return 7, nv.SUCCESS }
	device.GetMigDeviceHandleByIndexFunc = func(i int) (nv.Device, nv.Return) {
		if i != 3 {
			return nil, nv.ERROR_NOT_FOUND
		}
		return &mock.Device{
			GetUUIDFunc:              func() (string, nv.Return) { return "MIG-3", nv.SUCCESS },
			GetNameFunc:              func() (string, nv.Return) { return "NVIDIA H200 MIG 3g.71gb", nv.SUCCESS },
			GetGpuInstanceIdFunc:     func() (int, nv.Return) { return 2, nv.SUCCESS },
			GetComputeInstanceIdFunc: func() (int, nv.Return) { return 0, nv.SUCCESS },
			GetMemoryInfoFunc:        func() (nv.Memory, nv.Return) { return nv.Memory{Total: 71 << 30}, nv.SUCCESS },
		}, nv.SUCCESS
	}
	got, err := mustOpen(t, d).Describe(2)
	if err != nil {
		t.Fatal(err)
	}
	want := []gpu.MIGDevice{{UUID: "MIG-3", Name: "NVIDIA H200 MIG 3g.71gb", GPUInstance: 2, MemoryBytes: 71 << 30}}
	if diff := cmp.Diff(want, got.MIG); diff != "" {
		t.Errorf("instances:\n%s", diff)
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	b := mustOpen(t, newDGX())
	for range 2 { // the second time from what is remembered
		got := readBy(t, b, "GPU-5")
		for _, name := range append(gpu.MetricNames(), gpu.DetailNames()...) {
			if _, ok := got[name]; !ok {
				t.Errorf("%s is not read, although the GPU gives everything", name)
			}
		}
		for metric, want := range map[string]float64{
			gpu.MetricTemperature:               65,
			gpu.MetricMemoryTemperature:         71,
			gpu.MetricPower:                     612.345,
			gpu.MetricPowerLimit:                700,
			gpu.MetricUtilization:               0.97,
			gpu.MetricMemoryUsed:                100 << 30,
			gpu.MetricMemoryTotal:               141 << 30,
			gpu.MetricSMClock:                   1000e6,
			gpu.MetricThrottleThermal:           1,
			gpu.MetricECCSingleBit:              100,
			gpu.MetricECCDoubleBit:              101,
			gpu.MetricRowRemapPending:           1,
			gpu.MetricRowRemaps:                 5,
			gpu.MetricPCIeReplays:               7,
			gpu.MetricPCIeLinkWidth:             16,
			gpu.MetricPCIeLinkGen:               5,
			gpu.MetricNVLinkErrors:              38 + 45 + 52 + 59,
			gpu.MetricNVLinkActive:              17,
			"gpu_temperature_shutdown_celsius":  90,
			"gpu_temperature_slowdown_celsius":  91,
			"gpu_memory_clock_hertz":            2000e6,
			"gpu_memory_utilization_ratio":      0.41,
			"gpu_throttle_hw_thermal":           1,
			"gpu_throttle_power_cap":            0,
			"gpu_ecc_dbe_aggregate_total":       111,
			"gpu_ecc_sram_dbe_aggregate_total":  7011,
			"gpu_ecc_dram_dbe_total":            nv.FI_DEV_ECC_DBE_VOL_DEV,
			"gpu_power_instant_watts":           0.186,
			"gpu_row_remap_uncorrectable_total": 3,
			"gpu_row_remap_failure":             0,
		} {
			if math.Abs(got[metric]-want) > 1e-9*want {
				t.Errorf("%s = %v, want %v", metric, got[metric], want)
			}
		}
	}
}

// A function that the library lacks is not called: it would end the process.
func TestReadOldLibrary(t *testing.T) {
	t.Parallel()
	full := readBy(t, mustOpen(t, newDGX()), "GPU-0")
	for symbol, lost := range map[string][]string{
		"nvmlDeviceGetRemappedRows":           {gpu.MetricRowRemaps, gpu.MetricRowRemapPending, "gpu_row_remap_correctable_total", "gpu_row_remap_uncorrectable_total", "gpu_row_remap_failure"},
		"nvmlDeviceGetMemoryInfo_v2":          {},
		"nvmlDeviceGetNvLinkState":            {gpu.MetricNVLinkActive},
		"nvmlDeviceGetP2PStatus":              {},
		"nvmlEventSetCreate":                  {},
		"nvmlDeviceGetPcieReplayCounter":      {gpu.MetricPCIeReplays},
		"nvmlDeviceGetCurrPcieLinkWidth":      {gpu.MetricPCIeLinkWidth},
		"nvmlDeviceGetMaxMigDeviceCount":      {},
		"nvmlDeviceGetTemperatureThreshold":   {"gpu_temperature_slowdown_celsius", "gpu_temperature_shutdown_celsius", "gpu_temperature_max_celsius", "gpu_temperature_memory_max_celsius"},
		"nvmlDeviceGetSupportedEventTypes":    {},
		"nvmlDeviceGetTopologyCommonAncestor": {},
	} {
		t.Run(symbol, func(t *testing.T) {
			t.Parallel()
			d := newDGX()
			d.missing = []string{symbol}
			for i := range d.Devices {
				switch m := &d.device(i).Device; symbol {
				case "nvmlDeviceGetRemappedRows":
					m.GetRemappedRowsFunc = nil
				case "nvmlDeviceGetMemoryInfo_v2":
					m.GetMemoryInfo_v2Func = nil
				case "nvmlDeviceGetNvLinkState":
					m.GetNvLinkStateFunc = nil
				case "nvmlDeviceGetP2PStatus":
					m.GetP2PStatusFunc = nil
				case "nvmlEventSetCreate":
					d.EventSetCreateFunc, m.RegisterEventsFunc, m.GetSupportedEventTypesFunc = nil, nil, nil
				case "nvmlDeviceGetPcieReplayCounter":
					m.GetPcieReplayCounterFunc = nil
				case "nvmlDeviceGetCurrPcieLinkWidth":
					m.GetCurrPcieLinkWidthFunc = nil
				case "nvmlDeviceGetTemperatureThreshold":
					m.GetTemperatureThresholdFunc = nil
				case "nvmlDeviceGetSupportedEventTypes":
					m.GetSupportedEventTypesFunc = nil
				case "nvmlDeviceGetTopologyCommonAncestor":
					m.GetTopologyCommonAncestorFunc = nil
				}
			}
			b := mustOpen(t, d)
			if _, err := b.Describe(0); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Topology([]string{"GPU-0", "GPU-1"}); err != nil {
				t.Fatal(err)
			}
			got := readBy(t, b, "GPU-0")
			want := maps.Clone(full)
			for _, metric := range lost {
				delete(want, metric)
			}
			if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
				t.Errorf("metrics:\n%s", diff)
			}
		})
	}
}

// What a GPU does not support is asked once; what fails now and then is asked
// again.
func TestReadUnsupported(t *testing.T) {
	t.Parallel()
	d := newDGX()
	asked := 0
	d.device(0).GetPcieReplayCounterFunc = func() (int, nv.Return) { asked++; return 0, nv.ERROR_NOT_SUPPORTED }
	ret := nv.ERROR_TIMEOUT
	d.device(0).GetPowerUsageFunc = func() (uint32, nv.Return) { return 100_000, ret }
	b := mustOpen(t, d)
	got := readBy(t, b, "GPU-0")
	if _, ok := got[gpu.MetricPower]; ok {
		t.Errorf("power that timed out reads %v", got[gpu.MetricPower])
	}
	ret = nv.SUCCESS
	got = readBy(t, b, "GPU-0")
	if _, ok := got[gpu.MetricPCIeReplays]; ok || asked != 1 {
		t.Errorf("an unsupported counter was asked %d times and reads %v", asked, got[gpu.MetricPCIeReplays])
	}
	if got[gpu.MetricPower] != 100 {
		t.Errorf("power reads %v after a time-out, want 100", got[gpu.MetricPower])
	}
}

// A part of the NVLink errors that goes missing makes their sum unknown.
func TestNVLinkErrorsMissing(t *testing.T) {
	t.Parallel()
	d := newDGX()
	fill := d.device(0).GetFieldValuesFunc
	missing := uint32(0)
	d.device(0).GetFieldValuesFunc = func(values []nv.FieldValue) nv.Return {
		ret := fill(values)
		for i := range values {
			if values[i].FieldId == missing || values[i].FieldId == nv.FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL {
				values[i].NvmlReturn = uint32(nv.ERROR_NOT_SUPPORTED)
			}
		}
		return ret
	}
	b := mustOpen(t, d)
	if got := readBy(t, b, "GPU-0")[gpu.MetricNVLinkErrors]; got != 38+52+59 {
		t.Errorf("errors %v, want the three parts that there are", got)
	}
	missing = nv.FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL
	if got, ok := readBy(t, b, "GPU-0")[gpu.MetricNVLinkErrors]; ok {
		t.Errorf("errors %v although a part is missing", got)
	}
}

func TestReadLost(t *testing.T) {
	t.Parallel()
	d := newDGX()
	b := mustOpen(t, d)
	readBy(t, b, "GPU-1")
	d.lose(1)
	if _, err := b.Read("GPU-1"); !errors.Is(err, gpu.ErrGone) {
		t.Errorf("Read of a lost GPU: %v", err)
	}
	readBy(t, b, "GPU-0")
	d.DeviceGetHandleByUUIDFunc = func(string) (nv.Device, nv.Return) { return nil, nv.ERROR_NOT_FOUND }
	if _, err := b.Read("GPU-1"); !errors.Is(err, gpu.ErrGone) || !strings.Contains(err.Error(), "not found") {
		t.Errorf("Read of a GPU that the driver no longer lists: %v", err)
	}
}

func TestXIDs(t *testing.T) {
	t.Parallel()
	d := newDGX()
	b := mustOpen(t, d)
	for i := range 2 {
		if _, err := b.Describe(i); err != nil {
			t.Fatal(err)
		}
	}
	if xids := b.XIDs(); len(xids) != 0 { // begins to listen
		t.Errorf("XIDs %v before there were any", xids)
	}
	d.events <- nv.EventData{Device: d.Devices[1], EventType: nv.EventTypeDoubleBitEccError}
	d.events <- nv.EventData{Device: d.Devices[5], EventType: nv.EventTypeXidCriticalError, EventData: 31} // not watched
	d.events <- nv.EventData{Device: d.Devices[1], EventType: nv.EventTypeXidCriticalError, EventData: 79}
	for range 8 { // beyond the channel's room: all of the above were taken
		d.events <- nv.EventData{Device: d.Devices[1], EventType: nv.EventTypeDoubleBitEccError}
	}
	xids := b.XIDs()
	for len(xids) == 0 {
		d.events <- nv.EventData{}
		xids = b.XIDs()
	}
	if len(xids) != 1 || xids[0].UUID != "GPU-1" || xids[0].Code != 79 || xids[0].Time.IsZero() {
		t.Errorf("XIDs %+v, want 79 of GPU-1", xids)
	}
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	for ret, want := range map[nv.Return]string{
		nv.ERROR_LIBRARY_NOT_FOUND:       "install their driver",
		nv.ERROR_DRIVER_NOT_LOADED:       "modprobe nvidia",
		nv.ERROR_LIB_RM_VERSION_MISMATCH: "reboot",
		nv.ERROR_NO_PERMISSION:           "/dev/nvidiactl",
		nv.ERROR_UNKNOWN:                 "unknown error (999)",
	} {
		// Every other function is unset: a call past the failure panics.
		_, err := open(&mock.Interface{InitFunc: func() nv.Return { return ret }}, "/sys")
		if !errors.Is(err, gpu.ErrUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("open after %d: %v, want %q", ret, err, want)
		}
	}
}
