package train

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Four rows at a time get the leaves that one at a time gets, by any number of rows,
// and those that the branches' tables lead to.
func TestRouter(t *testing.T) {
	s := makeSynthetic(3000, 11, 8)
	for i := range s.label {
		s.columns[10][i] = float64(i * 7 % 40)
	}
	for name, leaves := range map[string]int{"a tree": 40, "one split": 2, "no split": 1} {
		p := DefaultParams()
		p.Leaves, p.SampleRows = max(leaves, 2), 1
		if leaves == 1 {
			p.MinGain = 1e9
		}
		b := newBooster(s.dataset(t, Spec{Categorical: []string{"f10"}}), nil, nil, p)
		b.step()
		g, route := b.grower, b.grower.router()
		if len(g.leaves) != leaves {
			t.Fatalf("%s: %d leaves", name, len(g.leaves))
		}
		want := make([]uint16, b.d.rows)
		for i := range g.leaves {
			for _, row := range g.rows[g.leaves[i].begin:g.leaves[i].end] {
				want[row] = uint16(i)
			}
		}
		rng := rand.New(rand.NewPCG(1, 3))
		for n := range 12 {
			rows, got := make([]uint32, n), make([]uint16, n)
			for i := range rows {
				rows[i] = rng.Uint32N(uint32(b.d.rows))
			}
			route.leaves(b.d, rows, got)
			for i, row := range rows {
				if at := route.leaf(b.d, int(row)); got[i] != want[row] || at != int(want[row]) {
					t.Errorf("%s, %d rows: row %d is in leaf %d, alone in %d; want %d", name, n, row, got[i], at, want[row])
				}
			}
		}
		all, got := make([]uint32, b.d.rows), make([]uint16, b.d.rows)
		for i := range all {
			all[i] = uint32(i)
		}
		if route.leaves(b.d, all, got); !slices.Equal(got, want) {
			t.Errorf("%s: not every row is in its leaf", name)
		}
	}
}
