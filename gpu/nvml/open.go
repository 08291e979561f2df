//go:build cgo && linux

package nvml

import (
	"fmt"
	"sync"

	nv "github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/stratoswarm/forestall/gpu"
)

// Open initialises the library of the installed driver. Its error wraps
// gpu.ErrUnavailable and says what to do; nothing may be called after one.
func Open() (gpu.Boards, error) { return open(nv.New(), "/sys") }

// boards adapts the library.
type boards struct {
	lib    nv.Interface
	sys    string // where sysfs is mounted
	place  map[string]int
	symbol map[string]bool // looked up: does the library have it?
	known  map[string]*board

	set       nv.EventSet // nil: the library gives no events
	listening bool
	mu        sync.Mutex
	watched   map[nv.Device]string // UUIDs of what the set watches
	xids      []gpu.XIDReport
}

// board is what is remembered of a GPU.
type board struct {
	device  nv.Device
	absent  map[string]bool    // calls that it does not support
	fixed   map[string]float64 // values that do not change
	links   []int              // NVLinks that it has; nil: not looked for yet
	counted uint               // parts of the NVLink error count that it has reported
}

var _ gpu.Boards = (*boards)(nil)

func open(lib nv.Interface, sys string) (gpu.Boards, error) {
	if ret := lib.Init(); ret != nv.SUCCESS {
		return nil, fmt.Errorf("%w: %s", gpu.ErrUnavailable, whyNoInit(ret))
	}
	b := &boards{
		lib: lib, sys: sys,
		place: map[string]int{}, symbol: map[string]bool{}, known: map[string]*board{}, watched: map[nv.Device]string{},
	}
	for i, name := range append(gpu.MetricNames(), gpu.DetailNames()...) {
		b.place[name] = i
	}
	if b.has("nvmlEventSetCreate") && b.has("nvmlDeviceRegisterEvents") {
		if set, ret := lib.EventSetCreate(); ret == nv.SUCCESS {
			b.set = set
		}
	}
	return b, nil
}

// whyNoInit says why the library could not be initialised, and what to do.
func whyNoInit(ret nv.Return) string {
	switch ret {
	case nv.ERROR_LIBRARY_NOT_FOUND:
		return "libnvidia-ml.so.1 is not installed; where there are NVIDIA GPUs, install their driver"
	case nv.ERROR_DRIVER_NOT_LOADED:
		return "the NVIDIA kernel module is not loaded; load it with modprobe nvidia"
	case nv.ERROR_LIB_RM_VERSION_MISMATCH:
		return "libnvidia-ml.so.1 and the loaded NVIDIA kernel module are of different versions, as after an update; reboot, or reload the module"
	case nv.ERROR_NO_PERMISSION:
		return "this user may not open /dev/nvidiactl; run the engine as one who may"
	}
	return fmt.Sprintf("NVML could not be initialised: %s (%d)", text(ret), int(ret))
}

// text names a return code without calling the library, which may not be there.
func text(ret nv.Return) string {
	for name, code := range map[string]nv.Return{
		"uninitialized": nv.ERROR_UNINITIALIZED, "invalid argument": nv.ERROR_INVALID_ARGUMENT,
		"not supported": nv.ERROR_NOT_SUPPORTED, "no permission": nv.ERROR_NO_PERMISSION,
		"not found": nv.ERROR_NOT_FOUND, "insufficient power": nv.ERROR_INSUFFICIENT_POWER,
		"driver not loaded": nv.ERROR_DRIVER_NOT_LOADED, "timeout": nv.ERROR_TIMEOUT,
		"interrupt issue": nv.ERROR_IRQ_ISSUE, "function not found": nv.ERROR_FUNCTION_NOT_FOUND,
		"corrupted infoROM": nv.ERROR_CORRUPTED_INFOROM, "GPU is lost": nv.ERROR_GPU_IS_LOST,
		"reset required": nv.ERROR_RESET_REQUIRED, "operating system blocks": nv.ERROR_OPERATING_SYSTEM,
		"insufficient memory": nv.ERROR_MEMORY, "no data": nv.ERROR_NO_DATA, "not ready": nv.ERROR_NOT_READY,
		"GPU not found": nv.ERROR_GPU_NOT_FOUND, "invalid state": nv.ERROR_INVALID_STATE, "unknown error": nv.ERROR_UNKNOWN,
	} {
		if code == ret {
			return name
		}
	}
	return "error"
}

// has reports whether the library has a function. What it lacks must not be
// called.
func (b *boards) has(symbol string) bool {
	known, ok := b.symbol[symbol]
	if !ok {
		known = b.lib.Extensions().LookupSymbol(symbol) == nil
		b.symbol[symbol] = known
	}
	return known
}

// failed says what a call about a GPU came to. A lost GPU is gpu.ErrGone.
func failed(call, which string, ret nv.Return) error {
	switch ret {
	case nv.ERROR_GPU_IS_LOST, nv.ERROR_NOT_FOUND, nv.ERROR_GPU_NOT_FOUND:
		return fmt.Errorf("%w: %s of %s: %s", gpu.ErrGone, call, which, text(ret))
	}
	return fmt.Errorf("%s of %s: %s (%d)", call, which, text(ret), int(ret))
}

// Count implements [gpu.Boards].
func (b *boards) Count() (int, string, error) {
	n, ret := b.lib.DeviceGetCount()
	if ret != nv.SUCCESS {
		return 0, "", fmt.Errorf("%w: count GPUs: %s (%d)", gpu.ErrUnavailable, text(ret), int(ret))
	}
	version, ret := b.lib.SystemGetDriverVersion()
	if ret != nv.SUCCESS {
		version = "of unknown version"
	}
	return n, version, nil
}

// board returns the GPU with that UUID, whose XIDs are listened to from now on.
func (b *boards) board(uuid string) (*board, error) {
	if d := b.known[uuid]; d != nil {
		return d, nil
	}
	device, ret := b.lib.DeviceGetHandleByUUID(uuid)
	if ret != nv.SUCCESS {
		return nil, failed("handle", uuid, ret)
	}
	d := &board{device: device, absent: map[string]bool{}, fixed: map[string]float64{}}
	b.known[uuid] = d
	b.watch(device, uuid)
	return d, nil
}
