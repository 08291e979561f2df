package predict

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/model"
)

// BenchmarkDrift measures what a row of 600 features costs to be compared with
// the training: counted for drift, and looked at for values beyond its range.
func BenchmarkDrift(b *testing.B) {
	const features = 600
	random := rand.New(rand.NewPCG(1, 1))
	builder, row, all := model.NewDistributionBuilder(features, 1), make([]float64, features), make([]int, features)
	fill := func() {
		for i := range row {
			row[i], all[i] = random.NormFloat64(), i
		}
	}
	for range 2000 {
		fill()
		builder.Add(row)
	}
	d := &Drift{of: builder.Distribution(all), weight: make([]float64, features), cfg: DefaultDriftConfig()}
	b.ReportAllocs()
	for b.Loop() {
		d.observe(row, t0.Add(time.Hour))
		d.beyond(row)
	}
}

// BenchmarkTally measures what one risk costs to be counted at every threshold.
func BenchmarkTally(b *testing.B) {
	t := NewTally(0.2)
	c := score(forestall.GPU("n", 0), t0, 0.01)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		c.Time = t0.Add(time.Duration(n) * time.Second)
		t.Observe(c)
	}
}
