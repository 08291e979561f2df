package model

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestQuadrature: it integrates all powers up to its degree exactly.
func TestQuadrature(t *testing.T) {
	for _, degree := range []int{-1, 0, 7, 8, 15, 16, 63, 64, 511} {
		rule := quadrature(degree)
		if want := max(1, (degree/2+4)/4); len(rule) != want {
			t.Errorf("degree %d: %d vectors of points, want %d", degree, len(rule), want)
		}
		for k := range degree + 1 {
			sum := 0.0
			for _, q := range rule {
				for _, p := range [][3]float64{{q.t.a, q.rest.a, q.weight.a}, {q.t.b, q.rest.b, q.weight.b}, {q.t.c, q.rest.c, q.weight.c}, {q.t.d, q.rest.d, q.weight.d}} {
					sum += p[2] * math.Pow(p[0], float64(k))
					if math.Abs(p[0]+p[1]-1) > 1e-15 {
						t.Errorf("degree %d: point %v and rest %v", degree, p[0], p[1])
					}
				}
			}
			if want := 1 / float64(k+1); math.Abs(sum-want) > 1e-14 {
				t.Errorf("degree %d: t^%d integrates to %v, want %v", degree, k, sum, want)
			}
		}
	}
}

// TestConjunction: one leaf counts, behind a split on each of n features that
// half of the rows pass. For a row that passes all, the features share equally.
func TestConjunction(t *testing.T) {
	for n := 1; n <= 61; n++ {
		tree := Tree{Leaves: []Leaf{{Value: 1, Count: 1}}}
		for i := range n {
			// From the bottom up: split i is above split i-1, and the last is the root.
			tree.Splits = append([]Split{{Feature: i, Left: 1, Right: ^(i + 1)}}, tree.Splits...)
			tree.Leaves = append(tree.Leaves, Leaf{Count: 1 << i})
		}
		for i := range tree.Splits {
			tree.Splits[i].Left = i + 1
		}
		tree.Splits[n-1].Left = ^0
		e := mustBuild(t, n, []Tree{tree})
		dst := make([]float64, n+1)
		if err := e.Contributions(make([]float64, n), dst); err != nil {
			t.Fatal(err)
		}
		mean := math.Pow(0.5, float64(n))
		if math.Abs(dst[n]-mean) > 1e-15 {
			t.Errorf("%d features: bias %v, want %v", n, dst[n], mean)
		}
		for f, got := range dst[:n] {
			if want := (1 - mean) / float64(n); math.Abs(got-want) > 1e-14 {
				t.Errorf("%d features: feature %d contributes %v, want %v", n, f, got, want)
			}
		}
	}
}

// TestDeepTrees: Shapley values by their definition for leaf-wise trees whose
// ways to the leaves have more features than one vector of points can explain,
// with features that come again and again.
func TestDeepTrees(t *testing.T) {
	for _, features := range []int{3, 12} {
		e := mustBuild(t, features, grownTrees(rand.New(rand.NewPCG(5, uint64(features))), 4, features, 150))
		rng := rand.New(rand.NewPCG(6, 7))
		row, dst := make([]float64, features), make([]float64, features+1)
		for range 10 {
			for f := range row {
				row[f] = rng.NormFloat64()
			}
			if err := e.Contributions(row, dst); err != nil {
				t.Fatal(err)
			}
			sum := dst[features]
			for f, want := range shapley(e, row) {
				sum += dst[f]
				if math.Abs(dst[f]-want) > 1e-12 {
					t.Errorf("feature %d of %d contributes %v, by definition %v", f, features, dst[f], want)
				}
			}
			if raw := e.score(row); math.Abs(sum-raw) > 1e-12 {
				t.Errorf("contributions sum to %v, the score is %v", sum, raw)
			}
		}
		if features == 12 && len(e.plan.trees[0].points) < 2 {
			t.Errorf("the first tree needs %d vectors of points only", len(e.plan.trees[0].points))
		}
	}
}

// TestDeepest: the deepest tree that is read, with as many features.
func TestDeepest(t *testing.T) {
	tree := Tree{Leaves: make([]Leaf, maxDepth+1)}
	for i := range maxDepth {
		tree.Splits = append(tree.Splits, Split{Feature: i, Left: ^i, Right: i + 1})
		tree.Leaves[i] = Leaf{Value: float64(i % 3), Count: 1}
	}
	tree.Splits[maxDepth-1].Right = ^maxDepth
	tree.Leaves[maxDepth] = Leaf{Value: 7, Count: 1}
	e := mustBuild(t, maxDepth, []Tree{tree})
	row, dst := make([]float64, maxDepth), make([]float64, maxDepth+1)
	for f := range row {
		row[f] = 1
	}
	if err := e.Contributions(row, dst); err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, v := range dst {
		sum += v
	}
	if math.Abs(sum-7) > 1e-13 {
		t.Errorf("contributions sum to %v, the score is 7", sum)
	}
}

// grownTrees grows trees leaf by leaf, each new split in the place of a random
// leaf.
func grownTrees(rng *rand.Rand, trees, features, leaves int) (list []Tree) {
	for range trees {
		t := Tree{Shrinkage: 0.1, Leaves: make([]Leaf, leaves), Splits: make([]Split, leaves-1)}
		for i := range t.Leaves {
			t.Leaves[i] = Leaf{Value: rng.NormFloat64(), Count: 1 + rng.IntN(100)}
		}
		at := []*int{nil}
		for i := range t.Splits {
			k := rng.IntN(len(at))
			if at[k] != nil {
				*at[k] = i
			}
			s := &t.Splits[i]
			*s = Split{
				Feature: rng.IntN(features), Threshold: rng.NormFloat64(), Missing: MissingNaN, DefaultLeft: rng.IntN(2) == 0,
				Left: ^k, Right: ^len(at),
			}
			at[k] = &s.Left
			at = append(at, &s.Right)
		}
		list = append(list, t)
	}
	return list
}
