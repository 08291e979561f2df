package main

import (
	"runtime"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
)

// yetToCome returns the bytes by which an engine's windows of GPUs will still
// have grown after a day: buckets fill as time goes by, so a run of minutes shows
// too little. A third of the metrics move with every scrape, as on the pages.
// What the heap may grow by before it is collected is added.
func (c *benchCase) yetToCome(after time.Duration) (int64, error) {
	schema, err := features.NewSchema(forestall.KindGPU, c.gpu, windows)
	if err != nil {
		return 0, err
	}
	const sample, collectAt = 16, 0.4
	day := heldBy(schema, sample, c.interval, 24*time.Hour) - heldBy(schema, sample, c.interval, after)
	return int64(float64(day) / sample * float64(c.gpus) * (1 + collectAt)), nil
}

// heldBy returns the heap that some windows take after having been scraped for
// as long.
func heldBy(schema *features.Schema, windows int, interval, long time.Duration) int64 {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	before := heap()
	made := make([]*features.Window, windows)
	values := make([]float64, len(schema.Metrics()))
	for i := range made {
		made[i] = features.NewWindow(schema)
		for n := range int64(long / interval) {
			for m := range values {
				if values[m] = 40; m%3 == 0 {
					values[m] += float64((n*2654435761+int64(m)*40503)%64) / 256
				}
			}
			// Times ascend, so there is no error.
			_ = made[i].Push(start.Add(time.Duration(n)*interval), values, 0)
		}
	}
	held := heap() - before
	runtime.KeepAlive(made)
	return held
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
