package gpu_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/gpu"
)

// clock is a time that the test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// openFakeNVML opens a source whose children are this binary again.
func openFakeNVML(t *testing.T, deadline time.Duration) (source *gpu.NVML, dir string, c *clock) {
	t.Helper()
	dir = t.TempDir()
	c = &clock{t: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	source, err := gpu.OpenNVML(t.Context(), gpu.NVMLConfig{
		Command: []string{os.Args[0], "fake-nvml", dir}, Node: "n1", Deadline: deadline, Now: c.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = source.Close() })
	return source, dir, c
}

func TestNVMLConformance(t *testing.T) {
	t.Parallel()
	testSource(t, func(t *testing.T) gpu.Source {
		s, _, _ := openFakeNVML(t, 20*time.Second)
		return s
	})
}

// await waits for what another process does.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("waited in vain until %s", what)
			return
		}
	}
}

func read(s *gpu.NVML, c *clock, index int) ([]forestall.Sample, error) {
	return s.Read(context.Background(), c.now(), "n1", index, nil)
}

func mustRead(t *testing.T, s *gpu.NVML, c *clock, index int) {
	t.Helper()
	samples, err := read(s, c, index)
	if err != nil {
		t.Fatalf("read of GPU %d: %v", index, err)
	}
	if want := 40 + float64(index); samples[0].Value != want {
		t.Errorf("GPU %d reads %v, want %v: another GPU's values", index, samples[0].Value, want)
	}
	if want := len(gpu.MetricNames()) + 1; len(samples) != want {
		t.Errorf("%d samples, want %d: details that the device has not must not be there", len(samples), want)
	}
}

// A call that never returns costs its process, not the engine and not the
// siblings.
func TestNVMLHang(t *testing.T) {
	t.Parallel()
	s, dir, c := openFakeNVML(t, 2*time.Second)
	set(t, dir, "hang", 3, "")

	_, err := read(s, c, 3)
	var silent *gpu.SilentError
	if !errors.As(err, &silent) || !errors.Is(err, gpu.ErrSilent) || silent.Waited != 2*time.Second || silent.Component != forestall.GPU("n1", 3) {
		t.Fatalf("read of the hanging GPU: %v, want a SilentError that waited", err)
	}
	if errors.Is(err, gpu.ErrGone) || errors.Is(err, gpu.ErrUnavailable) {
		t.Errorf("%v says that the GPU or the source is gone", err)
	}
	events := s.Events()
	want := []forestall.Event{{Component: forestall.GPU("n1", 3), Kind: forestall.EventTelemetryCollapse, Time: c.now(), Detail: "NVML gave no answer within 2s; the process that asked was killed"}}
	if diff := cmp.Diff(want, events); diff != "" {
		t.Errorf("events:\n%s", diff)
	}
	for i := range 8 {
		if i != 3 {
			mustRead(t, s, c, i) // at once: the others' process is replaced without a pause
		}
	}
	// It hangs on in a process of its own; that leaves the others' alone.
	for range 2 {
		// Not before the kernel has let the last process go, which a busy machine is slow at.
		await(t, "the hanging GPU is asked", func() bool {
			if _, err := read(s, c, 3); !errors.As(err, &silent) {
				t.Fatalf("read of the hanging GPU: %v", err)
			}
			return silent.Waited > 0
		})
	}
	before := started(t, dir)
	if _, err := read(s, c, 3); !errors.As(err, &silent) || silent.Waited != 0 {
		t.Fatalf("read of the hanging GPU: %v, want that it was not asked so soon", err)
	}
	for i := range 3 {
		mustRead(t, s, c, i)
	}
	if now := started(t, dir); now != before {
		t.Errorf("%d processes started while the GPU rested", now-before)
	}
	if events := s.Events(); len(events) != 0 {
		t.Errorf("the collapse was told again: %v", events)
	}
	// It comes back.
	unset(t, dir, "hang", 3)
	c.pass(time.Minute)
	for range 4 {
		mustRead(t, s, c, 3)
	}
	before = started(t, dir)
	for i := range 8 {
		mustRead(t, s, c, i)
	}
	if now := started(t, dir); now != before {
		t.Errorf("a GPU that answers again still has a process of its own")
	}
}

