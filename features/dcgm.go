package features

import (
	"fmt"
	"math"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/gpu"
)

// Bits of DCGM_FI_DEV_CLOCKS_EVENT_REASONS, from NVML's
// nvmlClocksEventReasons: software and hardware thermal slowdown.
const thermalSlowdown = 0x20 | 0x40

// dcgmBlank is the least of DCGM's "no value" codes (dcgm_structs.h:
// DCGM_INT32_BLANK and the codes after it). The 64-bit and floating-point ones
// are larger. No quantity that is mapped here reaches it.
const dcgmBlank = 0x7ffffff0

// dcgmMapping maps dcgm-exporter: field names of dcgm_fields.h with the labels
// gpu, UUID, Hostname. MIG instances of one GPU are joined.
func dcgmMapping() *Mapping {
	const mib = 1 << 20
	used, free, reserved := ".fb_used", ".fb_free", ".fb_reserved"
	m := compile(Mapping{name: "dcgm", kind: forestall.KindGPU, xid: "DCGM_FI_DEV_XID_ERRORS", locate: dcgmComponent},
		[]string{used, free, reserved}, []spec{
			{from: "DCGM_FI_DEV_GPU_TEMP", to: gpu.MetricTemperature},
			{from: "DCGM_FI_DEV_MEMORY_TEMP", to: gpu.MetricMemoryTemperature, value: zeroIsMissing},
			{from: "DCGM_FI_DEV_POWER_USAGE", to: gpu.MetricPower},
			{from: "DCGM_FI_DEV_POWER_MGMT_LIMIT", to: gpu.MetricPowerLimit},
			{from: "DCGM_FI_DEV_GPU_UTIL", to: gpu.MetricUtilization, scale: 0.01},
			{from: "DCGM_FI_DEV_FB_USED", to: used, scale: mib, join: joinSum},
			{from: "DCGM_FI_DEV_FB_FREE", to: free, scale: mib, join: joinSum},
			{from: "DCGM_FI_DEV_FB_RESERVED", to: reserved, scale: mib},
			{from: "DCGM_FI_DEV_FB_TOTAL", to: gpu.MetricMemoryTotal, scale: mib},
			{from: "DCGM_FI_DEV_SM_CLOCK", to: gpu.MetricSMClock, scale: 1e6},
			{from: "DCGM_FI_DEV_CLOCKS_EVENT_REASONS", to: gpu.MetricThrottleThermal, value: isThermal},
			{from: "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS", to: gpu.MetricThrottleThermal, value: isThermal},
			{from: "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL", to: gpu.MetricECCSingleBit},
			{from: "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", to: gpu.MetricECCDoubleBit},
			{from: "DCGM_FI_DEV_ROW_REMAP_PENDING", to: gpu.MetricRowRemapPending},
			{from: "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", to: gpu.MetricRowRemaps, join: joinSum},
			{from: "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS", to: gpu.MetricRowRemaps, join: joinSum},
			{from: "DCGM_FI_DEV_PCIE_REPLAY_COUNTER", to: gpu.MetricPCIeReplays},
			{from: "DCGM_FI_DEV_PCIE_LINK_WIDTH", to: gpu.MetricPCIeLinkWidth},
			{from: "DCGM_FI_DEV_PCIE_LINK_GEN", to: gpu.MetricPCIeLinkGen},
			{from: "DCGM_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL", to: gpu.MetricNVLinkErrors, join: joinSum},
			{from: "DCGM_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL", to: gpu.MetricNVLinkErrors, join: joinSum},
			{from: "DCGM_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL", to: gpu.MetricNVLinkErrors, join: joinSum},
			{from: "DCGM_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL", to: gpu.MetricNVLinkErrors, join: joinSum},
		})
	for name, rules := range m.rules {
		for i := range rules {
			m.rules[name][i].value = notBlank(rules[i].value)
		}
	}
	iUsed, iFree, iReserved := m.slot(used), m.slot(free), m.slot(reserved)
	outUsed, outTotal := m.slot(gpu.MetricMemoryUsed), m.slot(gpu.MetricMemoryTotal)
	m.derive = func(now, _ []float64) {
		now[outUsed] = now[iUsed]
		if math.IsNaN(now[outTotal]) {
			total := now[iUsed] + now[iFree] // NaN when either is missing
			if r := now[iReserved]; !math.IsNaN(r) {
				total += r
			}
			now[outTotal] = total
		}
	}
	return m
}

// dcgmComponent places a series by its gpu label on the given node, or on the
// one that its Hostname label names when that is empty.
func dcgmComponent(l labels.Labels, node string) (forestall.Component, error) {
	if !l.Has("gpu") { // of a switch, a CPU
		return forestall.Component{}, nil
	}
	if node == "" {
		node = l.Get("Hostname")
		if err := forestall.CheckName(node); err != nil {
			return forestall.Component{}, fmt.Errorf("label Hostname: %w; set the target's node", err)
		}
	}
	index, err := strconv.Atoi(l.Get("gpu"))
	if err != nil || index < 0 {
		return forestall.Component{}, fmt.Errorf("label gpu=%q is not a GPU's index", l.Get("gpu"))
	}
	return forestall.GPU(node, index), nil
}

// zeroIsMissing is for sensors that read 0 where they don't exist.
func zeroIsMissing(v float64) float64 {
	if v == 0 {
		return math.NaN()
	}
	return v
}

func isThermal(mask float64) float64 {
	if mask < 0 || !finite(mask) {
		return math.NaN()
	}
	if uint64(mask)&thermalSlowdown != 0 {
		return 1
	}
	return 0
}

func notBlank(next func(float64) float64) func(float64) float64 {
	return func(v float64) float64 {
		switch {
		case v >= dcgmBlank:
			return math.NaN()
		case next != nil:
			return next(v)
		}
		return v
	}
}
