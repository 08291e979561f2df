package model

import (
	"bufio"
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/dmitryikh/leaves"
)

// benchModel is a model of 100 trees with 31 leaves over 50 features, and rows
// for it: about what a trained GPU model will be.
func benchModel(b *testing.B) (text []byte, e *Ensemble, rows []float64) {
	b.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	const features, leafCount, trees = 50, 31, 100
	var list []Tree
	for range trees {
		t := Tree{Shrinkage: 0.1, Leaves: make([]Leaf, leafCount), Splits: make([]Split, leafCount-1)}
		for i := range t.Leaves {
			t.Leaves[i] = Leaf{Value: rng.NormFloat64(), Count: 1 + rng.IntN(100)}
		}
		// Leaf-wise growth: each new split takes the place of a random leaf.
		at := []*int{nil}
		for i := range t.Splits {
			k := rng.IntN(len(at))
			if at[k] != nil {
				*at[k] = i
			}
			s := &t.Splits[i]
			*s = Split{Feature: rng.IntN(features), Threshold: rng.NormFloat64(), Missing: MissingNaN, Left: ^k, Right: ^len(at)}
			at[k] = &s.Left
			at = append(at, &s.Right)
		}
		list = append(list, t)
	}
	var buf bytes.Buffer
	if err := WriteEnsemble(&buf, names(features), "binary sigmoid:1", list); err != nil {
		b.Fatal(err)
	}
	for range 256 * features {
		rows = append(rows, rng.NormFloat64())
	}
	return buf.Bytes(), mustRead(b, buf.Bytes()), rows
}

// row returns row i of 256, so that the branch predictor learns none by heart.
func row(rows []float64, i, w int) []float64 {
	i &= 255
	return rows[i*w : (i+1)*w]
}

// BenchmarkRow scores one row at a time, here and in leaves.
func BenchmarkRow(b *testing.B) {
	text, e, rows := benchModel(b)
	w := e.NumFeatures()
	b.Run("forestall", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := e.Raw(row(rows, i, w)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/row")
	})
	b.Run("leaves", func(b *testing.B) {
		other, err := leaves.LGEnsembleFromReader(bufio.NewReader(bytes.NewReader(text)), false)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			other.PredictSingle(row(rows, i, w), 0)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/row")
	})
}

// BenchmarkBatch scores 256 rows at a time on one core.
func BenchmarkBatch(b *testing.B) {
	_, e, rows := benchModel(b)
	dst := make([]float64, 256)
	for b.Loop() {
		if err := e.RawBatch(rows, dst); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(256*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkContributions explains one row.
func BenchmarkContributions(b *testing.B) {
	_, e, rows := benchModel(b)
	w := e.NumFeatures()
	dst := make([]float64, w+1)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := e.Contributions(row(rows, i, w), dst); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/row")
}

// BenchmarkAccept reads a model with all checks and the second opinion.
func BenchmarkAccept(b *testing.B) {
	text, e, _ := benchModel(b)
	card := Card{Format: CardFormat, Name: "x", Version: "1", Features: e.Features(), Horizon: 1}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := New(text, card); err != nil {
			b.Fatal(err)
		}
	}
}
