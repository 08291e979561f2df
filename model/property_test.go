package model

import (
	"bytes"
	"math"
	"math/bits"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// shapley computes a row's contributions by their definition: the mean, over
// all orders in which features become known, of what each changes, where a
// subtree that a feature unknown decides is the mean of both sides weighted by
// their training rows.
func shapley(e *Ensemble, row []float64) []float64 {
	n := e.NumFeatures()
	value := make([]float64, 1<<n)
	for known := range value {
		for _, root := range e.roots {
			value[known] += conditional(e, root, row, known)
		}
	}
	phi := make([]float64, n)
	for f := range phi {
		for known := range value {
			if known>>f&1 == 1 {
				continue
			}
			k := bits.OnesCount(uint(known))
			weight := 1 / (float64(n) * binomial(n-1, k))
			phi[f] += weight * (value[known|1<<f] - value[known])
		}
	}
	return phi
}

func conditional(e *Ensemble, i uint32, row []float64, known int) float64 {
	n := e.nodes[i]
	if n.leaf() {
		return n.threshold
	}
	if known>>n.feature()&1 == 1 {
		return conditional(e, e.next(n, row), row, known)
	}
	l, r := n.left, n.left+1
	return (e.cover[l]*conditional(e, l, row, known) + e.cover[r]*conditional(e, r, row, known)) / e.cover[i]
}

func binomial(n, k int) float64 {
	b := 1.0
	for i := range k {
		b = b * float64(n-i) / float64(i+1)
	}
	return b
}

// someTrees draws proper trees over that many features; even ones are numeric,
// odd ones categorical.
func someTrees(t *rapid.T, features int) []Tree {
	var trees []Tree
	for range rapid.IntRange(1, 12).Draw(t, "trees") {
		tree := Tree{Shrinkage: 0.1}
		var grow func(depth int) int
		grow = func(depth int) int {
			if depth == 0 || rapid.IntRange(0, 3).Draw(t, "stop") == 0 {
				tree.Leaves = append(tree.Leaves, Leaf{
					Value: float64(rapid.IntRange(-100, 100).Draw(t, "value")) / 7,
					Count: rapid.IntRange(1, 50).Draw(t, "count"),
				})
				return ^(len(tree.Leaves) - 1)
			}
			s := Split{Feature: rapid.IntRange(0, features-1).Draw(t, "feature")}
			if s.Feature%2 == 1 {
				for range rapid.IntRange(1, 3).Draw(t, "words") {
					s.Category = append(s.Category, rapid.Uint32Range(1, math.MaxUint32).Draw(t, "set"))
				}
			} else {
				s.Threshold = float64(rapid.IntRange(-4, 4).Draw(t, "threshold")) / 2
				s.Missing = Missing(rapid.IntRange(0, 2).Draw(t, "missing"))
				s.DefaultLeft = rapid.Bool().Draw(t, "left")
			}
			tree.Splits = append(tree.Splits, s)
			i := len(tree.Splits) - 1
			left := grow(depth - 1)
			tree.Splits[i].Left, tree.Splits[i].Right = left, grow(depth-1)
			return i
		}
		grow(rapid.IntRange(0, 5).Draw(t, "depth"))
		trees = append(trees, tree)
	}
	return trees
}

func someRow(t *rapid.T, features int) []float64 {
	row := make([]float64, features)
	for i := range row {
		row[i] = rapid.SampledFrom([]float64{nan, 0, -1, -0.5, 0.5, 1, 2, 3, 31, 64, 1e-36, 1e-34, 90}).Draw(t, "x")
	}
	return row
}

func names(n int) (out []string) {
	for i := range n {
		out = append(out, "f"+strconv.Itoa(i))
	}
	return out
}

// TestProperties: for any trees, writing and reading changes nothing, the
// second opinion agrees, scores are those by definition, a batch equals its rows, and contributions are the
// Shapley values and sum to the score.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const features = 5
		trees := someTrees(t, features)
		direct, err := NewEnsemble(names(features), "binary sigmoid:1", trees)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := WriteEnsemble(&b, names(features), "binary sigmoid:1", trees); err != nil {
			t.Fatal(err)
		}
		card := Card{Format: CardFormat, Name: "x", Version: "1", Features: names(features), Horizon: Duration(time.Hour)}
		m, err := New(b.Bytes(), card)
		if err != nil {
			t.Fatalf("%v\n%s", err, b.Bytes())
		}
		var rows []float64
		const n = 2*lanes + 3 // two groups and some rows alone
		for range n {
			rows = append(rows, someRow(t, features)...)
		}
		batch := make([]float64, n)
		if err := m.RawBatch(rows, batch); err != nil {
			t.Fatal(err)
		}
		dst := make([]float64, features+1)
		for i := range n {
			row := rows[i*features : (i+1)*features]
			raw, _ := m.Raw(row)
			if want, _ := direct.Raw(row); raw != want || batch[i] != want {
				t.Fatalf("row %v: %v read back, %v in a batch, %v directly", row, raw, batch[i], want)
			} else if by := direct.definition(row); raw != by {
				t.Fatalf("row %v scores %v, by definition %v", row, raw, by)
			}
			if err := m.Contributions(row, dst); err != nil {
				t.Fatal(err)
			}
			sum := dst[features]
			for f, want := range shapley(m.Ensemble, row) {
				sum += dst[f]
				if math.Abs(dst[f]-want) > 1e-9 {
					t.Fatalf("row %v: feature %d contributes %v, by definition %v", row, f, dst[f], want)
				}
			}
			if math.Abs(sum-raw) > 1e-9 {
				t.Fatalf("row %v: contributions sum to %v, the score is %v", row, sum, raw)
			}
		}
	})
}
