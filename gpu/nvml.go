package gpu

import "fmt"

// OpenNVML opens the GPUs of this machine through NVIDIA's management
// library. Its error wraps [ErrUnavailable].
func OpenNVML() (Source, error) {
	return nil, fmt.Errorf("%w: NVML source is not built into this version", ErrUnavailable)
}
