//go:build cgo && linux

package nvml

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall/gpu"
)

// TestMain lets this binary be the child process that calls the real library.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "nvml-child" {
		if err := Serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestRealGPU reads the GPUs of this machine through a child process, as the
// engine does. `make test-gpu` runs it alone and shows what it reads.
func TestRealGPU(t *testing.T) {
	s, err := gpu.OpenNVML(t.Context(), gpu.NVMLConfig{Command: []string{os.Args[0], "nvml-child"}, Node: "n1"})
	if err != nil {
		t.Skipf("there is no GPU to read: %v", err)
	}
	defer func() { _ = s.Close() }()
	devices, err := s.Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("driver %s, %d GPUs", s.Driver(), len(devices))
	for _, d := range devices {
		t.Logf("%+v", d)
		if !strings.HasPrefix(d.UUID, "GPU-") || d.Name == "" || d.MemoryBytes <= 0 || len(d.PCIBus) != len("00000000:1B:00.0") {
			t.Errorf("GPU %d is incomplete: %+v", d.Index, d)
		}
		for range 3 {
			start := time.Now()
			samples, err := s.Read(t.Context(), start, "n1", d.Index, nil)
			took := time.Since(start)
			if err != nil {
				t.Fatal(err)
			}
			reported := 0
			for i, sample := range samples {
				if !math.IsNaN(sample.Value) {
					reported++
				}
				if sample.Value < 0 || math.IsInf(sample.Value, 0) {
					t.Errorf("%s = %v", sample.Metric, sample.Value)
				}
				if i < len(gpu.MetricNames()) {
					t.Logf("%-36s %v", sample.Metric, sample.Value)
				}
			}
			t.Logf("GPU %d: %d of %d metrics in %s", d.Index, reported, len(gpu.MetricNames())+len(gpu.DetailNames()), took)
			if math.IsNaN(samples[0].Value) || samples[0].Value > 130 {
				t.Errorf("temperature %v", samples[0].Value)
			}
		}
	}
}
