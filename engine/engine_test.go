package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/gpu"
	"github.com/stratoswarm/forestall/migrate"
	"github.com/stratoswarm/forestall/workload"
)

// TestMain lets the test binary be a shim, as the real program is, and a child
// that serves GPUs.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "hanging-nvml" || os.Args[1] == "no-nvml") {
		serve := func() error { return serveHangingBoards(os.Args[2]) }
		if os.Args[1] == "no-nvml" {
			serve = func() error {
				return gpu.ServeBoards(os.Stdin, os.Stdout, func() (gpu.Boards, error) { return nil, fmt.Errorf("%w: no driver", gpu.ErrUnavailable) })
			}
		}
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) > 3 && os.Args[1] == "shim" {
		if err := workload.RunShim(context.Background(), os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// testConfig is an engine that is alone, quick, and keeps all in a directory.
func testConfig(dir string) Config {
	c := DefaultConfig()
	c.SetData(dir)
	c.Engine.Name = "n1"
	c.API.Address = "127.0.0.1:0"
	c.FaultTolerance.CheckpointInterval = Duration{300 * time.Millisecond}
	c.FaultTolerance.PredictionInterval = Duration{200 * time.Millisecond}
	c.Features.ScrapeInterval = Duration{100 * time.Millisecond}
	return c
}

// runEngine runs an engine, which tune may change before, until the returned
// function is called.
func runEngine(t *testing.T, c Config, tune ...func(*Engine)) (client testClient, e *Engine, stop func()) {
	t.Helper()
	t.Cleanup(func() { endRuns(t, c.Engine.DataDir) })
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
	e, err := New(c, Options{Version: "test", Shim: []string{os.Args[0], "shim"}, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range tune {
		change(e)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("engine: %v", err)
		}
	}
	return testClient{api.NewClient(e.api.URL()), e.api.URL()}, e, stop
}

// testClient also knows where it asks.
type testClient struct {
	*api.Client
	base string
}

// endRuns kills what engines left running under a data directory, as they are
// meant to: a test that failed in the middle must not.
func endRuns(t *testing.T, dir string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		cmdline, _ := os.ReadFile(path) // it may have ended
		if !strings.Contains(string(cmdline), "shim\x00--dir\x00"+dir+"/") {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(path, "/proc/%d/cmdline", &pid); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL) // its workload dies with it
		}
	}
}

// await polls until the condition holds.
func await[T any](t *testing.T, what string, ask func(context.Context) (T, error), ok func(T) bool) T {
	t.Helper()
	return awaitLong(t, 30*time.Second, what, ask, ok)
}

// awaitLong is await for what may take so long.
func awaitLong[T any](t *testing.T, patience time.Duration, what string, ask func(context.Context) (T, error), ok func(T) bool) T {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		v, err := ask(t.Context())
		if err == nil && ok(v) {
			return v
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s; last answer %+v, %v", what, v, err)
		}
		time.Sleep(20 * time.Millisecond) // between looks at a real process
	}
}

func TestEngineAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := testConfig(dir)
	c.GPU.Source, c.GPU.SimGPUs = "sim", 2
	c.Workloads = []WorkloadConfig{{
		Name: "w", Kind: "service", GPUs: 1,
		Command: []string{"sh", "-c", "while :; do date +%s%N > $FORESTALL_STATE_DIR/clock.tmp && mv $FORESTALL_STATE_DIR/clock.tmp $FORESTALL_STATE_DIR/clock; sleep 0.05; done"},
	}}
	client, _, stop := runEngine(t, c)

	running := func(list []api.WorkloadStatus) bool {
		return len(list) == 1 && list[0].State == api.StateRunning && list[0].PID > 0
	}
	first := await(t, "the workload to run", client.Workloads, running)[0]
	await(t, "a checkpoint", func(ctx context.Context) ([]forestall.Checkpoint, error) { return client.Checkpoints(ctx, "w") },
		func(l []forestall.Checkpoint) bool { return len(l) >= 2 && l[0].Size > 0 && l[0].Epoch == first.Epoch })
	risks := await(t, "a judged GPU and a judged host", client.Risks, func(risks []forestall.Risk) bool {
		judged := 0
		for _, r := range risks {
			if r.Grade != forestall.Unknown {
				judged++
			}
		}
		return judged >= 2
	})
	if len(risks) != 3 {
		t.Errorf("%d risks, want those of the node and its 2 GPUs", len(risks))
	}
	if err := client.Ready(t.Context()); err != nil {
		t.Errorf("a running engine is not ready: %v", err)
	}

	// A restart leaves the workload running and finds it again.
	stop()
	if err := syscall.Kill(first.PID, 0); err != nil {
		t.Fatalf("the workload did not outlive its engine: %v", err)
	}
	client, _, stop = runEngine(t, c)
	again := await(t, "the workload to be found again", client.Workloads, running)[0]
	if again.PID != first.PID || again.Epoch != first.Epoch {
		t.Errorf("after the restart pid %d epoch %d, before it pid %d epoch %d", again.PID, again.Epoch, first.PID, first.Epoch)
	}

	// A crash of the workload is recovered under a new epoch.
	if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	recovered := await(t, "the workload to be recovered", client.Workloads, func(l []api.WorkloadStatus) bool {
		return running(l) && l[0].Epoch > first.Epoch
	})[0]
	incidents := await(t, "the incident to close", client.Incidents, func(l []forestall.Incident) bool {
		return len(l) == 1 && !l[0].End.IsZero()
	})
	if incidents[0].Kind != forestall.ServiceFailure {
		t.Errorf("incident %+v, want a service failure", incidents[0])
	}
	for _, name := range []string{
		"fault_tolerance_checkpoints_total{", "fault_tolerance_checkpoint_duration_seconds_count ", "fault_tolerance_recoveries_total{result=\"success\"} 1",
		"fault_tolerance_recovery_duration_seconds_count 1", "fault_tolerance_failures_detected_total{kind=\"service_failure\"} 1", "fault_tolerance_prediction_accuracy ",
	} {
		await(t, name, func(context.Context) (string, error) { return get(t, client.base+"/metrics"), nil },
			func(page string) bool { return strings.Contains(page, "\n"+name) })
	}
	stop()
	endWorkload(t, recovered.PID)
}

func get(t *testing.T, url string) string {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// shimOf returns the parent of a workload's process.
func shimOf(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	var ppid int
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if _, err := fmt.Sscan(fields[1], &ppid); err != nil {
		t.Fatal(err)
	}
	return ppid
}

// endWorkload ends what an engine left running.
func endWorkload(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(shimOf(t, pid), syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

func TestLateStartTouchesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := testConfig(dir)
	c.Workloads = []WorkloadConfig{{Name: "w", Kind: "service", Command: []string{"sleep", "1000"}}}
	client, e, stop := runEngine(t, c)
	w := await(t, "the workload with a checkpoint", client.Workloads, func(l []api.WorkloadStatus) bool {
		return len(l) == 1 && l[0].State == api.StateRunning && l[0].Head != nil && l[0].PID > 0
	})[0]
	state := filepath.Join(dir, "state", "w")
	before, err := os.Stat(state)
	if err != nil {
		t.Fatal(err)
	}
	spec, _ := e.spec("w")
	order := migrate.StartOrder{Workload: spec, Epoch: w.Epoch, Checkpoint: w.Head.ID}
	if _, err := e.start(t.Context(), order); err != nil {
		t.Errorf("the order repeated: %v, want success", err)
	}
	order.Epoch = w.Epoch - 1
	if _, err := e.start(t.Context(), order); !errors.Is(err, forestall.ErrStaleEpoch) {
		t.Errorf("an earlier order that comes late: %v, want ErrStaleEpoch", err)
	}
	order.Epoch = w.Epoch + 1
	if _, err := e.start(t.Context(), order); err == nil {
		t.Error("an order that was never granted is carried out")
	}
	after, err := os.Stat(state)
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, after) {
		t.Error("the state directory was replaced under the running workload")
	}
	if now := await(t, "the workload", client.Workloads, func(l []api.WorkloadStatus) bool { return len(l) == 1 })[0]; now.PID != w.PID {
		t.Errorf("pid %d, was %d", now.PID, w.PID)
	}
	stop()
	endWorkload(t, w.PID)
}
