package gpu_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/gpu"
	"pgregory.net/rapid"
)

var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// bench is a simulator under a clock that stands still until moved.
type bench struct {
	*gpu.Sim
	t   fatal
	now time.Time
}

type fatal interface {
	Helper()
	Fatal(args ...any)
}

func newBench(t fatal, gpus int, seed uint64) *bench {
	t.Helper()
	b := &bench{t: t, now: begin}
	sim, err := gpu.NewSim(gpu.SimConfig{Node: "n1", GPUs: gpus, Seed: seed, Now: func() time.Time { return b.now }})
	if err != nil {
		t.Fatal(err)
	}
	b.Sim = sim
	return b
}

func (b *bench) inject(index int, m gpu.Mode, over time.Duration) {
	b.t.Helper()
	if err := b.Inject(index, m, over); err != nil {
		b.t.Fatal(err)
	}
}

// try reads a device as metric -> value.
func (b *bench) try(index int) (map[string]float64, error) {
	samples, err := b.Read(context.Background(), b.now, "n1", index, nil)
	values := make(map[string]float64)
	for _, s := range samples {
		values[s.Metric] = s.Value
	}
	return values, err
}

func (b *bench) read(index int) map[string]float64 {
	b.t.Helper()
	values, err := b.try(index)
	if err != nil {
		b.t.Fatal(err)
	}
	return values
}

func (b *bench) xids() (codes []int, fell int) {
	for _, e := range b.Events() {
		switch e.Kind {
		case forestall.EventXID:
			codes = append(codes, e.Code)
		case forestall.EventFellOffBus:
			fell++
		}
	}
	return codes, fell
}

func TestSimIsSource(t *testing.T) {
	t.Parallel()
	testSource(t, func(t *testing.T) gpu.Source { return newBench(t, 8, 1).Sim })
	t.Run("details", func(t *testing.T) {
		testSource(t, func(t *testing.T) gpu.Source {
			s, err := gpu.NewSim(gpu.SimConfig{Node: "n1", GPUs: 8, Seed: 1, Details: true})
			if err != nil {
				t.Fatal(err)
			}
			return s
		})
	})
}

func TestSimConfigValidate(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]gpu.SimConfig{
		"Node": {Node: "a/b", GPUs: 1},
		"GPUs": {Node: "n1", GPUs: 65},
		"is 0": {Node: "n1"},
	} {
		_, err := gpu.NewSim(cfg)
		if want = strings.Replace(want, "is 0", "0 is not in 1 to 64", 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewSim(%+v): %v, want an error about %s", cfg, err, want)
		}
	}
}

func TestParseMode(t *testing.T) {
	t.Parallel()
	for _, m := range gpu.Modes() {
		if got, err := gpu.ParseMode(string(m)); got != m || err != nil {
			t.Errorf("ParseMode(%q) = %q, %v", m, got, err)
		}
	}
	_, err := gpu.ParseMode("meteor")
	if err == nil || !strings.Contains(err.Error(), "thermal_runaway") || !strings.Contains(err.Error(), "meteor") {
		t.Errorf("ParseMode(meteor): %v, want it to list the modes", err)
	}
}

func TestPowerAndTemperatureFollowLoad(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 3)
	b.SetLoad(1, 0.9)
	for range 300 {
		b.now = b.now.Add(time.Second)
		b.read(0)
		b.read(1)
	}
	idle, busy := b.read(0), b.read(1)
	if idle[gpu.MetricUtilization] != 0 || idle[gpu.MetricPower] > 75 || idle[gpu.MetricTemperature] > 35 || idle[gpu.MetricSMClock] != 210e6 {
		t.Errorf("idle GPU: %v", idle)
	}
	if busy[gpu.MetricUtilization] < 0.9 || busy[gpu.MetricPower] < 300 || busy[gpu.MetricTemperature] < 45 || busy[gpu.MetricSMClock] < 1200e6 {
		t.Errorf("busy GPU: %v", busy)
	}
	b.SetLoad(1, 0)
	b.now = b.now.Add(5 * time.Second)
	soon := b.read(1)
	if soon[gpu.MetricUtilization] != 0 || soon[gpu.MetricPower] > busy[gpu.MetricPower]/2 {
		t.Errorf("5 s after the work ended: %v", soon)
	}
	if soon[gpu.MetricTemperature] < idle[gpu.MetricTemperature]+10 {
		t.Errorf("temperature fell from %v to %v °C in 5 s", busy[gpu.MetricTemperature], soon[gpu.MetricTemperature])
	}
}

func TestHealthyStaysHealthy(t *testing.T) {
	t.Parallel()
	b := newBench(t, 8, 5)
	for i := range 8 {
		b.SetLoad(i, float64(i)/7)
	}
	last := make([]map[string]float64, 8)
	for range 1800 {
		b.now = b.now.Add(time.Second)
		for i := range 8 {
			r := b.read(i)
			if r[gpu.MetricTemperature] > 80 || r[gpu.MetricThrottleThermal] != 0 || r[gpu.MetricRowRemapPending] != 0 || r[gpu.MetricNVLinkActive] != 12 {
				t.Fatalf("GPU %d at %v: %v", i, b.now.Sub(begin), r)
			}
			for m, v := range r {
				if math.IsNaN(v) || counter(m) && last[i] != nil && v < last[i][m] {
					t.Fatalf("GPU %d: %s is %v after %v", i, m, v, last[i][m])
				}
			}
			last[i] = r
		}
	}
}

