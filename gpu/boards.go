package gpu

import "time"

// Boards is NVIDIA's management library as the child process uses it. Any call
// may hang for ever or end the process. Calls come from one goroutine.
type Boards interface {
	// Count returns how many GPUs the driver shows, and the driver's version.
	Count() (n int, driver string, err error)
	// Describe returns the GPU at that place of the driver's list, which is
	// not the same place for ever: when a GPU is lost, others move up. Its
	// neighbours are Topology's.
	Describe(index int) (Device, error)
	// Topology returns what lies between the GPUs with these UUIDs, in their
	// order and by their places in it; an empty UUID is passed over.
	Topology(uuids []string) ([]Neighbours, error)
	// Read returns one value for each of MetricNames, then one for each of
	// DetailNames, NaN where the GPU does not report it. Errors: ErrGone when
	// the driver no longer knows that GPU or has lost it.
	Read(uuid string) ([]float64, error)
	// XIDs returns the errors that the driver has logged since the last call,
	// of the GPUs that were described or read, oldest first. It does not wait.
	XIDs() []XIDReport
}

// Neighbours are the GPUs that one can reach, as in Device.
type Neighbours struct {
	Links []int      `json:"links,omitempty"`
	PCIe  []PCIePeer `json:"pcie,omitempty"`
}

// XIDReport is an error that the driver logged about a GPU.
type XIDReport struct {
	UUID string    `json:"uuid"`
	Code int       `json:"code"`
	Time time.Time `json:"time"` // when it was heard of
}
