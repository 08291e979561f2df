package live_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/checkpoint/delta"
	"github.com/stratoswarm/forestall/checkpoint/live"
)

// BenchmarkIncrement takes checkpoints of 1 GiB of memory (64 MiB with -short),
// of which a hundredth of the pages was written, in random places, since the one
// before, while a goroutine goes on writing. It reports the pause, the bytes
// added, and the CPU time, which includes the faults of the writes, as a share of
// one core at a checkpoint every 5 minutes.
func BenchmarkIncrement(b *testing.B) {
	size := 1 << 30
	if testing.Short() {
		size = 64 << 20
	}
	memory := make([]byte, size)
	rng := rand.NewChaCha8([32]byte{1})
	for i := 0; i < size; i += 8192 {
		_, _ = rng.Read(memory[i : i+4096])
		copy(memory[i+4096:i+8192], fmt.Sprintf("page %d is text that compresses well, ", i))
	}
	for _, f := range delta.Probe() {
		b.Run(string(f.Method), func(b *testing.B) {
			if f.Err != nil {
				b.Skipf("this kernel does not offer %s: %v", f.Method, f.Err)
			}
			increments(b, memory, f.Method)
		})
	}
}

func increments(b *testing.B, memory []byte, method delta.Method) {
	store, err := checkpoint.OpenDir(filepath.Join(b.TempDir(), "store"), checkpoint.DefaultOptions())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	region, err := delta.OpenMemory(memory, delta.Options{Method: method})
	if err != nil {
		b.Fatal(err)
	}
	var gate sync.Mutex
	cfg := live.DefaultConfig("bench")
	cfg.Hold = func(context.Context) (func(), error) {
		gate.Lock()
		return gate.Unlock, nil
	}
	m, err := live.NewManager(store, cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	if err := m.Region("memory", region); err != nil {
		b.Fatal(err)
	}
	if _, err := m.Create(context.Background(), ""); err != nil {
		b.Fatal(err)
	}

	stop := writeAlong(memory, &gate)
	defer stop()
	rng := rand.New(rand.NewPCG(1, 2))
	var (
		pauses []time.Duration
		added  int64
	)
	began := cpuTime(b)
	for b.Loop() {
		gate.Lock()
		for range len(memory) / 4096 / 100 {
			page := rng.IntN(len(memory)/4096) * 4096
			for i := page; i < page+4096; i += 512 {
				memory[i]++
			}
		}
		gate.Unlock()
		cp, err := m.Create(context.Background(), "")
		if err != nil {
			b.Fatal(err)
		}
		pauses, added = append(pauses, cp.Pause), added+cp.Added
	}
	used := cpuTime(b) - began
	slices.Sort(pauses)
	b.ReportMetric(pauses[len(pauses)/2].Seconds()*1e3, "pause-p50-ms")
	b.ReportMetric(pauses[len(pauses)*99/100].Seconds()*1e3, "pause-p99-ms")
	b.ReportMetric(float64(added)/float64(b.N)/1e6, "added-MB")
	b.ReportMetric(100*used.Seconds()/float64(b.N)/300, "%core-at-5min")
}

// writeAlong writes to a page every 100 µs or so until stop is called, as a
// workload would that does something else most of the time.
func writeAlong(memory []byte, gate *sync.Mutex) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(100 * time.Microsecond)
		defer ticker.Stop()
		rng := rand.New(rand.NewPCG(3, 4))
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			gate.Lock()
			memory[rng.IntN(len(memory))]++
			gate.Unlock()
		}
	}()
	return func() { close(done); <-ended }
}

// cpuTime returns what the process has used, user and system.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkTrack takes checkpoints of a Go value of 128 MiB of which one field
// and one weight have changed.
func BenchmarkTrack(b *testing.B) {
	store, err := checkpoint.OpenDir(filepath.Join(b.TempDir(), "store"), checkpoint.DefaultOptions())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	m, err := live.NewManager(store, live.DefaultConfig("bench"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	var state struct {
		Step    int
		Weights []float64
	}
	state.Weights = make([]float64, 16<<20)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range state.Weights {
		state.Weights[i] = rng.NormFloat64()
	}
	if err := m.Track("state", &state); err != nil {
		b.Fatal(err)
	}
	if _, err := m.Create(context.Background(), ""); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(8 * len(state.Weights)))
	for b.Loop() {
		state.Step++
		state.Weights[rng.IntN(len(state.Weights))] = 0
		if _, err := m.Create(context.Background(), ""); err != nil {
			b.Fatal(err)
		}
	}
}
