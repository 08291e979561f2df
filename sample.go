package forestall

import "time"

// Sample is one reading of one metric of one component.
type Sample struct {
	Component Component
	Metric    string    // snake case, ending in its unit: gpu_temperature_celsius
	Time      time.Time // when it was read; one stamp for a whole scrape
	Value     float64   // NaN: the metric was asked for and not reported
}

// EventKind names something that happened, as opposed to a quantity.
type EventKind string

// The kinds of event that sources report.
const (
	EventXID               EventKind = "xid"                // Code is the NVIDIA XID
	EventOOMKill           EventKind = "oom_kill"           // the kernel killed a process for memory
	EventExit              EventKind = "exit"               // a supervised process ended; Code is its status
	EventFellOffBus        EventKind = "fell_off_bus"       // the device vanished
	EventScrapeError       EventKind = "scrape_error"       // a source could not be read: says nothing about the hardware
	EventMachineCheck      EventKind = "machine_check"      // the processor or firmware reported a hardware error; Code counts reports
	EventDiskError         EventKind = "disk_error"         // a disk failed a request or does not answer; Code counts messages
	EventLinkDown          EventKind = "link_down"          // a network interface lost its link or hangs; Code counts messages
	EventPCIeError         EventKind = "pcie_error"         // a PCIe port reported errors (AER); Code counts messages
	EventKernelStall       EventKind = "kernel_stall"       // a CPU or task is stuck; Code counts messages
	EventTelemetryCollapse EventKind = "telemetry_collapse" // a device that was asked gave no answer while its source works: evidence, no failure
)

// Event is something that happened to a component.
type Event struct {
	Component Component `json:"component"`
	Kind      EventKind `json:"kind"`
	Time      time.Time `json:"time"`
	Code      int       `json:"code,omitempty"`
	Detail    string    `json:"detail,omitempty"`
}
