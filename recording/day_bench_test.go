package recording

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/gpu"
)

// BenchmarkDay records days of a node with 8 GPUs of 40 metrics and 500 series of
// its host, every 5 s, in virtual time, and reports what a day takes on disk. GPUs
// are simulated; of the host's series a third never moves, a third are counters
// that grow by something else each time, and a third wander.
func BenchmarkDay(b *testing.B) {
	for _, c := range []struct {
		name string
		host int
	}{{"whole", 500}, {"gpus", 0}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				b.ReportMetric(float64(recordDay(b, b.TempDir(), c.host))/1e6, "MB/day")
			}
		})
	}
}

// BenchmarkReplay reads a recorded day back.
func BenchmarkReplay(b *testing.B) {
	dir := b.TempDir()
	recordDay(b, dir, 500)
	samples := 0
	for b.Loop() {
		r, err := Read(dir, Samples, forestall.KindUnknown)
		if err != nil {
			b.Fatal(err)
		}
		samples = 0
		for scrape, err := range r.Scrapes(b.Context()) {
			if err != nil {
				b.Fatal(err)
			}
			samples += len(scrape)
		}
	}
	b.ReportMetric(float64(b.N*samples)/b.Elapsed().Seconds(), "samples/s")
}

// recordDay returns the bytes that a day of telemetry takes once it is packed.
func recordDay(b *testing.B, dir string, hostSeries int) (size int64) {
	b.Helper()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	cfg := DefaultConfig()
	cfg.Dir, cfg.Now = dir, func() time.Time { return now }
	r, err := Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	sim, err := gpu.NewSim(gpu.SimConfig{Node: "n1", GPUs: 8, Seed: 1, Details: true, Now: cfg.Now})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = sim.Close() }()
	const gpuMetrics = 40
	rng := rand.New(rand.NewPCG(1, 2))
	host := make([]forestall.Sample, hostSeries)
	for i := range host {
		name := fmt.Sprintf("host_%d", i)
		if i%3 == 1 {
			name += "_total"
		}
		host[i] = forestall.Sample{Component: forestall.Node("n1"), Metric: name, Value: float64(i)}
	}
	for i := range 24 * 3600 / 5 {
		if i%12 == 0 {
			r.flush()
			r.rotate()
		}
		for g := range 8 {
			samples, err := sim.Read(b.Context(), now, "n1", g, nil)
			if err != nil {
				b.Fatal(err)
			}
			r.Record(forestall.GPU("n1", g), now, samples[:gpuMetrics], time.Millisecond)
		}
		for i := range host {
			host[i].Time = now
			switch i % 3 {
			case 1:
				host[i].Value += float64(rng.IntN(1 + i))
			case 2:
				host[i].Value = math.Round(1000*(host[i].Value+0.01*rng.NormFloat64())) / 1000
			}
		}
		if hostSeries > 0 {
			r.Record(host[0].Component, now, host, time.Millisecond)
		}
		now = now.Add(5 * time.Second)
	}
	r.flush()
	for content, s := range r.streams {
		s.file.Close()
		delete(r.streams, content)
	}
	r.packAll()
	return r.Stats().Bytes
}
