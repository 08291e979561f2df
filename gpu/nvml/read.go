//go:build cgo && linux

package nvml

import (
	"encoding/binary"
	"fmt"
	"math"

	nv "github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/stratoswarm/forestall/gpu"
)

// Read implements [gpu.Boards]. A value that the GPU does not give, or not now,
// is NaN; a GPU that the driver has lost is gpu.ErrGone.
func (b *boards) Read(uuid string) ([]float64, error) {
	d, err := b.board(uuid)
	if err != nil {
		return nil, err
	}
	r := reading{boards: b, board: d, values: make([]float64, len(b.place))}
	for i := range r.values {
		r.values[i] = math.NaN()
	}
	for _, q := range quantities {
		if v, ok := d.fixed[q.metric]; ok {
			r.set(q.metric, v)
			continue
		}
		var v float64
		if r.call(q.metric, q.symbol, func() (ret nv.Return) { v, ret = q.read(d.device); return ret }) {
			r.set(q.metric, v)
			if q.fixed {
				d.fixed[q.metric] = v
			}
		}
	}
	r.rates()
	r.memory()
	r.throttle()
	r.remaps()
	r.nvlinks(r.fields())
	if r.lost {
		delete(b.known, uuid)
		return nil, fmt.Errorf("%w: the driver has lost %s", gpu.ErrGone, uuid)
	}
	return r.values, nil
}

// reading is one GPU's values as they come in.
type reading struct {
	*boards
	*board
	values []float64
	lost   bool
}

func (r *reading) set(metric string, v float64) { r.values[r.place[metric]] = v }

func (r *reading) flag(metric string, on bool) {
	v := 0.0
	if on {
		v = 1
	}
	r.set(metric, v)
}

// call makes a call, unless the library lacks it, the GPU does not support it
// or has just been lost, and reports whether it succeeded.
func (r *reading) call(name, symbol string, call func() nv.Return) bool {
	if r.lost || r.absent[name] || !r.has(symbol) {
		return false
	}
	ret := call()
	switch ret {
	case nv.ERROR_NOT_SUPPORTED, nv.ERROR_FUNCTION_NOT_FOUND, nv.ERROR_VGPU_ECC_NOT_SUPPORTED:
		r.absent[name] = true
	case nv.ERROR_GPU_IS_LOST:
		r.lost = true
	}
	return ret == nv.SUCCESS
}

func (r *reading) rates() {
	var u nv.Utilization
	if r.call("utilization", "nvmlDeviceGetUtilizationRates", func() (ret nv.Return) { u, ret = r.device.GetUtilizationRates(); return ret }) {
		r.set(gpu.MetricUtilization, float64(u.Gpu)/100)
		r.set("gpu_memory_utilization_ratio", float64(u.Memory)/100)
	}
}

// memory prefers the call that leaves the driver's own share out of what is
// used, as DCGM does.
func (r *reading) memory() {
	var v2 nv.Memory_v2
	if r.call("memory", "nvmlDeviceGetMemoryInfo_v2", func() (ret nv.Return) { v2, ret = r.device.GetMemoryInfo_v2(); return ret }) {
		r.set(gpu.MetricMemoryUsed, float64(v2.Used))
		r.set(gpu.MetricMemoryTotal, float64(v2.Total))
		return
	}
	if r.has("nvmlDeviceGetMemoryInfo_v2") && !r.absent["memory"] {
		return // not this time; the other call counts differently
	}
	var v1 nv.Memory
	if r.call("memory 1", "nvmlDeviceGetMemoryInfo", func() (ret nv.Return) { v1, ret = r.device.GetMemoryInfo(); return ret }) {
		r.set(gpu.MetricMemoryUsed, float64(v1.Used))
		r.set(gpu.MetricMemoryTotal, float64(v1.Total))
	}
}

func (r *reading) throttle() {
	symbol, get := "nvmlDeviceGetCurrentClocksEventReasons", r.device.GetCurrentClocksEventReasons
	if !r.has(symbol) {
		symbol, get = "nvmlDeviceGetCurrentClocksThrottleReasons", r.device.GetCurrentClocksThrottleReasons
	}
	var reasons uint64
	if r.call("throttle", symbol, func() (ret nv.Return) { reasons, ret = get(); return ret }) {
		for _, t := range throttles {
			r.flag(t.metric, reasons&t.mask != 0)
		}
	}
}

