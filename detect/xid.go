package detect

import "fmt"

// XID is what an error number that the NVIDIA driver logs stands for.
type XID struct {
	Code    int
	Meaning string
	Fatal   bool // work on the GPU is lost and it needs a reset, a reboot or a repair
	Remedy  string
}

// String returns the code and the meaning: "XID 79: the GPU has fallen off the
// bus".
func (x XID) String() string { return fmt.Sprintf("XID %d: %s", x.Code, x.Meaning) }

// LookupXID returns what is known of a code. Codes that are not in the table
// are no failure by themselves.
func LookupXID(code int) (XID, bool) {
	for _, x := range xids {
		if x.Code == code {
			return x, true
		}
	}
	return XID{}, false
}

const (
	restartApp = "restart the application"
	resetGPU   = "drain the node and reset the GPU"
	reboot     = "drain the node and reboot it; replace the GPU if it comes back"
	checkLink  = "drain the node, reset the GPU, check the NVLink fabric"
)

// xids is a selection of NVIDIA's catalogue ("Analyzing Xid Errors with the Xid
// Catalog", docs.nvidia.com/deploy/xid-errors): what occurs in data centres.
// Fatal follows its immediate action, a reset, a reboot or a repair, as opposed
// to restarting the application or nothing. The driver logs 48 for every
// uncorrectable error; on GPUs that contain it (94) other processes survive,
// but which row follows is not known yet, so it counts as fatal.
var xids = []XID{
	{13, "graphics engine exception, mostly a fault of the application", false, restartApp},
	{31, "GPU memory page fault, mostly a fault of the application", false, restartApp},
	{32, "invalid or corrupted push buffer stream", false, restartApp},
	{38, "driver firmware error", false, restartApp},
	{43, "the GPU stopped processing for one application", false, restartApp},
	{45, "preemptive cleanup after an earlier error", false, restartApp},
	{46, "the GPU stopped processing", true, resetGPU},
	{48, "uncorrectable (double bit) memory error", true, resetGPU},
	{54, "auxiliary power is not connected to the GPU", true, "check the power connectors"},
	{61, "internal microcontroller warning", false, resetGPU},
	{62, "internal microcontroller halt", true, resetGPU},
	{63, "a memory row or page was recorded for remapping", false, "reset the GPU when it is idle, to make the remapping active"},
	{64, "a memory row or page could not be recorded for remapping", true, resetGPU},
	{68, "video decoder exception", false, restartApp},
	{69, "graphics engine class error", false, restartApp},
	{74, "NVLink error", true, checkLink},
	{79, "the GPU has fallen off the bus", true, reboot},
	{92, "high rate of corrected memory errors", false, "watch it; run diagnostics when it is idle"},
	{94, "contained memory error: only the application that met it is affected", false, restartApp},
	{95, "uncontained memory error: every application on the GPU is affected", true, resetGPU},
	{109, "context switch timeout", true, resetGPU},
	{110, "security fault", true, reboot},
	{119, "the GPU's system processor doesn't answer (GSP RPC timeout)", true, resetGPU},
	{120, "error of the GPU's system processor (GSP)", true, resetGPU},
	{121, "corrected error of the chip-to-chip link", false, "watch it"},
	{136, "link training failed", true, checkLink},
	{140, "unrecovered memory error", true, resetGPU},
	{143, "the GPU could not be initialised", true, reboot},
	{145, "NVLink error: RLW", true, checkLink},
	{146, "NVLink error: TLW", true, checkLink},
	{147, "NVLink error: TREX", true, checkLink},
	{148, "NVLink error: NVLPW_CTRL", true, checkLink},
	{149, "NVLink error: NETIR", true, checkLink},
	{150, "NVLink error: MSE", true, checkLink},
	{158, "fatal timeout of the GPU", true, resetGPU},
}
