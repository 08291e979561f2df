// Package history makes the recorded telemetry history that tests share: one
// hour of eight simulated GPUs, eighteen of whose failures are known.
package history

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/gpu"
	"github.com/stratoswarm/forestall/train"
)

// What is recorded.
const (
	seed    = 20260101
	gpus    = 4 // per node
	cadence = 5 * time.Second
	length  = time.Hour
	repair  = 2 * time.Minute // from a failure to the device's replacement

	// metricLatency is how long the scrape of the component took. It is no
	// metric of the GPU but stands beside them in the file.
	metricLatency = "scrape_latency_seconds"
)

var (
	start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	nodes = []string{"n1", "n2"}
)

// fault is one failure of the plan.
type fault struct {
	node string
	gpu  int
	from time.Duration // since the start, when it begins to unfold
	over time.Duration // until it has failed
	mode gpu.Mode
}

// plan holds every mode in each third of the hour; gpu/n1/3 and gpu/n2/3 stay
// healthy.
var plan = []fault{
	{node: "n1", gpu: 0, from: 3 * time.Minute, over: 3 * time.Minute, mode: gpu.ModeThermalRunaway},
	{node: "n2", gpu: 0, from: 4 * time.Minute, over: 4 * time.Minute, mode: gpu.ModeECCStorm},
	{node: "n1", gpu: 1, from: 7 * time.Minute, over: 3 * time.Minute, mode: gpu.ModeLinkDegradation},
	{node: "n2", gpu: 1, from: 9 * time.Minute, over: 4 * time.Minute, mode: gpu.ModeTelemetryCollapse},
	{node: "n1", gpu: 2, from: 12 * time.Minute, over: 2 * time.Minute, mode: gpu.ModeFallsOffBus},
	{node: "n2", gpu: 2, from: 14 * time.Minute, over: 4 * time.Minute, mode: gpu.ModeThermalRunaway},

	{node: "n1", gpu: 0, from: 21 * time.Minute, over: 4 * time.Minute, mode: gpu.ModeTelemetryCollapse},
	{node: "n2", gpu: 0, from: 22 * time.Minute, over: 3 * time.Minute, mode: gpu.ModeLinkDegradation},
	{node: "n1", gpu: 1, from: 27 * time.Minute, over: 4 * time.Minute, mode: gpu.ModeECCStorm},
	{node: "n2", gpu: 1, from: 29 * time.Minute, over: 2 * time.Minute, mode: gpu.ModeFallsOffBus},
	{node: "n1", gpu: 2, from: 31 * time.Minute, over: 3 * time.Minute, mode: gpu.ModeThermalRunaway},
	{node: "n2", gpu: 2, from: 34 * time.Minute, over: 4 * time.Minute, mode: gpu.ModeLinkDegradation},

	{node: "n1", gpu: 0, from: 41 * time.Minute, over: 4 * time.Minute, mode: gpu.ModeLinkDegradation},
	{node: "n2", gpu: 0, from: 42 * time.Minute, over: 3 * time.Minute, mode: gpu.ModeThermalRunaway},
	{node: "n1", gpu: 1, from: 46 * time.Minute, over: 3 * time.Minute, mode: gpu.ModeTelemetryCollapse},
	{node: "n2", gpu: 1, from: 47 * time.Minute, over: 4 * time.Minute, mode: gpu.ModeECCStorm},
	{node: "n1", gpu: 2, from: 50 * time.Minute, over: 2 * time.Minute, mode: gpu.ModeFallsOffBus},
	{node: "n2", gpu: 2, from: 52 * time.Minute, over: 3 * time.Minute, mode: gpu.ModeTelemetryCollapse},
}