func (r *reading) remaps() {
	var correctable, uncorrectable int
	var pending, failure bool
	if r.call("remaps", "nvmlDeviceGetRemappedRows", func() (ret nv.Return) {
		correctable, uncorrectable, pending, failure, ret = r.device.GetRemappedRows()
		return ret
	}) {
		r.set(gpu.MetricRowRemaps, float64(correctable+uncorrectable))
		r.set("gpu_row_remap_correctable_total", float64(correctable))
		r.set("gpu_row_remap_uncorrectable_total", float64(uncorrectable))
		r.flag(gpu.MetricRowRemapPending, pending)
		r.flag("gpu_row_remap_failure", failure)
	}
}

// fields sets the values of one call together and returns how many NVLinks
// there are, as many as the library knows where the GPU does not say.
func (r *reading) fields() (links int) {
	links = nv.NVLINK_MAX_LINKS
	values := make([]nv.FieldValue, len(fields))
	for i, f := range fields {
		values[i].FieldId = f.id
	}
	if !r.call("fields", "nvmlDeviceGetFieldValues", func() nv.Return { return r.device.GetFieldValues(values) }) {
		return links
	}
	for i, f := range fields {
		v, ok := fieldValue(values[i])
		switch {
		case nv.Return(values[i].NvmlReturn) == nv.ERROR_GPU_IS_LOST:
			r.lost = true
		case !ok:
		case f.id == nv.FI_DEV_NVLINK_LINK_COUNT:
			links = min(links, int(v))
		case f.id == nv.FI_DEV_MEMORY_TEMP && v == 0: // there is no sensor
		default:
			r.set(f.metric, v*f.scale)
		}
	}
	return links
}

// fieldValue decodes a field that was reported.
func fieldValue(f nv.FieldValue) (float64, bool) {
	if nv.Return(f.NvmlReturn) != nv.SUCCESS {
		return 0, false
	}
	u64 := binary.NativeEndian.Uint64(f.Value[:])
	u32 := binary.NativeEndian.Uint32(f.Value[:])
	switch nv.ValueType(f.ValueType) {
	case nv.VALUE_TYPE_DOUBLE:
		return math.Float64frombits(u64), true
	case nv.VALUE_TYPE_UNSIGNED_INT:
		return float64(u32), true
	case nv.VALUE_TYPE_UNSIGNED_LONG, nv.VALUE_TYPE_UNSIGNED_LONG_LONG:
		return float64(u64), true
	case nv.VALUE_TYPE_SIGNED_LONG_LONG:
		return float64(int64(u64)), true
	case nv.VALUE_TYPE_SIGNED_INT:
		return float64(int32(u32)), true
	case nv.VALUE_TYPE_UNSIGNED_SHORT:
		return float64(binary.NativeEndian.Uint16(f.Value[:])), true
	}
	return 0, false
}

// nvlinkErrors are the parts of gpu.MetricNVLinkErrors.
var nvlinkErrors = []string{
	"gpu_nvlink_crc_flit_errors_total", "gpu_nvlink_crc_data_errors_total", "gpu_nvlink_replays_total", "gpu_nvlink_recoveries_total",
}

// nvlinks sums the errors and counts the links that are up. A part that was
// reported before and is not now makes the sum unknown, not smaller.
func (r *reading) nvlinks(most int) {
	sum, parts := 0.0, uint(0)
	for i, metric := range nvlinkErrors {
		if v := r.values[r.place[metric]]; !math.IsNaN(v) {
			sum += v
			parts |= 1 << i
		}
	}
	if parts != 0 && parts&r.counted == r.counted {
		r.counted = parts
		r.set(gpu.MetricNVLinkErrors, sum)
	}

	state := func(link int) (up, ok bool) {
		ok = r.call("link", "nvmlDeviceGetNvLinkState", func() nv.Return {
			s, ret := r.device.GetNvLinkState(link)
			up = s == nv.FEATURE_ENABLED
			if ret == nv.ERROR_NOT_SUPPORTED { // of this link, not of the GPU
				ret = nv.ERROR_INVALID_ARGUMENT
			}
			return ret
		})
		return up, ok
	}
	if r.links == nil && !r.lost {
		r.links = []int{}
		for link := range most {
			if _, ok := state(link); ok {
				r.links = append(r.links, link)
			}
		}
	}
	active := 0
	for _, link := range r.links {
		up, ok := state(link)
		if !ok {
			return
		}
		if up {
			active++
		}
	}
	if len(r.links) > 0 {
		r.set(gpu.MetricNVLinkActive, float64(active))
	}
}