// Who waits is not kept beyond its context, and the hanging GPU is found out
// all the same.
func TestNVMLHangPastContext(t *testing.T) {
	t.Parallel()
	s, dir, c := openFakeNVML(t, 2*time.Second)
	set(t, dir, "hang", 5, "")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		defer cancel()
		await(t, "the call hangs", func() bool {
			_, err := os.Stat(filepath.Join(dir, "hangs-5"))
			return err == nil || ctx.Err() != nil
		})
	}()
	if _, err := s.Read(ctx, c.now(), "n1", 5, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("Read = %v, want the context's error", err)
	}
	mustRead(t, s, c, 4) // waits for its turn
	if events := s.Events(); len(events) != 1 || events[0].Kind != forestall.EventTelemetryCollapse {
		t.Errorf("events %v, want the collapse", events)
	}
}

func TestNVMLBadChild(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ fault, want string }{
		{"crash", "exit status 127): forestall: symbol lookup error: undefined symbol: nvmlDeviceGetNothing"},
		{"garbage", `it wrote "NVRM: not what was asked for", which is no response`},
		{"flood", "that is for request 1, not"},
		{"endless", "it floods its output: line too long: over 65536 bytes"},
	} {
		t.Run(c.fault, func(t *testing.T) {
			t.Parallel()
			s, dir, clock := openFakeNVML(t, 20*time.Second)
			set(t, dir, c.fault, 2, "")
			_, err := read(s, clock, 2)
			if !errors.Is(err, gpu.ErrUnavailable) || errors.Is(err, gpu.ErrGone) || errors.Is(err, gpu.ErrSilent) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("Read = %v\nwant ErrUnavailable with %q", err, c.want)
			}
			if events := s.Events(); len(events) != 0 {
				t.Errorf("events %v: a child that fails says nothing about the hardware", events)
			}
			for i := range 8 {
				if i != 2 {
					mustRead(t, s, clock, i)
				}
			}
			unset(t, dir, c.fault, 2)
			clock.pass(time.Minute)
			for range 4 {
				mustRead(t, s, clock, 2)
			}
		})
	}
}

func TestNVMLOpen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ fault, want string }{
		{"absent", "no driver here"},
		{"init-crash", "exit status 127"},
		{"init-hang", "no answer within"},
		{"init-garbage", "which is no response"},
	} {
		t.Run(c.fault, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			set(t, dir, c.fault, 0, "")
			start := 20 * time.Second
			if c.fault == "init-hang" {
				start = time.Second
			}
			s, err := gpu.OpenNVML(t.Context(), gpu.NVMLConfig{Command: []string{os.Args[0], "fake-nvml", dir}, Node: "n1", Start: start})
			if s != nil || !errors.Is(err, gpu.ErrUnavailable) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("OpenNVML = %v, %v; want ErrUnavailable with %q", s, err, c.want)
			}
		})
	}
	_, err := gpu.OpenNVML(t.Context(), gpu.NVMLConfig{Command: []string{"/nonexistent/forestall"}, Node: "n1"})
	if !errors.Is(err, gpu.ErrUnavailable) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("OpenNVML of a program that is not there = %v", err)
	}
	_, err = gpu.OpenNVML(t.Context(), gpu.NVMLConfig{Command: []string{"true"}, Node: "n 1"})
	if !errors.Is(err, forestall.ErrBadName) {
		t.Errorf("OpenNVML of a bad node name = %v", err)
	}
}

