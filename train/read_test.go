package train

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/stratoswarm/forestall/train/table"
	"github.com/stratoswarm/forestall/train/table/tabletest"
)

// csvOf writes a synthetic table with its label last.
func csvOf(s synthetic) []byte {
	var b bytes.Buffer
	b.WriteString(strings.Join(s.names, ",") + ",y\n")
	for i, y := range s.label {
		for _, v := range s.row(i) {
			if v == v {
				fmt.Fprint(&b, v)
			}
			b.WriteByte(',')
		}
		fmt.Fprintln(&b, y)
	}
	return b.Bytes()
}

// A file gives the same model as the same rows in memory.
func TestReadDatasetIsNewDataset(t *testing.T) {
	s := makeSynthetic(3000, 9, 20)
	path := tabletest.Write(t, "t.csv", csvOf(s))
	d, err := ReadDataset(context.Background(), path, Spec{Label: "y", Objective: Binary})
	if err != nil {
		t.Fatal(err)
	}
	p := DefaultParams()
	p.Trees = 5
	a, err := mustTrain(t, d, p).Text()
	if err != nil {
		t.Fatal(err)
	}
	b, err := mustTrain(t, s.dataset(t, Spec{}), p).Text()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("the models differ")
	}
	if len(d.Digest()) != 64 {
		t.Errorf("digest %q", d.Digest())
	}
}

// A table larger than the sample is read a second time; its bins come from the
// sample and hold all rows.
func TestReadDatasetTwice(t *testing.T) {
	s := makeSynthetic(5000, 9, 21)
	path := tabletest.Write(t, "t.csv", tabletest.Gzip(t, string(csvOf(s))))
	d, err := readDataset(context.Background(), path, Spec{Label: "y", Objective: Binary, Seed: 1}, 600)
	if err != nil {
		t.Fatal(err)
	}
	if d.Rows() != 5000 {
		t.Fatalf("%d rows", d.Rows())
	}
	counts := make([]int, 256)
	for i, y := range s.label {
		if d.label[i] != y {
			t.Fatalf("row %d: label %v, want %v", i, d.label[i], y)
		}
		bin := d.at(i, 0)
		counts[bin]++
		v, b := s.columns[0][i], d.binnings[0]
		if missing := v != v; missing != (bin == missingBin) || !missing && (v > b.bounds[bin] || bin > 0 && v <= b.bounds[bin-1]) {
			t.Fatalf("row %d: %v is in bin %d", i, v, bin)
		}
	}
	n := d.binnings[0].n
	if n < 100 {
		t.Errorf("%d bins", n)
	}
	for bin, count := range counts[:n] {
		if mean := 4750.0 / float64(n); math.Abs(float64(count)-mean) > 6*mean {
			t.Errorf("bin %d holds %d rows, the mean is %.1f", bin, count, mean)
		}
	}
}

// The number of threads changes nothing, in what is read once and twice.
func TestReadDatasetForAnyThreads(t *testing.T) {
	s := makeSynthetic(30_000, 9, 23)
	path := tabletest.Write(t, "t.csv", csvOf(s))
	for _, sample := range []int{600, 100_000} {
		var want *Dataset
		for _, n := range []int{1, 2, 7} {
			d, err := readDataset(context.Background(), path, Spec{Label: "y", Objective: Binary, Seed: 1, Threads: n}, sample)
			if err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want = d
				continue
			}
			if !slices.Equal(d.bins, want.bins) || !slices.Equal(d.label, want.label) || d.digest != want.digest {
				t.Errorf("%d threads, a sample of %d: the rows differ", n, sample)
			}
			for f, b := range d.binnings {
				if b.n != want.binnings[f].n || !slices.Equal(b.bounds, want.binnings[f].bounds) {
					t.Errorf("%d threads, a sample of %d: the bins of feature %d differ", n, sample, f)
				}
			}
		}
	}
}

// Of a table of which the bins are made from a sample too, the first wrong row
// is reported, in the sample or not.
func TestReadDatasetReportsTheFirstError(t *testing.T) {
	var b strings.Builder
	b.WriteString("x,y\n")
	for i := range 20_000 {
		y := fmt.Sprint(i % 2)
		if i >= 9_000 {
			y = "2"
		}
		fmt.Fprintf(&b, "%d,%s\n", i, y)
	}
	path := tabletest.Write(t, "t.csv", []byte(b.String()))
	_, err := readDataset(context.Background(), path, Spec{Label: "y", Objective: Binary}, 100)
	if err == nil || !strings.Contains(err.Error(), "t.csv: line 9002, column 2 (y): the label is 2") {
		t.Errorf("error %v", err)
	}
}

