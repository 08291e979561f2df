package engine

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/gpu"
)

// hangingBoards are two GPUs; reading the second never returns while the file
// exists.
type hangingBoards struct{ file string }

func (hangingBoards) Count() (int, string, error) { return 2, "550.54.15", nil }

func (hangingBoards) Describe(index int) (gpu.Device, error) {
	return gpu.Device{Index: index, UUID: fmt.Sprintf("GPU-%d", index), Name: "NVIDIA Fake"}, nil
}

func (hangingBoards) Topology(uuids []string) ([]gpu.Neighbours, error) {
	return make([]gpu.Neighbours, len(uuids)), nil
}

func (b hangingBoards) Read(uuid string) ([]float64, error) {
	if _, err := os.Stat(b.file); err == nil && uuid == "GPU-1" {
		select {}
	}
	values := slices.Repeat([]float64{math.NaN()}, len(gpu.MetricNames())+len(gpu.DetailNames()))
	values[0] = 40
	return values, nil
}

func (hangingBoards) XIDs() []gpu.XIDReport { return nil }

func serveHangingBoards(file string) error {
	return gpu.ServeBoards(os.Stdin, os.Stdout, func() (gpu.Boards, error) { return hangingBoards{file}, nil })
}

// A GPU whose reading never returns costs the engine a process at most: its
// siblings are read in the same scrape or the next, it is no failure, and it
// is given no work.
func TestEngineHangingGPU(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hang := filepath.Join(dir, "hang")
	c := testConfig(dir)
	c.GPU.Source = "nvml"
	c.Features.Host = false
	c.Features.ScrapeInterval, c.Features.ScrapeTimeout = Duration{time.Second}, Duration{900 * time.Millisecond}
	var log bytes.Buffer
	e, err := New(c, Options{Shim: []string{os.Args[0], "shim"}, NVML: []string{os.Args[0], "hanging-nvml", hang}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	tel := e.telemetry
	first, second := forestall.GPU("n1", 0), forestall.GPU("n1", 1)
	works := watchFailed(e, first, second)
	tel.scrapeNode(t.Context())
	if !works(first) || !works(second) {
		t.Fatalf("healthy GPUs do not answer; log:\n%s", &log)
	}
	if err := os.WriteFile(hang, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	for range 3 {
		tel.scrapeNode(t.Context())
	}
	if took := time.Since(before); took > 3*time.Second {
		t.Errorf("three scrapes took %s, more than their timeouts allow", took)
	}
	if !works(first) || works(second) {
		t.Errorf("the sibling answers: %v, the hanging GPU: %v; log:\n%s", works(first), works(second), &log)
	}
	tel.lanes.with(second, func(w *features.Window) {
		if w.Last().Before(before) {
			t.Error("the silent GPU's scrapes were not noted; that it reports nothing is an observation")
		}
	})
	for _, want := range []string{"kind=telemetry_collapse", "GPUs are read through NVML"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, &log)
		}
	}
	if failures := e.outbox.pending(); len(failures) != 0 {
		t.Errorf("a silent GPU counts as failed: %v", failures)
	}
}

// Without a driver "auto" goes on and says so, "nvml" does not start.
func TestEngineWithoutNVML(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := testConfig(dir)
	c.Features.Host = false
	nothing := []string{os.Args[0], "no-nvml"}
	c.GPU.Source = "nvml"
	_, err := New(c, Options{Shim: []string{os.Args[0], "shim"}, NVML: nothing})
	if err == nil || !strings.Contains(err.Error(), `gpu.source = "nvml": GPU source is unavailable: no driver; gpu.source = "auto" runs without`) {
		t.Errorf("New = %v", err)
	}
	c.GPU.Source = "auto"
	var there atomic.Bool
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !there.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "DCGM_FI_DEV_GPU_TEMP{gpu=\"0\"} 50\n")
	}))
	defer page.Close()
	c.Features.Targets = []TargetConfig{{URL: page.URL, Preset: "dcgm"}}
	client, _, stop := runEngine(t, c)
	defer stop()
	s, err := client.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	says := func(s api.Status) bool {
		return slices.ContainsFunc(s.Notes, func(n string) bool { return strings.HasPrefix(n, "no GPU telemetry: GPU source is unavailable") })
	}
	if !says(s) {
		t.Errorf("notes %q do not say why there is no GPU telemetry", s.Notes)
	}
	there.Store(true)
	await(t, "no such note, as a target describes this node's GPUs", client.Status, func(s api.Status) bool { return !says(s) })
}
