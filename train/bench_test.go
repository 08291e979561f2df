package train

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stratoswarm/forestall/model"
)

// benchData is like the table of the benchmarks in docs: about 2 % positives,
// 5 % missing, a dozen features that matter.
func benchData(b *testing.B, rows, features int) *Dataset {
	b.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	names, columns := make([]string, features), make([][]float64, features)
	score := make([]float64, rows)
	for f := range features {
		names[f], columns[f] = fmt.Sprintf("f%d", f), make([]float64, rows)
		for i := range rows {
			v := rng.NormFloat64()
			if f < 12 {
				score[i] += v * 0.4 * float64(f%3)
			}
			if rng.Float64() < 0.05 {
				v = math.NaN()
			}
			columns[f][i] = v
		}
	}
	label := make([]float64, rows)
	for i := range label {
		if rng.Float64() < model.Sigmoid(score[i]-5.2) {
			label[i] = 1
		}
	}
	d, err := NewDataset(names, columns, label, nil, Spec{Objective: Binary})
	if err != nil {
		b.Fatal(err)
	}
	return d
}

// BenchmarkTrain trains 100 trees of 63 leaves.
func BenchmarkTrain(b *testing.B) {
	const rows, features = 100_000, 64
	d := benchData(b, rows, features)
	b.Logf("%d of %d positive", d.Positives(), rows)
	p := DefaultParams()
	p.Leaves = 63
	for b.Loop() {
		start := time.Now()
		r := mustTrain(b, d, p)
		took := time.Since(start).Seconds()
		b.ReportMetric(took, "s/train")
		b.ReportMetric(float64(rows*features*len(r.Trees))/took/1e9, "G/s")
	}
}
