//go:build cgo && linux

package nvml

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	nv "github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/stratoswarm/forestall/gpu"
)

// Describe implements [gpu.Boards].
func (b *boards) Describe(index int) (gpu.Device, error) {
	which := fmt.Sprintf("GPU %d", index)
	device, ret := b.lib.DeviceGetHandleByIndex(index)
	if ret != nv.SUCCESS {
		return gpu.Device{}, failed("handle", which, ret)
	}
	d := gpu.Device{Index: index, NUMANode: -1}
	if d.UUID, ret = device.GetUUID(); ret != nv.SUCCESS {
		return gpu.Device{}, failed("UUID", which, ret)
	}
	if d.Name, ret = device.GetName(); ret != nv.SUCCESS {
		return gpu.Device{}, failed("name", which, ret)
	}
	if memory, ret := device.GetMemoryInfo(); ret == nv.SUCCESS {
		d.MemoryBytes = int64(memory.Total)
	}
	if pci, ret := device.GetPciInfo(); ret == nv.SUCCESS {
		d.PCIBus = fmt.Sprintf("%08X:%02X:%02X.0", pci.Domain, pci.Bus, pci.Device)
		d.NUMANode = b.numaNode(fmt.Sprintf("%04x:%02x:%02x.0", pci.Domain, pci.Bus, pci.Device))
	}
	d.MIG = b.instances(device)
	if _, err := b.board(d.UUID); err != nil {
		return gpu.Device{}, err
	}
	return d, nil
}

// numaNode returns the NUMA node that a PCI device hangs on, -1 if not known.
// (NVML's own numaNodeId is that of the GPU's memory, on boards that have one.)
func (b *boards) numaNode(bus string) int {
	text, err := os.ReadFile(filepath.Join(b.sys, "bus/pci/devices", bus, "numa_node"))
	if err != nil {
		return -1
	}
	node, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || node < 0 {
		return -1
	}
	return node
}

// instances returns the MIG devices of a GPU that is partitioned.
func (b *boards) instances(device nv.Device) []gpu.MIGDevice {
	for _, symbol := range []string{
		"nvmlDeviceGetMigMode", "nvmlDeviceGetMaxMigDeviceCount", "nvmlDeviceGetMigDeviceHandleByIndex",
		"nvmlDeviceGetGpuInstanceId", "nvmlDeviceGetComputeInstanceId",
	} {
		if !b.has(symbol) {
			return nil
		}
	}
	if mode, _, ret := device.GetMigMode(); ret != nv.SUCCESS || mode != nv.DEVICE_MIG_ENABLE {
		return nil
	}
	most, ret := device.GetMaxMigDeviceCount()
	if ret != nv.SUCCESS {
		return nil
	}
	var list []gpu.MIGDevice
	for i := range most {
		instance, ret := device.GetMigDeviceHandleByIndex(i)
		if ret != nv.SUCCESS {
			continue // no instance has this place
		}
		m := gpu.MIGDevice{GPUInstance: -1, ComputeInstance: -1}
		if m.UUID, ret = instance.GetUUID(); ret != nv.SUCCESS {
			continue
		}
		if name, ret := instance.GetName(); ret == nv.SUCCESS {
			m.Name = name
		}
		if id, ret := instance.GetGpuInstanceId(); ret == nv.SUCCESS {
			m.GPUInstance = id
		}
		if id, ret := instance.GetComputeInstanceId(); ret == nv.SUCCESS {
			m.ComputeInstance = id
		}
		if memory, ret := instance.GetMemoryInfo(); ret == nv.SUCCESS {
			m.MemoryBytes = int64(memory.Total)
		}
		list = append(list, m)
	}
	return list
}

// between names what lies between two GPUs, nearest first.
var between = []struct {
	level nv.GpuTopologyLevel
	name  string
}{
	{nv.TOPOLOGY_INTERNAL, "board"},
	{nv.TOPOLOGY_SINGLE, "switch"},
	{nv.TOPOLOGY_MULTIPLE, "switches"},
	{nv.TOPOLOGY_HOSTBRIDGE, "host bridge"},
	{nv.TOPOLOGY_NODE, "NUMA node"},
	{nv.TOPOLOGY_SYSTEM, "system"},
}

// Topology implements [gpu.Boards]. Two GPUs reach each other over NVLink when
// the driver says that they can copy over it, be it by a link between them or
// through NVSwitches.
func (b *boards) Topology(uuids []string) ([]gpu.Neighbours, error) {
	list := make([]gpu.Neighbours, len(uuids))
	devices := make([]nv.Device, len(uuids))
	for i, uuid := range uuids {
		if uuid == "" {
			continue
		}
		d, err := b.board(uuid)
		if err != nil {
			return nil, err
		}
		devices[i] = d.device
	}
	levels := make([]nv.GpuTopologyLevel, len(uuids))
	for i, from := range devices {
		for j, to := range devices {
			if i == j || from == nil || to == nil {
				continue
			}
			if b.has("nvmlDeviceGetP2PStatus") {
				if status, ret := from.GetP2PStatus(to, nv.P2P_CAPS_INDEX_NVLINK); ret == nv.SUCCESS && status == nv.P2P_STATUS_OK {
					list[i].Links = append(list[i].Links, j)
				}
			}
			if !b.has("nvmlDeviceGetTopologyCommonAncestor") {
				continue
			}
			level, ret := from.GetTopologyCommonAncestor(to)
			if ret != nv.SUCCESS {
				continue
			}
			for _, known := range between {
				if known.level == level {
					levels[j] = level
					list[i].PCIe = append(list[i].PCIe, gpu.PCIePeer{Index: j, Via: known.name})
				}
			}
		}
		slices.SortStableFunc(list[i].PCIe, func(a, b gpu.PCIePeer) int { return int(levels[a.Index]) - int(levels[b.Index]) })
	}
	return list, nil
}
