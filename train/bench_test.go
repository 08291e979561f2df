package train

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train/table/tabletest"
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

// BenchmarkTrain trains 100 trees of 63 leaves, whose splits all rows or half of
// them choose.
func BenchmarkTrain(b *testing.B) {
	const features = 64
	for _, rows := range []int{100_000, 1_000_000} {
		d := benchData(b, rows, features)
		for _, share := range []float64{1, 0.5} {
			b.Run(fmt.Sprintf("%dx%d/%g", rows, features, share), func(b *testing.B) {
				p := DefaultParams()
				p.Leaves, p.SampleRows = 63, share
				for b.Loop() {
					mustTrain(b, d, p)
				}
				took := b.Elapsed().Seconds() / float64(b.N)
				b.ReportMetric(took, "s/train")
				b.ReportMetric(float64(rows*features*p.Trees)/took/1e9, "G/s")
			})
		}
	}
}

// BenchmarkRead reads a CSV table of numbers with six digits and bins it: once
// when the sample for the bins holds all rows, otherwise twice.
func BenchmarkRead(b *testing.B) {
	const rows, features = 100_000, 64
	rng := rand.New(rand.NewPCG(7, 8))
	text := make([]byte, 0, rows*features*10)
	for f := range features {
		text = fmt.Appendf(text, "f%d,", f)
	}
	text = append(text, "y\n"...)
	for range rows {
		for f := range features {
			if rng.Float64() >= 0.05 {
				text = strconv.AppendFloat(text, rng.NormFloat64()*math.Pow(10, float64(f%5-2)), 'g', 6, 64)
			}
			text = append(text, ',')
		}
		text = fmt.Appendln(text, rng.IntN(2))
	}
	path := tabletest.Write(b, "t.csv", text)
	for name, sample := range map[string]int{"once": rows, "twice": rows / 5} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := readDataset(b.Context(), path, Spec{Label: "y", Objective: Binary}, sample); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// BenchmarkHistogram adds rows to a histogram, all of a table and every eighth.
func BenchmarkHistogram(b *testing.B) {
	const rows, features = 1 << 20, 64
	rng := rand.New(rand.NewPCG(3, 4))
	d := &Dataset{rows: rows, width: features / wordFeatures, bins: make([]uint64, rows*features/wordFeatures)}
	for i := range d.bins {
		d.bins[i] = rng.Uint64()
	}
	gradients := make([]packed, rows)
	for i := range gradients {
		gradients[i] = pack(int32(i), 1)
	}
	for _, share := range []int{1, 8} {
		b.Run(fmt.Sprintf("1of%d", share), func(b *testing.B) {
			var some []uint32
			for i := range rows {
				if share == 1 || rng.IntN(share) == 0 {
					some = append(some, uint32(i))
				}
			}
			h := newHistogram(d)
			for b.Loop() {
				for first := 0; first < len(some); first += blockRows {
					h.add(d, some[first:min(first+blockRows, len(some))], gradients)
				}
			}
			b.ReportMetric(float64(len(some)*features*b.N)/b.Elapsed().Seconds()/1e9, "Gupdates/s")
		})
	}
}

// BenchmarkBin puts values of a column into their bins.
func BenchmarkBin(b *testing.B) {
	rng := rand.New(rand.NewPCG(5, 6))
	values := make([]float64, 1<<16)
	for i := range values {
		values[i] = rng.NormFloat64()
	}
	bins := numerical(values[:1<<15:1<<15], maxBins, false)
	values = values[1<<15:]
	words := make([]uint64, len(values))
	for b.Loop() {
		bins.put(values, words, 1, 0)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(values)), "ns/value")
}
