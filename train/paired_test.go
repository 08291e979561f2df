package train

import (
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/stratoswarm/forestall/model"
)

// TestSeparation: all weights 1 give the plain measures, and weights give those
// of the rows repeated as often.
func TestSeparation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "rows")
		score := rapid.SliceOfN(rapid.Map(rapid.IntRange(0, 9), func(i int) float64 { return float64(i) / 8 }), n, n).Draw(t, "score")
		label := rapid.SliceOfN(rapid.Bool(), n, n).Draw(t, "label")
		unit := rapid.SliceOfN(rapid.Int32Range(0, 5), n, n).Draw(t, "unit")
		weight := rapid.SliceOfN(rapid.Uint16Range(0, 3), 6, 6).Draw(t, "weight")
		near := cmpopts.EquateApprox(0, 1e-12)

		got := [2]float64{}
		got[0], got[1] = newRanking(score, label, nil).separation(ones(n))
		want := [2]float64{model.AveragePrecision(score, label), model.ROCAUC(score, label)}
		if d := cmp.Diff(want, got, near, cmpopts.EquateNaNs()); d != "" {
			t.Fatalf("weights 1 (-model +ranking):\n%s", d)
		}

		var s []float64
		var y []bool
		for i := range score {
			for range weight[unit[i]] {
				s, y = append(s, score[i]), append(y, label[i])
			}
		}
		got[0], got[1] = newRanking(score, label, unit).separation(weight)
		want = [2]float64{model.AveragePrecision(s, y), model.ROCAUC(s, y)}
		if d := cmp.Diff(want, got, near, cmpopts.EquateNaNs()); d != "" {
			t.Fatalf("weighted (-repeated +ranking):\n%s", d)
		}
	})
}

// twoModels scores rows of components with a good model and a worse one.
func twoModels(rows int, noise float64) (a, b []float64, label []bool, group []int) {
	rng := rand.New(rand.NewPCG(7, 7))
	for i := range rows {
		y := rng.IntN(5) == 0
		x := rng.NormFloat64()
		if y {
			x++
		}
		a, b = append(a, x), append(b, x+noise*rng.NormFloat64())
		label, group = append(label, y), append(group, i/4*100)
	}
	return a, b, label, group
}

func TestPairedBootstrap(t *testing.T) {
	a, b, label, group := twoModels(2000, 1)
	p, err := PairedBootstrap(a, b, label, group, 300, 1)
	if err != nil {
		t.Fatal(err)
	}
	if p.Units != 500 || p.Resamples != 300 {
		t.Errorf("%+v", p)
	}
	for name, d := range map[string]Difference{"AUC": p.AUC, "AP": p.AP} {
		if d.Delta != d.A-d.B || !(d.CI.Low < d.Delta && d.Delta < d.CI.High) {
			t.Errorf("%s: the interval does not hold the difference: %+v", name, d)
		}
		if d.CI.Low <= 0 || d.Better != 1 {
			t.Errorf("%s: the better model is not found better: %+v", name, d)
		}
	}
	if want := model.ROCAUC(a, label); math.Abs(p.AUC.A-want) > 1e-12 {
		t.Errorf("AUC %v, want %v", p.AUC.A, want)
	}

	// Turned round, everything is.
	q, err := PairedBootstrap(b, a, label, group, 300, 1)
	if err != nil {
		t.Fatal(err)
	}
	if q.AP.Better != 0 || q.AP.CI.Low != -p.AP.CI.High || q.AP.CI.High != -p.AP.CI.Low {
		t.Errorf("turned round: %+v, was %+v", q.AP, p.AP)
	}

	// A model is as good as itself.
	same, err := PairedBootstrap(a, a, label, nil, 50, 1)
	if err != nil {
		t.Fatal(err)
	}
	if same.Units != 2000 || same.AUC.Better != 0.5 || same.AUC.CI != (Interval{}) {
		t.Errorf("itself: %+v", same)
	}
}

