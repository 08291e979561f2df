package train

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// The rows that GOSS takes for their gradients are exactly those with the
// largest, and what is left out is made up for by the weight of the others.
func TestGOSS(t *testing.T) {
	const rows, top, rest = 50_000, 0.1, 0.2
	s := makeSynthetic(rows, 3, 5)
	p := DefaultParams()
	p.SampleRows, p.GOSSTop, p.GOSSRest = 1, top, rest
	b := newBooster(s.dataset(t, Spec{}), nil, nil, p)
	rng := rand.New(rand.NewPCG(1, 2))
	want := make([]float64, rows)
	total := 0.0
	for i := range want {
		want[i] = math.Abs(rng.NormFloat64())
		b.gradients.rows[i] = derived(float32(-want[i]), float32(want[i]))
		total += want[i]
	}
	b.rng = rng
	n := b.goss()
	if d := math.Abs(float64(n)/rows - top - rest); d > 0.01 {
		t.Errorf("%d of %d rows are chosen; the shares are %v and %v", n, rows, top, rest)
	}
	sum, kept, least := [2]float64{}, 0, math.Inf(1)
	for _, row := range b.grower.rows[:n] {
		gradient, hessian := derivatives(b.gradients.rows[row])
		sum[0] += math.Abs(float64(gradient))
		sum[1] += float64(hessian)
		if float64(hessian) < want[row]*1.01 {
			kept++
			least = min(least, want[row])
		}
	}
	if kept != rows*top {
		t.Errorf("%d rows are kept as they are, want %v", kept, rows*top)
	}
	larger := 0
	for _, v := range want {
		if v > least*1.01 { // ranks tell 16 bits apart
			larger++
		}
	}
	if larger > kept {
		t.Errorf("%d rows have larger gradients than the least of the %d kept", larger, kept)
	}
	for _, got := range sum {
		if math.Abs(got/total-1) > 0.03 {
			t.Errorf("the rows chosen weigh %v, all weigh %v", got, total)
		}
	}
}

// With ties and gradients of 0 the number of rows kept is still exact.
func TestLargestTies(t *testing.T) {
	rows := make([]int64, 1000)
	for i := range 300 {
		rows[i] = derived(1, 1)
	}
	for _, top := range []int{0, 1, 299, 300, 301, 999, 1000} {
		bound, tied := largest(rows, top)
		above := 0
		for _, r := range rows {
			if g, _ := derivatives(r); rankOf(g) > bound {
				above++
			}
		}
		if above+tied != top && above+min(tied, 1000-above) != top {
			t.Errorf("top %d: %d above and %d tied", top, above, tied)
		}
	}
}

// The rows of a tree come first, rising, and the others behind them: each row once,
// also where the draw leaves none and one is taken.
func TestSampleKeepsEveryRow(t *testing.T) {
	s := makeSynthetic(50, 3, 5)
	for _, share := range []float64{1, 0.5, 1e-6} {
		p := DefaultParams()
		p.SampleRows, p.MinLeaf = share, 1
		b := newBooster(s.dataset(t, Spec{}), nil, nil, p)
		for seed := range uint64(50) {
			b.draw(seed, 1)
			n := b.sampleRows(0)
			rows := slices.Clone(b.grower.rows)
			if share == 0.5 {
				// The draw of each row, as models of before had it.
				rng, in := rand.New(rand.NewPCG(seed, 1)), 0
				for row := range uint32(50) {
					place := len(rows) - 1 - int(row) + in
					if rng.Uint64()>>32 < 1<<31 {
						place = in
						in++
					}
					if rows[place] != row {
						t.Fatalf("seed %d: row %d is not at %d of %v", seed, row, place, rows)
					}
				}
			}
			if n < 1 || share == 1 && n != 50 || !slices.IsSorted(rows[:n]) {
				t.Fatalf("share %v, seed %d: %d rows, %v", share, seed, n, rows[:n])
			}
			slices.Sort(rows)
			for i, row := range rows {
				if int(row) != i {
					t.Fatalf("share %v, seed %d: the rows are %v", share, seed, rows)
				}
			}
		}
	}
}

// All rows of a small table choose the splits, where the share of them would be less
// than four times MinLeaf.
func TestSmallTablesAreNotSampled(t *testing.T) {
	for _, c := range []struct {
		rows, leaf int
		all        bool
	}{{50, 20, true}, {159, 20, true}, {160, 20, false}, {1000, 20, false}, {1000, 200, true}, {10, 1, false}} {
		p := DefaultParams()
		p.MinLeaf = c.leaf
		b := newBooster(makeSynthetic(c.rows, 3, 6).dataset(t, Spec{}), nil, nil, p)
		b.draw(1, 1)
		if n := b.sampleRows(0); (n == c.rows) != c.all {
			t.Errorf("%d of %d rows choose, at least %d in a leaf; want all: %v", n, c.rows, c.leaf, c.all)
		}
	}
}
