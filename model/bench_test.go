package model_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dmitryikh/leaves"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
)

const (
	benchFeatures = 64
	benchRows     = 4096 // so many that the branch predictor learns none by heart
)

// bench is a trained model of 100 trees with 63 leaves, and rows of its table.
type bench struct {
	text []byte
	rows []float64
	err  error
}

// trained trains on 100,000 rows of 64 features, a dozen of which matter, with
// 2 % positives and 5 % missing.
var trained = sync.OnceValue(func() (out bench) {
	const rows = 100_000
	rng := rand.New(rand.NewPCG(1, 2))
	names, columns := make([]string, benchFeatures), make([][]float64, benchFeatures)
	score, label := make([]float64, rows), make([]float64, rows)
	for f := range columns {
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
	for i := range label {
		if rng.Float64() < model.Sigmoid(score[i]-5.2) {
			label[i] = 1
		}
	}
	d, err := train.NewDataset(names, columns, label, nil, train.Spec{Objective: train.Binary})
	if err != nil {
		return bench{err: err}
	}
	p := train.DefaultParams()
	p.Leaves = 63
	r, err := train.Train(context.Background(), d, nil, p, nil)
	if err != nil {
		return bench{err: err}
	}
	out.text, out.err = r.Text()
	for i := range benchRows {
		for f := range columns {
			out.rows = append(out.rows, columns[f][i])
		}
	}
	return out
})

func benchModel(b *testing.B) (bench, *model.Ensemble) {
	b.Helper()
	t := trained()
	if t.err != nil {
		b.Fatal(t.err)
	}
	e, err := model.ReadEnsemble(bytes.NewReader(t.text))
	if err != nil {
		b.Fatal(err)
	}
	return t, e
}

func (t bench) leaves(b *testing.B) *leaves.Ensemble {
	b.Helper()
	other, err := leaves.LGEnsembleFromReader(bufio.NewReader(bytes.NewReader(t.text)), false)
	if err != nil {
		b.Fatal(err)
	}
	return other
}

// part returns rows i x n to (i+1) x n of the table, which goes round.
func (t bench) part(i, n int) []float64 {
	i %= benchRows / n
	return t.rows[i*n*benchFeatures : (i+1)*n*benchFeatures]
}

// beside scores n rows by us and the same rows by leaves, again and again, and
// returns the times of a row, sorted, each the mean of n. What else the machine
// does meets both.
func beside(b *testing.B, t bench, n int, us, them func(rows []float64)) (ours, theirs []float64) {
	b.Helper()
	for i := 0; b.Loop(); i++ {
		rows := t.part(i, n)
		start := time.Now()
		us(rows)
		ours = append(ours, float64(time.Since(start).Nanoseconds())/float64(n))
		start = time.Now()
		them(rows)
		theirs = append(theirs, float64(time.Since(start).Nanoseconds())/float64(n))
	}
	b.ReportMetric(0, "ns/op") // it would be both
	slices.Sort(ours)
	slices.Sort(theirs)
	return ours, theirs
}

// BenchmarkRow scores one row at a time; a time is the mean of 8 calls, as one
// is too short for the clock.
func BenchmarkRow(b *testing.B) {
	t, e := benchModel(b)
	other := t.leaves(b)
	each := func(score func(row []float64)) func([]float64) {
		return func(rows []float64) {
			for ; len(rows) > 0; rows = rows[benchFeatures:] {
				score(rows[:benchFeatures])
			}
		}
	}
	ours, theirs := beside(b, t, 8, each(func(row []float64) {
		if _, err := e.Raw(row); err != nil {
			b.Fatal(err)
		}
	}), each(func(row []float64) { other.PredictSingle(row, 0) }))
	p50 := len(ours) / 2
	b.ReportMetric(ours[p50], "p50-ns/row")
	b.ReportMetric(theirs[p50], "leaves-p50-ns/row")
	b.ReportMetric(ours[p50]/theirs[p50], "of-leaves")
}

// BenchmarkBatch scores 512 rows at a time on one core and reports the best
// time of each.
func BenchmarkBatch(b *testing.B) {
	const n = 512
	t, e := benchModel(b)
	other := t.leaves(b)
	dst := make([]float64, n)
	ours, theirs := beside(b, t, n, func(rows []float64) {
		if err := e.RawBatch(rows, dst); err != nil {
			b.Fatal(err)
		}
	}, func(rows []float64) {
		if err := other.PredictDense(rows, n, benchFeatures, dst, 0, 1); err != nil {
			b.Fatal(err)
		}
	})
	b.ReportMetric(1e9/ours[0], "rows/s")
	b.ReportMetric(1e9/theirs[0], "leaves-rows/s")
	b.ReportMetric(theirs[0]/ours[0], "x-leaves")
}

// BenchmarkContributions explains one row at a time and reports the best time. No
// peer in Go explains.
func BenchmarkContributions(b *testing.B) {
	t, e := benchModel(b)
	dst := make([]float64, benchFeatures+1)
	if err := e.Contributions(t.part(0, 1), dst); err != nil { // prepares
		b.Fatal(err)
	}
	b.ReportAllocs()
	best := time.Hour
	for i := 0; b.Loop(); i++ {
		start := time.Now()
		if err := e.Contributions(t.part(i, 1), dst); err != nil {
			b.Fatal(err)
		}
		best = min(best, time.Since(start))
	}
	b.ReportMetric(1/best.Seconds(), "rows/s")
}

// BenchmarkAccept reads a model with all checks and the second opinion.
func BenchmarkAccept(b *testing.B) {
	t, e := benchModel(b)
	card := model.Card{Format: model.CardFormat, Name: "x", Version: "1", Features: e.Features(), Horizon: 1}
	b.SetBytes(int64(len(t.text)))
	for b.Loop() {
		if _, err := model.New(t.text, card); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPrepare makes what the first explanation makes.
func BenchmarkPrepare(b *testing.B) {
	t, _ := benchModel(b)
	dst := make([]float64, benchFeatures+1)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		_, e := benchModel(b)
		b.StartTimer()
		if err := e.Contributions(t.part(0, 1), dst); err != nil {
			b.Fatal(err)
		}
	}
}