// Generate writes samples.csv.gz and incidents.csv into dir.
func Generate(ctx context.Context, dir string) error {
	var samples, incidents bytes.Buffer
	packed, err := gzip.NewWriterLevel(&samples, gzip.BestCompression)
	if err != nil {
		return err
	}
	if err := Record(ctx, packed); err != nil {
		return err
	}
	if err := packed.Close(); err != nil {
		return err
	}
	if err := train.WriteIncidents(&incidents, Incidents()); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "samples.csv.gz"), samples.Bytes(), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "incidents.csv"), incidents.Bytes(), 0o644)
}

// Incidents returns the plan's failures, by start.
func Incidents() []forestall.Incident {
	var incidents []forestall.Incident
	for _, f := range plan {
		fails := start.Add(f.from + f.over)
		incidents = append(incidents, forestall.Incident{
			Component: forestall.GPU(f.node, f.gpu), Kind: forestall.GPUFailure,
			Start: fails, End: fails.Add(repair),
		})
	}
	slices.SortFunc(incidents, func(a, b forestall.Incident) int {
		return cmp.Or(a.Start.Compare(b.Start), a.Component.Compare(b.Component))
	})
	return incidents
}

// Record runs the hour and writes what is read, as CSV.
func Record(ctx context.Context, w io.Writer) error {
	now := start
	sims := make(map[string]*gpu.Sim)
	for _, node := range nodes {
		sim, err := gpu.NewSim(gpu.SimConfig{Node: node, GPUs: gpus, Seed: seed, Now: func() time.Time { return now }})
		if err != nil {
			return err
		}
		sims[node] = sim
	}
	if _, err := fmt.Fprintln(w, "unix_ms,component,metric,value"); err != nil {
		return err
	}
	jobs := rand.New(rand.NewPCG(seed, 0))
	var line []byte
	var samples []forestall.Sample
	for ; now.Before(start.Add(length)); now = now.Add(cadence) {
		if err := follow(sims, now.Sub(start)); err != nil {
			return err
		}
		for _, node := range nodes {
			for i := range gpus {
				sim := sims[node]
				if now.Equal(start) || jobs.Float64() < cadence.Minutes()/5 {
					sim.SetLoad(i, []float64{0, 0.2, 0.6, 0.8, 0.95}[jobs.IntN(5)])
				}
				var err error
				samples, err = sim.Read(ctx, now, node, i, samples[:0])
				if errors.Is(err, gpu.ErrGone) {
					continue
				}
				if err != nil {
					return err
				}
				samples = append(samples, forestall.Sample{
					Component: samples[0].Component, Metric: metricLatency, Time: now, Value: sim.Latency(i).Seconds(),
				})
				for _, s := range samples {
					line = appendRow(line[:0], s)
					if _, err := w.Write(line); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// follow does what the plan wants done at that time since the start.
func follow(sims map[string]*gpu.Sim, since time.Duration) error {
	for _, f := range plan {
		var err error
		switch since {
		case f.from:
			err = sims[f.node].Inject(f.gpu, f.mode, f.over)
		case f.from + f.over + repair:
			err = sims[f.node].Inject(f.gpu, gpu.ModeNone, 0)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// resolution is what values are rounded to, so that the file stays small; the
// other metrics are written as they are.
var resolution = map[string]float64{
	gpu.MetricPower:      1,       // W
	gpu.MetricMemoryUsed: 1 << 28, // bytes
	metricLatency:        0.001,   // s
}

func appendRow(b []byte, s forestall.Sample) []byte {
	b = strconv.AppendInt(b, s.Time.UnixMilli(), 10)
	b = append(b, ',')
	b = append(b, s.Component.String()...)
	b = append(b, ',')
	b = append(b, s.Metric...)
	b = append(b, ',')
	if v := s.Value; !math.IsNaN(v) {
		if unit := resolution[s.Metric]; unit >= 1 {
			v = math.Round(v/unit) * unit
		} else if unit > 0 {
			v = math.Round(v/unit) / math.Round(1/unit) // so that 0.003 is written as such
		}
		b = strconv.AppendFloat(b, v, 'f', -1, 64)
	}
	return append(b, '\n')
}
