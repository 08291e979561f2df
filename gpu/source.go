package gpu

import (
	"context"
	"errors"
	"time"

	"github.com/stratoswarm/forestall"
)

// What a source can have to say instead of samples.
var (
	// ErrGone is wrapped when a device that was there has vanished.
	ErrGone = errors.New("GPU is gone")
	// ErrUnavailable is wrapped when the source itself cannot be used. It says
	// nothing about the hardware.
	ErrUnavailable = errors.New("GPU source is unavailable")
	// ErrSilent is wrapped when a device was asked and gave no answer in time,
	// while the source as such works. It is no proof that the device failed.
	ErrSilent = errors.New("GPU does not answer")
)

// Device is one GPU of the node and its place in the node's topology.
type Device struct {
	Index       int    // on the node, from 0
	UUID        string // "GPU-...", stable across restarts
	Name        string // the product's
	MemoryBytes int64
	NUMANode    int         // -1: not known
	PCIBus      string      // domain:bus:device.function
	Links       []int       // indices of the GPUs it reaches over NVLink, ascending
	PCIe        []PCIePeer  // the other GPUs by how far they are over PCIe; nil: not known
	MIG         []MIGDevice // its instances, where it is partitioned
}

// PCIePeer is another GPU of the node and what lies between the two: "board",
// "switch", "switches", "host bridge", "NUMA node" or "system", nearest first.
type PCIePeer struct {
	Index int
	Via   string
}

// MIGDevice is an instance of a partitioned GPU. It fails with the GPU.
type MIGDevice struct {
	UUID            string // "MIG-..."
	Name            string // with its profile
	GPUInstance     int
	ComputeInstance int
	MemoryBytes     int64
}

// Source reads the GPUs of one node. Its methods may be called concurrently;
// Read may run for different devices at once, and calls for the same device
// are put in order by the source. After Close every method that can returns
// ErrUnavailable.
type Source interface {
	// Devices returns the GPUs that the source found when it was opened, by
	// index, also those that have vanished since.
	Devices(ctx context.Context) ([]Device, error)
	// Read appends the samples of the device with that index to dst: one for
	// each of MetricNames, in that order, then any of DetailNames that the
	// device has, all of component gpu/node/index and stamped now. NaN means
	// that the metric was not reported. When Read fails it returns dst as it
	// was, with an error that wraps ErrGone if the device has vanished,
	// ErrSilent if it was asked and does not answer, ErrUnavailable if the
	// source can't be used, or the context's if that ended first.
	Read(ctx context.Context, now time.Time, node string, index int, dst []forestall.Sample) ([]forestall.Sample, error)
	// Events returns what happened since the last call, oldest first, and
	// forgets it.
	Events() []forestall.Event
	// Close releases the source. Closing again does nothing.
	Close() error
}
