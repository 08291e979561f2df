package gpu

// XIDs that the simulator reports, after NVIDIA's "XID Errors" catalogue.
const (
	XIDGraphicsException = 13  // the application's kernel faulted
	XIDPageFault         = 31  // the application touched memory that isn't its own
	XIDStopped           = 43  // the application's channel was stopped; the GPU is healthy
	XIDDoubleBit         = 48  // a double bit memory error, uncorrectable
	XIDRowRemap          = 63  // a memory row was remapped, pending a reset
	XIDRowRemapFailed    = 64  // a memory row could not be remapped
	XIDNVLink            = 74  // an NVLink went down
	XIDFellOffBus        = 79  // the GPU no longer answers on PCIe
	XIDContained         = 94  // an uncorrectable error that cost one application
	XIDUncontained       = 95  // an uncorrectable error that cost all; needs a reset
	XIDGSPTimeout        = 119 // the GPU's own processor no longer answers the driver
)

var xidText = map[int]string{
	XIDGraphicsException: "graphics engine exception in an application",
	XIDPageFault:         "GPU memory page fault in an application",
	XIDStopped:           "GPU stopped processing an application's channel",
	XIDDoubleBit:         "double bit ECC error",
	XIDRowRemap:          "ECC row remapping recorded",
	XIDRowRemapFailed:    "ECC row remapping failed",
	XIDNVLink:            "NVLink error",
	XIDFellOffBus:        "GPU has fallen off the bus",
	XIDContained:         "contained ECC error",
	XIDUncontained:       "uncontained ECC error",
	XIDGSPTimeout:        "GSP RPC timeout",
}
