package train

import (
	"math"
	"testing"
)

// firstTree grows one tree from even odds and returns it with the sums of the
// gradients and hessians of all rows under each leaf, ^i, and branch.
func firstTree(t *testing.T, p Params) (g *grower, sums map[int][2]float64) {
	t.Helper()
	s := makeSynthetic(4000, 5, 31)
	p.LearningRate, p.Trees = 1, 1
	b := newBooster(s.dataset(t, Spec{}), nil, nil, p)
	b.step()
	g, sums = b.grower, map[int][2]float64{}
	parent := map[int]int{}
	for i, n := range g.nodes {
		parent[n.left], parent[n.right] = i, i
	}
	counts := make([]int, len(g.leaves))
	route := g.router()
	for row, y := range s.label {
		leaf := route.leaf(b.d, row)
		counts[leaf]++
		for at := ^leaf; ; {
			sum := sums[at]
			sums[at] = [2]float64{sum[0] + 0.5 - y, sum[1] + 0.25}
			up, ok := parent[at]
			if !ok {
				break
			}
			at = up
		}
	}
	for i, l := range b.result.Trees[0].Leaves {
		if l.Count != counts[i] || math.Abs(l.Weight-sums[^i][1]) > 1e-3 {
			t.Errorf("leaf %d has %d rows and a weight of %v; want %d and %v", i, l.Count, l.Weight, counts[i], sums[^i][1])
		}
	}
	return g, sums
}

// The rows of a sample choose the splits; the leaves' values and counts are those
// of all rows.
func TestSampleChoosesSplitsOnly(t *testing.T) {
	p := DefaultParams()
	p.SampleRows = 0.3
	g, sums := firstTree(t, p)
	for i := range g.leaves {
		sum := sums[^i]
		if want := -sum[0] / (sum[1] + p.L2); math.Abs(g.leaves[i].output-want) > 1e-5 {
			t.Errorf("leaf %d has the value %v; all rows make it %v", i, g.leaves[i].output, want)
		}
	}
}

// A value is the mean of its node's own, weighed by the hessian, and its parent's,
// weighed by PathSmooth; so a large one makes all leaves the root.
func TestPathSmooth(t *testing.T) {
	for _, share := range []float64{1, 0.5} {
		for _, smooth := range []float64{0, 3, 1e9} {
			p := DefaultParams()
			p.SampleRows, p.PathSmooth = share, smooth
			g, sums := firstTree(t, p)
			var check func(at int, above float64)
			check = func(at int, above float64) {
				sum := sums[at]
				v := -sum[0] / (sum[1] + p.L2)
				if at != 0 {
					v = (sum[1]*v + smooth*above) / (sum[1] + smooth)
				}
				if at >= 0 {
					check(g.nodes[at].left, v)
					check(g.nodes[at].right, v)
					return
				}
				if got := g.leaves[^at].output; math.Abs(got-v) > 1e-5 {
					t.Errorf("sample %v, smooth %v: leaf %d has the value %v, want %v", share, smooth, ^at, got, v)
				}
			}
			check(0, 0)
		}
	}
}