// A GPU that cannot be described when the source opens is listed, and known
// once it answers.
func TestNVMLDescribedLater(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	set(t, dir, "describe-crash", 6, "")
	c := &clock{t: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	s, err := gpu.OpenNVML(t.Context(), gpu.NVMLConfig{Command: []string{os.Args[0], "fake-nvml", dir}, Node: "n1", Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	list, err := s.Devices(t.Context())
	if err != nil || len(list) != 8 || list[6].UUID != "" || list[7].UUID != "GPU-7" {
		t.Fatalf("Devices = %+v, %v; want eight, the seventh without a UUID", list, err)
	}
	unset(t, dir, "describe-crash", 6)
	mustRead(t, s, c, 6)
	if list, _ := s.Devices(t.Context()); list[6].UUID != "GPU-6" {
		t.Errorf("after a reading the GPU is %+v", list[6])
	}
}

// A topology that cannot be read is not known, and blames no GPU.
func TestNVMLWithoutTopology(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	set(t, dir, "topology-crash", 0, "")
	c := &clock{t: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	s, err := gpu.OpenNVML(t.Context(), gpu.NVMLConfig{Command: []string{os.Args[0], "fake-nvml", dir}, Node: "n1", Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if list, _ := s.Devices(t.Context()); len(list) != 8 || list[0].Links != nil || list[0].UUID != "GPU-0" {
		t.Errorf("Devices = %+v, want eight without links", list)
	}
	for i := range 8 {
		mustRead(t, s, c, i)
	}
	if events := s.Events(); len(events) != 0 {
		t.Errorf("events %v", events)
	}
}

func TestNVMLOpenCanceled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := gpu.OpenNVML(ctx, gpu.NVMLConfig{Command: []string{os.Args[0], "fake-nvml", t.TempDir()}, Node: "n1"})
	if !errors.Is(err, gpu.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("OpenNVML = %v", err)
	}
}

// Processes end with their source, and by themselves when their input ends.
func TestNVMLCloseEndsChildren(t *testing.T) {
	t.Parallel()
	s, dir, c := openFakeNVML(t, 2*time.Second)
	set(t, dir, "hang", 2, "")
	if _, err := read(s, c, 2); !errors.Is(err, gpu.ErrSilent) {
		t.Fatal(err)
	}
	mustRead(t, s, c, 0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "started"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range strings.Fields(string(b)) {
		await(t, "process "+pid+" ends", func() bool { _, err := os.Stat("/proc/" + pid); return err != nil })
	}
}

func TestServeBoardsEndsWithItsInput(t *testing.T) {
	t.Parallel()
	in, ask := io.Pipe()
	answers, out := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- gpu.ServeBoards(in, out, func() (gpu.Boards, error) {
			select {} // hangs while the input ends
		})
	}()
	if _, err := io.WriteString(ask, `{"id":1,"op":"hello"}`+"\n"); err != nil {
		t.Fatal(err)
	}
	_ = ask.Close() // never fails
	if err := <-ended; err != nil {
		t.Errorf("ServeBoards = %v, want nil at the end of its input", err)
	}
	_ = answers.Close()

	if err := gpu.ServeBoards(strings.NewReader("nonsense\n"), io.Discard, nil); err == nil || !strings.Contains(err.Error(), `request "nonsense"`) {
		t.Errorf("ServeBoards of nonsense = %v", err)
	}
}

func TestNVMLLost(t *testing.T) {
	t.Parallel()
	s, dir, c := openFakeNVML(t, 20*time.Second)
	set(t, dir, "lost", 1, "")
	if _, err := read(s, c, 1); !errors.Is(err, gpu.ErrGone) || errors.Is(err, gpu.ErrUnavailable) {
		t.Errorf("Read of a lost GPU = %v, want ErrGone", err)
	}
	mustRead(t, s, c, 0)
	if n := started(t, dir); n != 1 {
		t.Errorf("%d processes, want one", n)
	}
}

func TestNVMLXIDs(t *testing.T) {
	t.Parallel()
	s, dir, c := openFakeNVML(t, 20*time.Second)
	set(t, dir, "xid", 4, "79")
	mustRead(t, s, c, 4)
	at := time.Unix(1_750_000_000, 0)
	want := []forestall.Event{
		{Component: forestall.GPU("n1", 4), Kind: forestall.EventXID, Time: at, Code: 79, Detail: "GPU has fallen off the bus"},
		{Component: forestall.GPU("n1", 4), Kind: forestall.EventFellOffBus, Time: at, Code: 79, Detail: "GPU has fallen off the bus"},
	}
	if diff := cmp.Diff(want, s.Events()); diff != "" {
		t.Errorf("events:\n%s", diff)
	}
	if events := s.Events(); len(events) != 0 {
		t.Errorf("told again: %v", events)
	}
}