// Each row is kept with the same probability, early or late.
func TestSamplerIsUniform(t *testing.T) {
	const rows, size, rounds = 2000, 100, 60
	var b strings.Builder
	b.WriteString("x,y\n")
	for i := range rows {
		fmt.Fprintf(&b, "%d,%d\n", i, i%2)
	}
	path := tabletest.Write(t, "t.csv", []byte(b.String()))
	spec := Spec{Label: "y", Objective: Binary}
	tenths := make([]int, 10)
	for seed := range uint64(rounds) {
		in, err := table.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		s := newSampler(size, 2, seed)
		if err := s.read(context.Background(), in, []string{"x"}, &spec); err != nil {
			t.Fatal(err)
		}
		in.Close()
		if s.seen != rows {
			t.Fatalf("%d rows", s.seen)
		}
		for i := range size {
			x := int(s.row(i)[0])
			tenths[x*10/rows]++
			if s.row(i)[1] != float64(x%2) {
				t.Fatalf("row %v has label %v", x, s.row(i)[1])
			}
		}
	}
	const want, deviation = size * rounds / 10, 24
	for i, n := range tenths {
		if math.Abs(float64(n-want)) > 5*deviation {
			t.Errorf("tenth %d of the table gives %d rows, want about %d", i, n, want)
		}
	}
}

func TestReadLike(t *testing.T) {
	s := makeSynthetic(500, 3, 22)
	text := csvOf(s)
	d, err := ReadDataset(context.Background(), tabletest.Write(t, "t.csv", text), Spec{Label: "y", Objective: Binary})
	if err != nil {
		t.Fatal(err)
	}
	same, err := d.ReadLike(context.Background(), tabletest.Write(t, "v.csv", text))
	if err != nil {
		t.Fatal(err)
	}
	for i := range same.bins {
		if same.bins[i] != d.bins[i] {
			t.Fatalf("word %d differs", i)
		}
	}
	_, err = d.ReadLike(context.Background(), tabletest.Write(t, "v.csv", []byte("f0,f1,y\n1,2,0\n")))
	if err == nil || !strings.Contains(err.Error(), `"f2" is missing`) {
		t.Errorf("error %v", err)
	}
	healthy := "f0,f1,f2,y\n1,2,3,0\n4,5,6,0\n"
	_, err = d.ReadLike(context.Background(), tabletest.Write(t, "v.csv", []byte(healthy)))
	if err == nil || !strings.Contains(err.Error(), "such rows cannot judge") {
		t.Errorf("rows of one label: %v", err)
	}
}

func TestBins(t *testing.T) {
	rng := func(n int, value func(i int) float64) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = value(i)
		}
		return out
	}
	tests := []struct {
		name   string
		values []float64
		most   int
		want   []float64 // bounds but the last
	}{
		{"constant", rng(50, func(int) float64 { return 3 }), 255, nil},
		{"two values", rng(50, func(i int) float64 { return float64(i % 2) }), 255, []float64{0.5}},
		{"rare values join", []float64{1, 2, 3, 4, 5, 6, 7}, 255, []float64{3.5, 6.5}},
		{"infinite span", rng(50, func(i int) float64 { return math.MaxFloat64 * float64(i%2*2-1) }), 255, []float64{0}},
		{"neighbours", rng(50, func(i int) float64 { return math.Nextafter(1, 1+float64(i%2)) }), 255, []float64{1}},
		{"equal counts", rng(100, func(i int) float64 { return float64(i) }), 4, []float64{24.5, 49.5, 74.5}},
		{"a frequent value has its own", append(rng(300, func(int) float64 { return 0 }), rng(100, func(i int) float64 { return float64(i - 50) })...), 5, []float64{-25.5, -0.5, 0.5, 25.5}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			b := numerical(tc.values, tc.most, false)
			if b.n != len(tc.want)+1 {
				t.Fatalf("%d bins with bounds %v, want %v", b.n, b.bounds[:b.n-1], tc.want)
			}
			for i, want := range tc.want {
				if b.bounds[i] != want {
					t.Errorf("bounds are %v, want %v", b.bounds[:b.n-1], tc.want)
					break
				}
			}
		})
	}
}

// A feature of few values takes little memory, for there may be very many.
func TestBinsOfFewRows(t *testing.T) {
	values := make([]float64, 30)
	for i := range values {
		values[i] = float64(i)
	}
	const features = 1000
	bins := make([]*binning, features)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for f := range bins {
		bins[f] = numerical(values, maxBins, false)
	}
	runtime.ReadMemStats(&after)
	// What is sorted on the way counts too.
	if taken := (after.TotalAlloc - before.TotalAlloc) / features; taken > 3<<10 {
		t.Errorf("%d bytes for the bins of %d values", taken, len(values))
	}
	runtime.KeepAlive(bins)
}

// The quick search finds the bin whose bounds hold the value.
func TestBinIsWithinItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64), rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1, 2, 3, 1e-300}))
		values := rapid.SliceOfN(value, 1, 600).Draw(t, "values")
		b := numerical(slices.Clone(values), rapid.IntRange(2, maxBins).Draw(t, "most"), false)
		for _, v := range append(values, value.Draw(t, "other")) {
			got := b.bin(v)
			if int(got) >= b.n || v > b.bounds[got] || got > 0 && v <= b.bounds[got-1] {
				t.Fatalf("%v is in bin %d of %v", v, got, b.bounds[:b.n])
			}
		}
	})
}
