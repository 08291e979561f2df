package train

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/stratoswarm/forestall/model"
)

// These tests measure whether one discrete-time hazard model answers several
// horizons better than a binary model for each (docs/adr/0003-hazard.md). They
// need the data sets: DATA=../shared/data go test ./train -run Hazard -v

// lifetimes are rows of components with the time that each still had.
type lifetimes struct {
	names       []string
	columns     [][]float64
	categorical []string
	group       []int
	left        []float64 // time to the failure, or to the end of what is known
	failed      []bool    // whether that end is a failure
}

func (l *lifetimes) add(group int, row []float64, left float64, failed bool) {
	if l.columns == nil {
		l.columns = make([][]float64, len(row))
	}
	for f, v := range row {
		l.columns[f] = append(l.columns[f], v)
	}
	l.group, l.left, l.failed = append(l.group, group), append(l.left, left), append(l.failed, failed)
}

// within tells whether a row fails within the horizon, and whether that is known.
func (l *lifetimes) within(i int, horizon float64) (positive, known bool) {
	positive = l.failed[i] && l.left[i] <= horizon
	return positive, positive || l.left[i] >= horizon
}

// of returns the rows of components for which choose is true.
func (l *lifetimes) of(choose func(group int) bool) *lifetimes {
	out := &lifetimes{names: l.names, categorical: l.categorical}
	row := make([]float64, len(l.columns))
	for i, g := range l.group {
		if !choose(g) {
			continue
		}
		for f := range row {
			row[f] = l.columns[f][i]
		}
		out.add(g, row, l.left[i], l.failed[i])
	}
	return out
}

// hazardRow is a row of the training table: of a component, in an interval.
type hazardRow struct {
	row      int
	interval float64
	label    float64
}

// persons expands rows to one for each interval that a component entered and
// whose outcome is known (Singer, Willett 1993).
func (l *lifetimes) persons(ends []float64) (rows []hazardRow) {
	for i := range l.left {
		begin := 0.0
		for n, end := range ends {
			here := l.failed[i] && l.left[i] <= end && (l.left[i] > begin || n == 0)
			if !here && l.left[i] < end {
				break // failed before, or not followed so far
			}
			label := 0.0
			if here {
				label = 1
			}
			rows = append(rows, hazardRow{i, float64(n), label})
			if here {
				break
			}
			begin = end
		}
	}
	return rows
}

// one returns the rows as they are, with what comes within a horizon.
func (l *lifetimes) one(horizon float64) (rows []hazardRow) {
	for i := range l.left {
		if positive, known := l.within(i, horizon); known {
			label := 0.0
			if positive {
				label = 1
			}
			rows = append(rows, hazardRow{i, 0, label})
		}
	}
	return rows
}

