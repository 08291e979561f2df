//go:build cgo && linux

package nvml

import (
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall/gpu"
)

// buildLibrary compiles testdata/library.c to a libnvidia-ml.so.1 and returns
// its directory.
func buildLibrary(t *testing.T) string {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skipf("there is no C compiler for the test's library: %v", err)
	}
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/NVIDIA/go-nvml").Output()
	if err != nil {
		t.Fatalf("where is go-nvml? %v", err)
	}
	dir := t.TempDir()
	include := filepath.Join(strings.TrimSpace(string(module)), "pkg/nvml")
	out, err := exec.Command(gcc, "-shared", "-fPIC", "-w", "-I"+include, "-o", filepath.Join(dir, "libnvidia-ml.so.1"), "testdata/library.c").CombinedOutput()
	if err != nil {
		t.Fatalf("compile the test's library: %v\n%s", err, out)
	}
	return dir
}

// The whole way with a real dynamic library of an old driver: it is loaded,
// what it lacks is not called, what it prints is not taken for an answer, and
// a call in C that never returns costs the child only.
func TestLibrary(t *testing.T) {
	t.Parallel()
	dir := buildLibrary(t)
	command := []string{"env", "LD_LIBRARY_PATH=" + dir, "FAKE_NVML=" + dir, os.Args[0], "nvml-child"}
	s, err := gpu.OpenNVML(t.Context(), gpu.NVMLConfig{Command: command, Node: "n1", Deadline: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	devices, err := s.Devices(t.Context())
	if err != nil || len(devices) != 2 || devices[1].UUID != "GPU-1" || devices[1].PCIBus != "00000000:3D:00.0" || s.Driver() != "450.80.02" {
		t.Fatalf("driver %s, devices %+v, %v", s.Driver(), devices, err)
	}
	read := func(index int) {
		t.Helper()
		samples, err := s.Read(t.Context(), time.Now(), "n1", index, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(samples) != len(gpu.MetricNames()) {
			t.Errorf("%d samples; the library has no details", len(samples))
		}
		want := map[string]float64{
			gpu.MetricTemperature: 51 + float64(index), gpu.MetricPower: 123.456,
			gpu.MetricMemoryUsed: 2 << 30, gpu.MetricMemoryTotal: 16 << 30,
		}
		for _, sample := range samples {
			if v, ok := want[sample.Metric]; ok != !math.IsNaN(sample.Value) || ok && math.Abs(v-sample.Value) > 1e-9*v {
				t.Errorf("%s = %v, want %v", sample.Metric, sample.Value, v)
			}
		}
	}
	read(0)
	read(1)
	hang := filepath.Join(dir, "hang")
	if err := os.WriteFile(hang, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(t.Context(), time.Now(), "n1", 1, nil); !errors.Is(err, gpu.ErrSilent) {
		t.Errorf("Read of the hanging GPU = %v, want ErrSilent", err)
	}
	read(0)
	if err := os.Remove(hang); err != nil {
		t.Fatal(err)
	}
	read(1)

	if err := os.WriteFile(filepath.Join(dir, "absent"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := gpu.OpenNVML(t.Context(), gpu.NVMLConfig{Command: command, Node: "n1"}); !errors.Is(err, gpu.ErrUnavailable) || !strings.Contains(err.Error(), "modprobe nvidia") {
		t.Errorf("OpenNVML without the kernel module = %v", err)
	}
}
