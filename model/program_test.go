package model

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
)

// special are the values at which keys could go wrong.
var special = []float64{
	nan, math.Copysign(nan, -1), math.Float64frombits(0x7ff0000000000001), math.Float64frombits(math.MaxUint64),
	0, math.Copysign(0, -1), 5e-324, -5e-324, 1e-35, -1e-35, math.Nextafter(1e-35, 1), math.Nextafter(-1e-35, -1),
	1, -1, math.MaxFloat64, -math.MaxFloat64, math.Inf(1), math.Inf(-1),
}

// TestKeys: each value goes left and right of each threshold as it does by the
// definition, whatever is missing.
func TestKeys(t *testing.T) {
	for _, threshold := range special {
		if math.IsNaN(threshold) || math.IsInf(threshold, 0) {
			continue
		}
		for _, missing := range []Missing{MissingNone, MissingZero, MissingNaN} {
			for _, left := range []bool{false, true} {
				e := mustBuild(t, 1, []Tree{{
					Splits: []Split{{Threshold: threshold, Missing: missing, DefaultLeft: left, Left: ^0, Right: ^1}},
					Leaves: []Leaf{{Value: 1}, {Value: 2}},
				}})
				for _, v := range special {
					row := []float64{v}
					if got, want := e.score(row), e.definition(row); got != want {
						t.Errorf("%v <= %v, missing %d, left %v: leaf %v instead of %v", v, threshold, missing, left, got, want)
					}
				}
			}
		}
	}
}

func mustBuild(t testing.TB, features int, trees []Tree) *Ensemble {
	t.Helper()
	e, err := NewEnsemble(names(features), "binary sigmoid:1", trees)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestManySets: more categorical splits on one feature than a key has bits, with
// sets of all sizes.
func TestManySets(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var trees []Tree
	for i := range 200 {
		set := make([]uint32, 1+rng.IntN(1<<(i%12)))
		for j := range set {
			set[j] = rng.Uint32()
		}
		trees = append(trees, Tree{
			Splits: []Split{{Feature: i % 3 / 2, Category: set, Left: ^0, Right: ^1}},
			Leaves: []Leaf{{Value: rng.NormFloat64()}, {Value: rng.NormFloat64()}},
		})
	}
	e := mustBuild(t, 2, trees)
	if n := e.program.columns(); n != 3+2 {
		t.Errorf("%d columns for 134 and 66 sets", n)
	}
	for i := range 70_000 {
		row := []float64{float64(i), float64(i/7) + 0.5}
		if i < len(special) {
			row[0] = special[i]
		}
		if got, want := e.score(row), e.definition(row); got != want {
			t.Fatalf("row %v: %v instead of %v", row, got, want)
		}
	}
}

// TestFewTrees: segments without trees, trees without splits, no features.
func TestFewTrees(t *testing.T) {
	constant := Tree{Leaves: []Leaf{{Value: 0.25}}}
	split := Tree{Splits: []Split{{Left: ^0, Right: ^1}}, Leaves: []Leaf{{Value: 1}, {Value: 2}}}
	for n := range 20 {
		var trees, constants []Tree
		for i := range n {
			constants = append(constants, constant)
			trees = append(trees, []Tree{constant, split, split, constant, constant}[i%5])
		}
		for features, e := range []*Ensemble{mustBuild(t, 0, constants), mustBuild(t, 1, trees)} {
			rows, dst := make([]float64, 11*features), make([]float64, 11)
			if err := e.RawBatch(rows, dst); err != nil {
				t.Fatal(err)
			}
			for _, got := range dst {
				if want := e.definition(rows[:features]); got != want || e.score(rows[:features]) != want {
					t.Errorf("%d trees of %d features: %v instead of %v", n, features, got, want)
				}
			}
		}
	}
}

// TestWideBatch: where keys take too much memory, batches go row by row.
func TestWideBatch(t *testing.T) {
	const features = maxKeys/lanes + 1
	trees := make([]Tree, features)
	for i := range trees {
		trees[i] = Tree{Splits: []Split{{Feature: i, Left: ^0, Right: ^1}}, Leaves: []Leaf{{Value: 1}, {Value: 2}}}
	}
	e := mustBuild(t, features, trees)
	rows, dst := make([]float64, lanes*features), make([]float64, lanes)
	rows[features] = 1
	if err := e.RawBatch(rows, dst); err != nil || dst[0] != features || dst[1] != features+1 {
		t.Errorf("scores %v, %v", dst[:2], err)
	}
}

// TestConcurrent: callers share an ensemble, from the first call on.
func TestConcurrent(t *testing.T) {
	e := mustRead(t, golden(t))
	rows := make([]float64, 40*4)
	for i := range rows {
		rows[i] = float64(i % 7)
	}
	want, shares := make([]float64, 40), make([]float64, 5)
	reference := mustRead(t, golden(t))
	if err := reference.RawBatch(rows, want); err != nil {
		t.Fatal(err)
	}
	if err := reference.Contributions(rows[:4], shares); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			dst, got := make([]float64, 40), make([]float64, 5)
			for range 50 {
				err := e.RawBatch(rows, dst)
				one, err1 := e.Raw(rows[4:8])
				err2 := e.Contributions(rows[:4], got)
				if err != nil || err1 != nil || err2 != nil || dst[39] != want[39] || one != want[1] || got[0] != shares[0] || got[4] != shares[4] {
					t.Errorf("%v %v %v: %v, %v, %v", err, err1, err2, dst, one, got)
					return
				}
			}
		})
	}
	wg.Wait()
}
