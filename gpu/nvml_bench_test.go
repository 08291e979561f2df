package gpu_test

import (
	"os"
	"testing"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/gpu"
)

// BenchmarkNVMLScrape reads eight GPUs through a child process: pipes, JSON and
// two switches of process each. The child's library answers at once; what the
// driver takes comes on top.
func BenchmarkNVMLScrape(b *testing.B) {
	s, err := gpu.OpenNVML(b.Context(), gpu.NVMLConfig{Command: []string{os.Args[0], "fake-nvml", b.TempDir()}, Node: "n1"})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	c := clock{}
	var dst []forestall.Sample
	b.ReportAllocs()
	for b.Loop() {
		for i := range 8 {
			if dst, err = s.Read(b.Context(), c.now(), "n1", i, dst[:0]); err != nil {
				b.Fatal(err)
			}
		}
	}
}
