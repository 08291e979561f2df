package model

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var nan = math.NaN()

// golden reads testdata/small.txt, written by hand: four trees over the
// features temp (missing = NaN), load (missing = zero), none (no missing) and
// site (categorical).
func golden(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "small.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustRead(t testing.TB, text []byte) *Ensemble {
	t.Helper()
	e, err := ReadEnsemble(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestSmall: what each tree of the hand-written model adds, by LightGBM's rules.
func TestSmall(t *testing.T) {
	e := mustRead(t, golden(t))
	if d := cmp.Diff([]string{"temp", "load", "none", "site"}, e.Features()); d != "" {
		t.Error(d)
	}
	if e.Trees() != 4 || e.Objective() != "binary" || e.NumFeatures() != 4 {
		t.Errorf("%d trees, objective %s, %d features", e.Trees(), e.Objective(), e.NumFeatures())
	}
	// The score of the trees: 0.5 always; temp 1, 2 or 4; load 10 or 20; none
	// and site 100, 200 or 400.
	base := []float64{50, 1, -1, 0}
	for _, c := range []struct {
		name string
		at   int
		v    float64
		want float64
	}{
		{"temp below", 0, 79.9, 0.5 + 1 + 20 + 100},
		{"temp at its threshold goes left", 0, 80, 0.5 + 1 + 20 + 100},
		{"temp just above", 0, math.Nextafter(80, 81), 0.5 + 2 + 20 + 100},
		{"temp above the second", 0, 91, 0.5 + 4 + 20 + 100},
		{"temp missing goes left", 0, nan, 0.5 + 1 + 20 + 100},
		{"temp infinite", 0, math.Inf(1), 0.5 + 4 + 20 + 100},
		{"load below", 1, 0.4, 0.5 + 1 + 10 + 100},
		{"load zero is missing and goes right", 1, 0, 0.5 + 1 + 20 + 100},
		{"load nearly zero is missing too", 1, -1e-35, 0.5 + 1 + 20 + 100},
		{"load not quite zero is not", 1, 1.1e-35, 0.5 + 1 + 10 + 100},
		{"load NaN is zero, so missing", 1, nan, 0.5 + 1 + 20 + 100},
		{"none NaN is zero, above its threshold", 2, nan, 0.5 + 1 + 20 + 200},
		{"none above, site in the set", 2, 3, 0.5 + 1 + 20 + 200},
	} {
		row := append([]float64(nil), base...)
		row[c.at] = c.v
		if got, err := e.Raw(row); err != nil || got != c.want {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
	for site, want := range map[float64]float64{
		0: 200, 0.9: 200, -0.9: 200, 5: 200, 33: 200, 33.7: 200,
		1: 400, 32: 400, 64: 400, 1e9: 400, 1e300: 400, -1: 400, nan: 400, math.Inf(1): 400,
	} {
		if got, _ := e.Raw([]float64{50, 1, 1, site}); got != 0.5+1+20+want {
			t.Errorf("site %v: %v, want %v", site, got, 21.5+want)
		}
	}
}

// TestSmallContributions checks them by hand for a tree of one split and by
// brute force over all subsets for the whole.
func TestSmallContributions(t *testing.T) {
	e := mustRead(t, golden(t))
	dst := make([]float64, 5)
	row := []float64{91, 0.4, 1, 5}
	if err := e.Contributions(row, dst); err != nil {
		t.Fatal(err)
	}
	// load: 40 rows left at 10, 60 right at 20, so the mean is 16.
	if got := dst[1]; math.Abs(got-(10-16)) > 1e-12 {
		t.Errorf("load contributes %v, want -6", got)
	}
	if got := dst[4]; math.Abs(got-(0.5+1.7+16+180)) > 1e-12 {
		t.Errorf("bias %v", got)
	}
	for f, want := range shapley(e, row) {
		if math.Abs(dst[f]-want) > 1e-9 {
			t.Errorf("feature %d contributes %v, by definition %v", f, dst[f], want)
		}
	}
}

// TestReadErrors: each defect is refused with its line and name.
func TestReadErrors(t *testing.T) {
	text := string(golden(t))
	for _, c := range []struct{ name, old, new, want string }{
		{"empty", text, "", "line 1: the file is empty"},
		{"no tree sizes", text[strings.Index(text, "tree_sizes="):strings.Index(text, "\nTree=0")], "", "no tree_sizes"},
		{"not a model", "tree\n", "trees\n", "line 1"},
		{"version", "version=v4", "version=v5", "version"},
		{"classes", "num_class=1", "num_class=3", "num_class is 3"},
		{"objective", "objective=binary sigmoid:1", "objective=lambdarank", "lambdarank"},
		{"sigmoid", "sigmoid:1", "sigmoid:-1", "sigmoid"},
		{"forest", "label_index=0", "average_output", "random forest"},
		{"unknown key", "label_index=0", "linear_thing=0", "linear_thing"},
		{"key twice", "label_index=0", "num_class=1", "twice"},
		{"feature names", "feature_names=temp load", "feature_names=temp", "feature_names has 3 values instead of 4"},
		{"feature twice", "feature_names=temp load", "feature_names=temp temp", "twice"},
		{"many features", "max_feature_idx=3", "max_feature_idx=999999999", "max_feature_idx"},
		{"tree count", "tree_sizes=", "tree_sizes=1 ", "lists 5"},
		{"no end", "end of trees" + text[strings.Index(text, "end of trees")+12:], "", "is cut off"},
		{"tree number", "Tree=1", "Tree=7", "tree 1"},
		{"a billion leaves", "num_leaves=3", "num_leaves=1000000000", "num_leaves is 1000000000"},
		{"negative leaves", "num_leaves=3", "num_leaves=-3", "num_leaves"},
		{"leaf values", "leaf_value=1 2 4", "leaf_value=1 22", "tree 1: leaf_value has 2 values"},
		{"leaf NaN", "leaf_value=1 2 4", "leaf_value=1 nan 4", "leaf_value 1"},
		{"leaf count", "leaf_count=60 25 15", "leaf_count=60 -25 15", "negative"},
		{"threshold", "threshold=80 90", "threshold=80 inf", "threshold 1"},
		{"split feature", "split_feature=0 0", "split_feature=0 4", "split_feature 1 is 4"},
		{"child out of range", "left_child=-1 -2", "left_child=-1 7", "left_child 1 is 7"},
		{"leaf out of range", "left_child=-1 -2", "left_child=-1 -9", "left_child 1 is -9"},
		{"leaf twice", "left_child=-1 -2", "left_child=-1 -1", "reached twice"},
		{"cycle", "right_child=1 -3", "right_child=1 0", "reached twice"},
		{"self", "left_child=-1 -2", "left_child=0 -2", "reached twice"},
		{"decision bits", "decision_type=10 10", "decision_type=10 74", "decision_type 1 is 74"},
		{"missing type", "decision_type=10 10", "decision_type=10 14", "missing type 3"},
		{"linear", "is_linear=0", "is_linear=1", "is_linear"},
		{"set index", "threshold=-0.5 0", "threshold=-0.5 1", "categorical sets"},
		{"set bounds", "cat_boundaries=0 2", "cat_boundaries=0 3", "cat_boundaries"},
		{"set rising", "cat_boundaries=0 2", "cat_boundaries=2 2", "cat_boundaries"},
		{"set word", "cat_threshold=33 2", "cat_threshold=33 4294967296", "cat_threshold 1"},
		{"set empty", "cat_threshold=33 2", "cat_threshold=0 0", "empty"},
		{"set count", "num_cat=1", "num_cat=999999", "num_cat"},
		{"set count negative", "num_cat=1", "num_cat=-1", "num_cat is -1"},
		{"no sets", "num_cat=1", "num_cat=0", "tree 3: threshold 1 is 0"},
		{"set bound no number", "cat_boundaries=0 2", "cat_boundaries=0 99999999999", "tree 3: cat_boundaries 1"},
		{"set bound negative", "cat_boundaries=0 2", "cat_boundaries=-1 2", "tree 3: cat_boundaries"},
		{"set word negative", "cat_threshold=33 2", "cat_threshold=33 -2", "tree 3: cat_threshold 1"},
		{"set fraction", "threshold=-0.5 0", "threshold=-0.5 0.5", "categorical sets"},
		{"most features", "max_feature_idx=3", "max_feature_idx=16777215", "feature_names has 4 values instead of 16777216"},
		{"a billion sets", "num_cat=1", "num_cat=1000000000", "num_cat is 1000000000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed := strings.Replace(text, c.old, c.new, 1)
			if changed == text {
				t.Fatalf("%q is not in the text", c.old)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := ReadEnsemble(strings.NewReader(changed))
			runtime.ReadMemStats(&after)
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "line ") {
				t.Errorf("error %v does not name %q and its line", err, c.want)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
				t.Errorf("%d bytes allocated for a text of %d", n, len(changed))
			}
		})
	}
}

// TestErrorLines: an error names the line that holds what is wrong.
func TestErrorLines(t *testing.T) {
	text := string(golden(t))
	for broken, with := range map[string]string{
		"version=v4":          "version=v5",
		"sigmoid:1":           "sigmoid:0",
		"threshold=80 90":     "threshold=80 nan",
		"decision_type=10 10": "decision_type=10 14",
		"left_child=-1 -2":    "left_child=-1 7",
		"is_linear=0":         "is_linear=1",
		"cat_threshold=33 2":  "cat_threshold=33 x",
	} {
		before, _, _ := strings.Cut(text, broken)
		_, err := ReadEnsemble(strings.NewReader(strings.Replace(text, broken, with, 1)))
		if want := fmt.Sprintf("line %d: ", 1+strings.Count(before, "\n")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", with, err, want)
		}
	}
}

// TestTruncated: wherever a text is cut off, the error says so and where.
func TestTruncated(t *testing.T) {
	text := string(golden(t))
	first := strings.Index(text, "Tree=0\n") + len("Tree=0\n")
	for n := range strings.Index(text, endOfTrees) + len(endOfTrees) {
		_, err := ReadEnsemble(strings.NewReader(text[:n]))
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "line ") {
			t.Fatalf("%d bytes: error %v", n, err)
		}
		if n > len("tree\n") && !strings.Contains(err.Error(), "is cut off") && !strings.HasSuffix(text[:n], "\nTree=") {
			t.Errorf("%d bytes: error %v does not say that the text is cut off", n, err)
		}
		if n > first && !strings.Contains(err.Error(), "tree ") {
			t.Errorf("%d bytes: error %v does not name the tree", n, err)
		}
	}
}

// TestDeepTree: a chain of splits is refused before it costs anything.
func TestDeepTree(t *testing.T) {
	for _, depth := range []int{maxDepth, maxDepth + 1} {
		tree := Tree{Leaves: make([]Leaf, depth+1)}
		for i := range depth {
			s := Split{Left: ^i, Right: i + 1}
			if i == depth-1 {
				s.Right = ^depth
			}
			tree.Splits = append(tree.Splits, s)
		}
		_, err := NewEnsemble([]string{"x"}, "binary", []Tree{tree})
		if (err == nil) != (depth <= maxDepth) {
			t.Errorf("depth %d: %v", depth, err)
		}
	}
}

// TestInfiniteSum: scores are finite for every model that is accepted.
func TestInfiniteSum(t *testing.T) {
	tree := Tree{Leaves: []Leaf{{Value: math.MaxFloat64}}}
	if _, err := NewEnsemble([]string{"x"}, "binary", []Tree{tree, tree}); !errors.Is(err, ErrFormat) {
		t.Errorf("error %v", err)
	}
}

// TestWidth: a row of another width is an error, never a score.
func TestWidth(t *testing.T) {
	e := mustRead(t, golden(t))
	for _, n := range []int{0, 3, 5} {
		if _, err := e.Raw(make([]float64, n)); !errors.Is(err, ErrWidth) {
			t.Errorf("Raw of %d values: %v", n, err)
		}
		if err := e.RawBatch(make([]float64, n), make([]float64, 1)); !errors.Is(err, ErrWidth) {
			t.Errorf("RawBatch of %d values: %v", n, err)
		}
		if err := e.Contributions(make([]float64, n), make([]float64, 5)); !errors.Is(err, ErrWidth) {
			t.Errorf("Contributions of %d values: %v", n, err)
		}
	}
	if err := e.Contributions(make([]float64, 4), make([]float64, 4)); !errors.Is(err, ErrWidth) {
		t.Errorf("Contributions into 4 values: %v", err)
	}
}

// TestNoCounts: without leaf counts a model scores and is not explained.
func TestNoCounts(t *testing.T) {
	e := mustRead(t, bytes.ReplaceAll(golden(t), []byte("leaf_count=60 25 15\n"), nil))
	if _, err := e.Raw(make([]float64, 4)); err != nil {
		t.Error(err)
	}
	if err := e.Contributions(make([]float64, 4), make([]float64, 5)); !errors.Is(err, ErrNoCounts) {
		t.Errorf("error %v", err)
	}
}

// TestDoesNotAllocate: after the first call.
func TestDoesNotAllocate(t *testing.T) {
	var pool sync.Pool
	for range 100 {
		if pool.Put(t); pool.Get() == nil {
			t.Skip("a sync.Pool forgets under the race detector")
		}
	}
	e := mustRead(t, golden(t))
	rows, dst, shares := make([]float64, 4*20), make([]float64, 20), make([]float64, 5)
	for name, call := range map[string]func() error{
		"Raw":           func() error { _, err := e.Raw(rows[:4]); return err },
		"RawBatch":      func() error { return e.RawBatch(rows, dst) },
		"Contributions": func() error { return e.Contributions(rows[:4], shares) },
	} {
		if n := testing.AllocsPerRun(100, func() {
			if err := call(); err != nil {
				t.Error(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// TestMaxTextBytes: no tree takes more text than is said, whatever its numbers.
func TestMaxTextBytes(t *testing.T) {
	long := -math.SmallestNonzeroFloat64 * (1<<52 + 1)
	one := Tree{
		Splits: []Split{
			{Feature: math.MaxInt32, Threshold: long, Left: 1, Right: -3, Gain: long},
			{Feature: math.MaxInt32, Category: []uint32{math.MaxUint32, 0, math.MaxUint32}, Left: -1, Right: -2, Gain: long},
		},
		Leaves:    []Leaf{{long, math.MaxInt64, long}, {long, math.MaxInt64, long}, {long, math.MaxInt64, long}},
		Shrinkage: long,
	}
	if got, most := one.TextBytes(), one.MaxTextBytes(); got > most {
		t.Errorf("%d bytes, said to be at most %d", got, most)
	}
	rapid.Check(t, func(t *rapid.T) {
		for _, tree := range someTrees(t, 5) {
			if got, most := tree.TextBytes(), tree.MaxTextBytes(); got > most || got*8 < most {
				t.Errorf("%d bytes, said to be at most %d", got, most)
			}
		}
	})
}

// TestTreeSizes: tree_sizes cut the written text exactly into its trees, which
// is how LightGBM finds them.
func TestTreeSizes(t *testing.T) {
	trees := []Tree{{Leaves: []Leaf{{Value: 1_000_000, Count: 1_000_000}}}, {
		Splits: []Split{{Category: []uint32{6}, Left: ^0, Right: ^1}},
		Leaves: []Leaf{{Value: 1e-300, Count: 3}, {Value: -2, Count: 4}},
	}}
	var b strings.Builder
	if err := WriteEnsemble(&b, []string{"x"}, "cross_entropy", trees); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	_, sizes, _ := strings.Cut(text, "tree_sizes=")
	sizes, _, _ = strings.Cut(sizes, "\n")
	rest := text[strings.Index(text, "Tree=0"):]
	for i, s := range strings.Fields(sizes) {
		n, err := strconv.Atoi(s)
		if err != nil || n > len(rest) || !strings.HasPrefix(rest, "Tree="+strconv.Itoa(i)+"\n") {
			t.Fatalf("tree %d is not at its place: %.40q", i, rest)
		}
		rest = rest[n:]
	}
	if rest != "end of trees\n" {
		t.Errorf("after the trees: %q", rest)
	}
	mustRead(t, []byte(text))
}
