//go:build !cgo || !linux

package nvml

import (
	"fmt"
	"runtime"

	"github.com/stratoswarm/forestall/gpu"
)

// Open returns an error that wraps gpu.ErrUnavailable: this program was built
// without cgo or for another system than Linux.
func Open() (gpu.Boards, error) {
	return nil, fmt.Errorf("%w: this program was built without NVML (%s, CGO_ENABLED=0 or not Linux); use one built with cgo, or read a DCGM exporter's page with [[features.target]]",
		gpu.ErrUnavailable, runtime.GOOS)
}