// learn fits a model to rows, with the number of trees that is best for a fifth
// of the components, which it then does without.
func (l *lifetimes) learn(t *testing.T, rows []hazardRow, intervals bool) *model.Ensemble {
	t.Helper()
	names, columns := slices.Clone(l.names), make([][]float64, len(l.columns))
	var label []float64
	var k Keys
	for _, r := range rows {
		label, k.Group = append(label, r.label), append(k.Group, l.group[r.row])
	}
	for f := range columns {
		columns[f] = make([]float64, len(rows))
		for i, r := range rows {
			columns[f][i] = l.columns[f][r.row]
		}
	}
	if intervals {
		column := make([]float64, len(rows))
		for i, r := range rows {
			column[i] = r.interval
		}
		names, columns = append(names, "interval"), append(columns, column)
	}
	d, err := NewDataset(names, columns, label, nil, Spec{Objective: Binary, Categorical: l.categorical})
	if err != nil {
		t.Fatal(err)
	}
	rest, held, err := Split{Kind: ByGroup, Seed: 1}.Hold(k, d.AllRows(), 0.2)
	if err != nil {
		t.Fatal(err)
	}
	p := DefaultParams()
	p.Trees, p.EarlyStopping, p.LearningRate = 500, 30, 0.05
	r, err := Train(t.Context(), d.Subset(rest), d.Subset(held), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rows, %d positive: %d trees", d.Rows(), d.Positives(), len(r.Trees))
	return mustEnsemble(t, r)
}

// answers are the probabilities of failing within each horizon.
func (l *lifetimes) answers(t *testing.T, e *model.Ensemble, intervals []float64, horizons []float64) [][]float64 {
	t.Helper()
	out := make([][]float64, len(horizons))
	row := make([]float64, e.NumFeatures())
	for i := range l.left {
		for f := range l.columns {
			row[f] = l.columns[f][i]
		}
		survival := 1.0
		at := 0
		for n, end := range intervals {
			if len(row) > len(l.columns) {
				row[len(l.columns)] = float64(n)
			}
			raw, err := e.Raw(row)
			if err != nil {
				t.Fatal(err)
			}
			survival *= 1 - model.Sigmoid(raw)
			if end == horizons[at] {
				out[at] = append(out[at], 1-survival)
				at++
			}
		}
	}
	return out
}

// compareHazard prints how the answers of hazard models compare with those of
// one binary model for each horizon.
func compareHazard(t *testing.T, train, test *lifetimes, horizons []float64, intervals map[string][]float64) {
	t.Helper()
	binary := make([][]float64, len(horizons))
	for h, horizon := range horizons {
		e := train.learn(t, train.one(horizon), false)
		binary[h] = test.answers(t, e, []float64{horizon}, []float64{horizon})[0]
	}
	crossed := 0
	for i := range test.left {
		for h := 1; h < len(horizons); h++ {
			if binary[h][i] < binary[h-1][i]-0.01 {
				crossed++
				break
			}
		}
	}
	t.Logf("the binary models give a longer horizon a probability that is lower by more than 0.01 in %.2f %% of %d rows", 100*float64(crossed)/float64(len(test.left)), len(test.left))
	for _, name := range slices.Sorted(keysOf(intervals)) {
		e := train.learn(t, train.persons(intervals[name]), true)
		hazard := test.answers(t, e, intervals[name], horizons)
		for h, horizon := range horizons {
			var a, b []float64
			var label []bool
			var group []int
			for i := range test.left {
				if positive, known := test.within(i, horizon); known {
					a, b = append(a, hazard[h][i]), append(b, binary[h][i])
					label, group = append(label, positive), append(group, test.group[i])
				}
			}
			p, err := PairedBootstrap(a, b, label, group, 500, 1)
			if err != nil {
				t.Fatal(err)
			}
			low, high := brierInterval(a, b, label, group)
			t.Logf("| %s | %g | %.4f / %.4f | %+.4f (%+.4f to %+.4f) | %.4f / %.4f | %+.4f (%+.4f to %+.4f) | %.5f / %.5f | %+.5f (%+.5f to %+.5f) |", name, horizon,
				p.AUC.A, p.AUC.B, p.AUC.Delta, p.AUC.CI.Low, p.AUC.CI.High,
				p.AP.A, p.AP.B, p.AP.Delta, p.AP.CI.Low, p.AP.CI.High,
				model.Brier(a, label), model.Brier(b, label), model.Brier(a, label)-model.Brier(b, label), low, high)
		}
	}
}

func keysOf(m map[string][]float64) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// brierInterval is the 95 % interval of the difference in Brier score, whole
// components drawn with replacement.
func brierInterval(a, b []float64, label []bool, group []int) (low, high float64) {
	sum := map[int][2]float64{}
	for i := range a {
		y := 0.0
		if label[i] {
			y = 1
		}
		s := sum[group[i]]
		s[0] += (a[i]-y)*(a[i]-y) - (b[i]-y)*(b[i]-y)
		s[1]++
		sum[group[i]] = s
	}
	var groups []int
	for g := range sum {
		groups = append(groups, g)
	}
	slices.Sort(groups)
	rng := rand.New(rand.NewPCG(1, 2))
	var deltas []float64
	for range 1000 {
		var d, n float64
		for range groups {
			s := sum[groups[rng.IntN(len(groups))]]
			d, n = d+s[0], n+s[1]
		}
		deltas = append(deltas, d/n)
	}
	slices.Sort(deltas)
	return deltas[25], deltas[974]
}

func hazardData(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("DATA")
	if dir == "" {
		t.Skip("DATA is not set: it names the directory of the public data sets")
	}
	return dir
}

// TestPersons: rows are followed as far as they are known, and no further.
func TestPersons(t *testing.T) {
	l := &lifetimes{}
	l.add(0, []float64{0}, 15, true)  // fails in the second interval
	l.add(1, []float64{0}, 15, false) // is lost in the second
	l.add(2, []float64{0}, 100, true) // outlives all
	l.add(3, []float64{0}, 0, true)   // fails at once
	l.add(4, []float64{0}, 20, false) // is lost at the end of the second
	want := "[{0 0 0} {0 1 1} {1 0 0} {2 0 0} {2 1 0} {2 2 0} {3 0 1} {4 0 0} {4 1 0}]"
	if got := fmt.Sprint(l.persons([]float64{10, 20, 30})); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := fmt.Sprint(l.one(20)); got != "[{0 0 1} {2 0 0} {3 0 1} {4 0 0}]" {
		t.Errorf("within 20: %s", got)
	}
}
