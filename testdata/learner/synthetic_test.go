package main

import (
	"math"
	"testing"

	"github.com/stratoswarm/forestall/model"
)

// TestSynthetic: the table of the benchmark is as its comment says, and the
// same each time.
func TestSynthetic(t *testing.T) {
	const rows = 100_000
	var first []float64
	var label []bool
	var score []float64
	missing, positive := 0, 0
	emit := func(row []float64) error {
		if len(first) == 0 {
			first = append(first, row...)
		}
		if row[0] == 1 {
			positive++
		}
		for _, v := range row[1:] {
			if v != v {
				missing++
			}
			if v == v && v != float64(float32(v)) {
				t.Fatalf("%v is no float32", v)
			}
		}
		label = append(label, row[0] == 1)
		// Cells that are missing are replaced by a middle value: a bound from
		// below on what can be known.
		x := make([]float64, syntheticFeatures)
		for i, v := range row[1:] {
			if x[i] = v; v != v {
				x[i] = []float64{0, 1, 0.5, 1}[i%4]
			}
		}
		score = append(score, syntheticScore(x))
		return nil
	}
	if err := synthetic(rows, 7, emit); err != nil {
		t.Fatal(err)
	}
	share, auc := float64(positive)/rows, model.ROCAUC(score, label)
	gaps := float64(missing) / rows / syntheticFeatures
	t.Logf("%.4f positive, %.4f missing, AUC %.4f", share, gaps, auc)
	if math.Abs(share-0.02) > 0.003 || math.Abs(gaps-syntheticMissing) > 0.001 || math.Abs(auc-0.87) > 0.02 {
		t.Errorf("%v positive, %v missing, AUC %v", share, gaps, auc)
	}
	again := append([]float64(nil), first...)
	first = nil
	if err := synthetic(1, 7, emit); err != nil {
		t.Fatal(err)
	}
	for i, v := range first {
		if v != again[i] && (v == v || again[i] == again[i]) {
			t.Fatalf("cell %d is %v, then %v", i, again[i], v)
		}
	}
}