// TestPairedBootstrapThreads: the result depends on the seed only.
func TestPairedBootstrapThreads(t *testing.T) {
	a, b, label, group := twoModels(500, 0.2)
	unit := numbered(group)
	r := [2]*ranking{newRanking(a, label, unit), newRanking(b, label, unit)}
	var results []Paired
	for _, threads := range []int{1, 2, 7} {
		p, err := compare(r, 125, 60, 5, threads)
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, p)
	}
	if results[0] != results[1] || results[0] != results[2] {
		t.Errorf("1, 2 and 7 threads: %+v", results)
	}
	if other, _ := compare(r, 125, 60, 6, runtime.GOMAXPROCS(0)); other.AP.CI == results[0].AP.CI {
		t.Error("another seed gives the same interval")
	}
}

func TestPairedBootstrapErrors(t *testing.T) {
	two := []float64{1, 2}
	for want, err := range map[string]error{
		"2 and 1 scores":      second(PairedBootstrap(two, two[:1], []bool{true, false}, nil, 1, 1)),
		"1 groups":            second(PairedBootstrap(two, two, []bool{true, false}, []int{1}, 1, 1)),
		"all labels are":      second(PairedBootstrap(two, two, []bool{true, true}, nil, 1, 1)),
		"row 1 has no score":  second(PairedBootstrap([]float64{1, math.NaN()}, two, []bool{true, false}, nil, 1, 1)),
		"resamples is -1":     second(PairedBootstrap(two, two, []bool{true, false}, nil, -1, 1)),
		"there are no rows":   second(PairedBootstrap(nil, nil, nil, nil, 1, 1)),
		"2 labels, 0 groups;": second(PairedBootstrap(two, two, []bool{true, false}, []int{}, 1, 1)),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestDraw(t *testing.T) {
	// As many draws as units, each unit about as often.
	count := make([]int, 7)
	for i := range 4000 {
		w := make([]uint16, 7)
		draw(w, rand.NewPCG(3, uint64(i)))
		sum := 0
		for u, n := range w {
			count[u] += int(n)
			sum += int(n)
		}
		if sum != 7 {
			t.Fatalf("%d draws of 7", sum)
		}
	}
	for u, n := range count {
		if n < 3700 || n > 4300 { // 4,000 with a deviation of 59
			t.Errorf("unit %d came up %d times, 4000 expected", u, n)
		}
	}
}

// TestDrawBlocks: many units are drawn as often as few, and independently: the
// counts of one draw spread as Poisson's do.
func TestDrawBlocks(t *testing.T) {
	const n = 5*drawBlock + 100
	w := make([]uint16, n)
	draw(w, rand.NewPCG(1, 1))
	sum, squares, last := 0, 0, 0
	for i, k := range w {
		sum += int(k)
		squares += int(k) * int(k)
		if i >= 5*drawBlock {
			last += int(k)
		}
	}
	if sum != n {
		t.Errorf("%d draws of %d", sum, n)
	}
	if spread := float64(squares)/n - 1; spread < 0.99 || spread > 1.01 {
		t.Errorf("the counts vary by %v, not by 1", spread)
	}
	if last < 60 || last > 140 {
		t.Errorf("the last 100 units came up %d times", last)
	}
}

func TestInterval(t *testing.T) {
	var v []float64
	for i := range 201 {
		v = append(v, float64(200-i))
	}
	v = append(v, math.NaN())
	if got := interval(v); got != (Interval{5, 195}) {
		t.Errorf("interval %+v", got)
	}
	if got := interval(nil); !math.IsNaN(got.Low) || !math.IsNaN(got.High) {
		t.Errorf("of nothing: %+v", got)
	}
}

// BenchmarkPairedBootstrap: a million rows.
func BenchmarkPairedBootstrap(b *testing.B) {
	x, y, label, _ := twoModels(1_000_000, 1)
	r := [2]*ranking{newRanking(x, label, nil), newRanking(y, label, nil)}
	const resamples = 4
	for b.Loop() {
		if _, err := compare(r, len(x), resamples, 1, 1); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N)/resamples, "ms/resample")
}