// TestReadingsRepeat: the same seed, node and times of asking give the same
// readings, whatever they are.
func TestReadingsRepeat(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		a, b := newBench(t, 2, seed), newBench(t, 2, seed)
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			wait := time.Duration(rapid.IntRange(0, 120_000).Draw(t, "ms")) * time.Millisecond
			load := rapid.Float64Range(0, 1).Draw(t, "load")
			mode := rapid.SampledFrom(append(gpu.Modes(), "")).Draw(t, "mode")
			for _, s := range []*bench{a, b} {
				s.now = s.now.Add(wait)
				s.SetLoad(1, load)
				if mode != "" {
					_ = s.Inject(1, mode, time.Minute)
				}
			}
			left, leftErr := a.try(1)
			right, rightErr := b.try(1)
			if diff := cmp.Diff(left, right, cmpopts.EquateNaNs()); diff != "" || (leftErr == nil) != (rightErr == nil) {
				t.Fatalf("readings differ: %v, %v\n%s", leftErr, rightErr, diff)
			}
			if diff := cmp.Diff(a.Events(), b.Events()); diff != "" {
				t.Fatalf("events differ:\n%s", diff)
			}
		}
	})
}

func TestSeedMatters(t *testing.T) {
	t.Parallel()
	a, b := newBench(t, 2, 1), newBench(t, 2, 2)
	for _, s := range []*bench{a, b} {
		s.SetLoad(0, 0.7)
		s.SetLoad(1, 0.7)
	}
	if cmp.Equal(a.read(0), b.read(0)) || cmp.Equal(a.read(0), a.read(1)) {
		t.Error("two seeds, or two devices of one, read the same")
	}
}

func TestReadAgainRepeats(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, 1)
	first := b.read(0)
	if diff := cmp.Diff(first, b.read(0)); diff != "" {
		t.Errorf("the same time reads differently:\n%s", diff)
	}
	b.now = b.now.Add(-time.Hour)
	if diff := cmp.Diff(first, b.read(0)); diff != "" {
		t.Errorf("an earlier time reads differently:\n%s", diff)
	}
}

func TestModesLeaveSiblingsAlone(t *testing.T) {
	t.Parallel()
	for _, m := range gpu.Modes() {
		sick, well := newBench(t, 3, 7), newBench(t, 3, 7)
		sick.inject(1, m, time.Minute)
		for range 90 {
			for _, b := range []*bench{sick, well} {
				b.now = b.now.Add(time.Second)
				_, _ = b.try(1)
			}
			for _, i := range []int{0, 2} {
				if diff := cmp.Diff(well.read(i), sick.read(i)); diff != "" {
					t.Fatalf("%s in GPU 1 changes GPU %d:\n%s", m, i, diff)
				}
			}
		}
	}
}

func TestInjectState(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2, 1)
	state := func() gpu.State {
		t.Helper()
		s, err := b.State(1)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if got := state(); got != (gpu.State{Mode: gpu.ModeNone}) {
		t.Errorf("at first %+v", got)
	}
	b.inject(1, gpu.ModeFallsOffBus, time.Minute)
	want := gpu.State{Mode: gpu.ModeFallsOffBus, Since: begin, FailsAt: begin.Add(time.Minute)}
	b.now = begin.Add(59 * time.Second)
	if got := state(); got != want {
		t.Errorf("under way %+v, want %+v", got, want)
	}
	b.now = begin.Add(time.Minute)
	want.Failed = true
	if got := state(); got != want {
		t.Errorf("failed %+v, want %+v", got, want)
	}
	if _, err := b.try(1); !errors.Is(err, gpu.ErrGone) {
		t.Errorf("Read of a failed GPU: %v, want ErrGone", err)
	}
	if err := b.Inject(1, gpu.ModeECCStorm, time.Minute); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("inject into a failed GPU: %v, want the remedy", err)
	}
	b.inject(1, gpu.ModeNone, 0)
	if got := state(); got != (gpu.State{Mode: gpu.ModeNone}) {
		t.Errorf("replaced %+v", got)
	}
	b.read(1)
	for name, err := range map[string]error{
		"index":    b.Inject(2, gpu.ModeNone, 0),
		"mode":     b.Inject(1, "meteor", 0),
		"duration": b.Inject(1, gpu.ModeECCStorm, -1),
	} {
		if err == nil {
			t.Errorf("inject with a wrong %s was accepted", name)
		}
	}
	if _, err := b.State(-1); !errors.Is(err, gpu.ErrNoDevice) {
		t.Errorf("State(-1): %v", err)
	}
}

func TestWaitIsAsked(t *testing.T) {
	t.Parallel()
	var waited time.Duration
	sim, err := gpu.NewSim(gpu.SimConfig{Node: "n1", GPUs: 1, Now: func() time.Time { return begin }, Wait: func(_ context.Context, d time.Duration) error {
		waited = d
		return context.DeadlineExceeded
	}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = sim.Read(t.Context(), begin, "n1", 0, nil)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Read: %v, want what Wait returned", err)
	}
	if waited <= 0 || waited > 5*time.Millisecond || waited != sim.Latency(0) {
		t.Errorf("waited %v, Latency %v; want 1 to 3 ms", waited, sim.Latency(0))
	}
}

func TestSleepEndsWithContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := gpu.Sleep(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("Sleep = %v", err)
	}
	if err := gpu.Sleep(t.Context(), time.Nanosecond); err != nil {
		t.Errorf("Sleep = %v", err)
	}
}

func BenchmarkSimRead(b *testing.B) {
	s := newBench(b, 8, 1)
	dst := make([]forestall.Sample, 0, len(gpu.MetricNames()))
	i, samples := 0, 0
	b.ReportAllocs()
	for b.Loop() {
		var err error
		dst, err = s.Read(b.Context(), begin.Add(time.Duration(i/8)*time.Second), "n1", i%8, dst[:0])
		if err != nil {
			b.Fatal(err)
		}
		i++
		samples += len(dst)
	}
	b.ReportMetric(float64(samples)/b.Elapsed().Seconds(), "samples/s")
}
