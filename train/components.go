package train

import (
	"cmp"
	"fmt"
	"slices"
)

// component is a group of rows that stay together.
type component struct {
	number    int // as Keys.Group has it
	rows      int
	positives int
	draw      uint64 // places it among its like
}

// componentsOf counts the rows of each component, in the order of their draws.
func componentsOf(group, rows []int, positive func(row int) bool, seed uint64) []component {
	at := map[int]int{}
	var all []component
	for _, row := range rows {
		g := group[row]
		i, known := at[g]
		if !known {
			i = len(all)
			at[g] = i
			all = append(all, component{number: g, draw: scatter(seed, uint64(g))})
		}
		all[i].rows++
		if positive(row) {
			all[i].positives++
		}
	}
	slices.SortFunc(all, func(a, b component) int {
		return cmp.Or(cmp.Compare(a.draw, b.draw), cmp.Compare(a.number, b.number))
	})
	return all
}

// scatter mixes two numbers into one (SplitMix64; Steele, Lea, Flood 2014).
func scatter(seed, n uint64) uint64 {
	z := seed + (n+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// components makes the folds of a split by group.
func (s Split) components(d *Dataset, k Keys, rows []int) ([]Fold, error) {
	all := componentsOf(k.Group, rows, func(row int) bool { return d.label[row] == 1 }, s.Seed)
	failing := 0
	for _, c := range all {
		if c.positives > 0 {
			failing++
		}
	}
	if len(all) < s.Folds {
		return nil, fmt.Errorf("fold %d has no rows: the number of components is %d; %s", len(all)+1, len(all), fewerFolds(len(all)))
	}
	if d.spec.Objective == Binary && failing < s.Folds {
		return nil, fmt.Errorf("fold %d has no positive rows: the number of components that have any is %d of %d; %s", failing+1, failing, len(all), fewerFolds(failing))
	}
	foldOf, sum := deal(all, s.Folds)
	// The rows fold by fold, twice: the rows that do not judge follow those
	// that do.
	ring := make([]int, 0, 2*len(rows))
	for i := range s.Folds {
		for _, row := range rows {
			if foldOf[k.Group[row]] == i {
				ring = append(ring, row)
			}
		}
	}
	ring = append(ring, ring...)
	folds := make([]Fold, s.Folds)
	begin := 0
	for i, c := range sum {
		end := begin + c.rows
		folds[i] = Fold{
			Name:  components(c.number),
			Valid: ring[begin:end],
			Train: ring[end : begin+len(rows)],
		}
		begin = end
	}
	return folds, nil
}

func components(n int) string {
	if n == 1 {
		return "1 component"
	}
	return fmt.Sprintf("%d components", n)
}

// fewerFolds says what to do where only so many components can be told apart.
func fewerFolds(components int) string {
	if components < 2 {
		return "split by time instead"
	}
	return fmt.Sprintf("make at most %d folds", components)
}

// deal parts components into folds of about equally many positives and rows:
// each goes, the largest first, to the fold that has the fewest positives or, of
// those without any, the fewest rows. sum counts the
// components of each fold, their rows and their positives.
func deal(all []component, folds int) (foldOf map[int]int, sum []component) {
	slices.SortStableFunc(all, func(a, b component) int {
		return cmp.Or(cmp.Compare(b.positives, a.positives), cmp.Compare(b.rows, a.rows))
	})
	sum = make([]component, folds)
	foldOf = make(map[int]int, len(all))
	for _, c := range all {
		least := 0
		for i := range sum {
			fewer := 0
			if c.positives > 0 {
				fewer = cmp.Compare(sum[i].positives, sum[least].positives)
			}
			if cmp.Or(fewer, cmp.Compare(sum[i].rows, sum[least].rows)) < 0 {
				least = i
			}
		}
		foldOf[c.number] = least
		sum[least].number++
		sum[least].rows += c.rows
		sum[least].positives += c.positives
	}
	return foldOf, sum
}

// some sets whole components of about a share of the rows apart, in the order
// of their draws.
func (s Split) some(k Keys, rows []int, share float64) (rest, held []int) {
	want := share * float64(len(rows))
	chosen := map[int]bool{}
	taken := 0
	for _, c := range componentsOf(k.Group, rows, func(int) bool { return false }, s.Seed) {
		if float64(taken) >= want {
			break
		}
		chosen[c.number] = true
		taken += c.rows
	}
	for _, row := range rows {
		if chosen[k.Group[row]] {
			held = append(held, row)
		} else {
			rest = append(rest, row)
		}
	}
	return rest, held
}
