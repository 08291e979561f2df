//go:build cgo && linux

package nvml

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	nv "github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxh200"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/server"
)

// dgx is go-nvml's mock of a DGX H200 with what it lacks filled in. A function
// that is neither there nor filled in panics when it is called, so that a test
// with symbols missing also shows that nothing missing is called.
type dgx struct {
	*server.Server
	missing []string // symbols that the library lacks
	events  chan nv.EventData
	mu      sync.Mutex
	lost    map[int]bool
}

func newDGX() *dgx {
	d := &dgx{Server: dgxh200.New(), events: make(chan nv.EventData, 8), lost: map[int]bool{}}
	d.LookupSymbolFunc = func(symbol string) error {
		if slices.Contains(d.missing, symbol) {
			return errors.New("undefined symbol: " + symbol)
		}
		return nil
	}
	d.EventSetCreateFunc = func() (nv.EventSet, nv.Return) {
		return &mock.EventSet{WaitFunc: func(uint32) (nv.EventData, nv.Return) { return <-d.events, nv.SUCCESS }}, nv.SUCCESS
	}
	for i := range d.Devices {
		d.fill(i)
	}
	return d
}

func (d *dgx) device(i int) *server.Device { return d.Devices[i].(*server.Device) }

func (d *dgx) lose(i int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lost[i] = true
}

// fill gives device i what a healthy H200 under load answers.
func (d *dgx) fill(i int) {
	b := d.device(i)
	b.UUID = fmt.Sprintf("GPU-%d", i)
	ret := func() nv.Return {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.lost[i] {
			return nv.ERROR_GPU_IS_LOST
		}
		return nv.SUCCESS
	}
	u32 := func(v uint32) func() (uint32, nv.Return) { return func() (uint32, nv.Return) { return v, ret() } }
	integer := func(v int) func() (int, nv.Return) { return func() (int, nv.Return) { return v, ret() } }
	b.GetPciInfoFunc = func() (nv.PciInfo, nv.Return) { return nv.PciInfo{Bus: uint32(0x1b + i)}, ret() }
	b.GetTemperatureFunc = func(nv.TemperatureSensors) (uint32, nv.Return) { return uint32(60 + i), ret() }
	b.GetTemperatureThresholdFunc = func(of nv.TemperatureThresholds) (uint32, nv.Return) { return 90 + uint32(of), ret() }
	b.GetPowerUsageFunc = u32(612_345)
	b.GetEnforcedPowerLimitFunc = u32(700_000)
	b.GetPowerManagementDefaultLimitFunc = u32(700_000)
	b.GetPowerManagementLimitConstraintsFunc = func() (uint32, uint32, nv.Return) { return 200_000, 700_000, ret() }
	b.GetClockInfoFunc = func(of nv.ClockType) (uint32, nv.Return) { return 1000 * uint32(of), ret() }
	b.GetMaxClockInfoFunc = func(nv.ClockType) (uint32, nv.Return) { return 1980, ret() }
	b.GetPerformanceStateFunc = func() (nv.Pstates, nv.Return) { return nv.PSTATE_0, ret() }
	b.GetUtilizationRatesFunc = func() (nv.Utilization, nv.Return) { return nv.Utilization{Gpu: 97, Memory: 41}, ret() }
	b.GetMemoryInfo_v2Func = func() (nv.Memory_v2, nv.Return) {
		return nv.Memory_v2{Total: 141 << 30, Reserved: 1 << 30, Used: 100 << 30, Free: 40 << 30}, ret()
	}
	b.GetCurrentClocksEventReasonsFunc = func() (uint64, nv.Return) { return nv.ClocksThrottleReasonHwThermalSlowdown, ret() }
	b.GetTotalEccErrorsFunc = func(kind nv.MemoryErrorType, span nv.EccCounterType) (uint64, nv.Return) {
		return 100 + 10*uint64(span) + uint64(kind), ret()
	}
	b.GetMemoryErrorCounterFunc = func(kind nv.MemoryErrorType, span nv.EccCounterType, where nv.MemoryLocation) (uint64, nv.Return) {
		return 1000*uint64(where) + 10*uint64(span) + uint64(kind), ret()
	}
	b.GetRemappedRowsFunc = func() (int, int, bool, bool, nv.Return) { return 2, 3, true, false, ret() }
	b.GetPcieReplayCounterFunc = integer(7)
	b.GetCurrPcieLinkWidthFunc = integer(16)
	b.GetCurrPcieLinkGenerationFunc = integer(5)
	b.GetMaxPcieLinkWidthFunc = integer(16)
	b.GetMaxPcieLinkGenerationFunc = integer(5)
	b.GetFieldValuesFunc = func(values []nv.FieldValue) nv.Return {
		for i := range values {
			v := uint64(values[i].FieldId) // each field reads its own number
			switch values[i].FieldId {
			case nv.FI_DEV_NVLINK_LINK_COUNT:
				v = 18
			case nv.FI_DEV_MEMORY_TEMP:
				v = 71
			}
			values[i].ValueType = uint32(nv.VALUE_TYPE_UNSIGNED_LONG_LONG)
			binary.NativeEndian.PutUint64(values[i].Value[:], v)
		}
		return ret()
	}
	b.GetNvLinkStateFunc = func(link int) (nv.EnableState, nv.Return) {
		if link == 17 {
			return nv.FEATURE_DISABLED, ret()
		}
		return nv.FEATURE_ENABLED, ret()
	}
	b.GetP2PStatusFunc = func(nv.Device, nv.GpuP2PCapsIndex) (nv.GpuP2PStatus, nv.Return) { return nv.P2P_STATUS_OK, ret() }
	b.GetTopologyCommonAncestorFunc = func(other nv.Device) (nv.GpuTopologyLevel, nv.Return) {
		j := other.(*server.Device).Index
		switch {
		case i/2 == j/2:
			return nv.TOPOLOGY_SINGLE, ret()
		case i/4 == j/4:
			return nv.TOPOLOGY_NODE, ret()
		}
		return nv.TOPOLOGY_SYSTEM, ret()
	}
	b.GetSupportedEventTypesFunc = func() (uint64, nv.Return) {
		return nv.EventTypeXidCriticalError | nv.EventTypeDoubleBitEccError, ret()
	}
	b.RegisterEventsFunc = func(uint64, nv.EventSet) nv.Return { return ret() }
}
