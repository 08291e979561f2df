package model

import (
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// distribution builds one of columns that draw gives.
func distributionOf(rows, features int, draw func(row, feature int) float64) *Distribution {
	b := NewDistributionBuilder(features, 1)
	all := make([]int, features)
	row := make([]float64, features)
	for r := range rows {
		for f := range features {
			all[f], row[f] = f, draw(r, f)
		}
		b.Add(row)
	}
	return b.Distribution(all)
}

func TestDistribution(t *testing.T) {
	nan := math.NaN()
	d := distributionOf(20_000, 4, func(r, f int) float64 {
		return [...]float64{float64(r % 1000), float64(r % 2), nan, map[bool]float64{true: nan, false: 7}[r%4 == 0]}[f]
	})
	if err := d.Validate(4); err != nil {
		t.Fatal(err)
	}
	if d.Rows != 20_000 || d.Sampled != sampleRows {
		t.Errorf("%d rows, %d sampled", d.Rows, d.Sampled)
	}
	even, onOff, none, one := d.Features[0], d.Features[1], d.Features[2], d.Features[3]
	if len(even.Shares) != 10 || even.Min != 0 || even.Max != 999 {
		t.Errorf("evenly spread: %+v", even)
	}
	if len(onOff.Shares) != 2 || onOff.Bin(0) != 0 || onOff.Bin(1) != 1 || onOff.Bin(nan) != 2 {
		t.Errorf("on or off: %+v", onOff)
	}
	if len(none.Shares) != 0 || none.Missing != 1 || none.Bin(3) != 0 || none.Beyond(3) {
		t.Errorf("never reported: %+v", none)
	}
	if len(one.Shares) != 1 || math.Abs(one.Missing-0.25) > 0.03 || one.Beyond(7.1) || !one.Beyond(9) || one.Beyond(nan) {
		t.Errorf("one value: %+v", one)
	}
	for v, want := range map[float64]bool{-99: false, -101: true, 1090: false, 1100: true} {
		if even.Beyond(v) != want {
			t.Errorf("%v beyond 0 to 999: %v", v, !want)
		}
	}
}

// TestPSI: what comes from the training's distribution has an index near 0, what
// comes from elsewhere does not.
func TestPSI(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	d := distributionOf(30_000, 1, func(int, int) float64 { return random.NormFloat64() })
	count := func(shift, missing float64) []uint32 {
		c := make([]uint32, len(d.Features[0].Shares)+1)
		for range 5000 {
			v := random.NormFloat64() + shift
			if random.Float64() < missing {
				v = math.NaN()
			}
			c[d.Features[0].Bin(v)]++
		}
		return c
	}
	for _, c := range []struct{ shift, missing, low, high float64 }{
		{0, 0, 0, 0.02}, {0.3, 0, 0.05, 0.15}, {1, 0, 0.6, 1.5}, {0, 0.2, 0.25, 3},
	} {
		if psi := d.PSI(0, count(c.shift, c.missing)); !(psi >= c.low && psi <= c.high) {
			t.Errorf("shifted by %v, %v missing: %v, want %v to %v", c.shift, c.missing, psi, c.low, c.high)
		}
	}
	if psi := d.PSI(0, make([]uint32, 11)); psi == psi {
		t.Errorf("of no rows: %v", psi)
	}
}

// TestDistributionAlwaysHolds: whatever the rows are, the distribution of them is
// valid, each of their values has a bin and none lies beyond.
func TestDistributionAlwaysHolds(t *testing.T) {
	value := rapid.OneOf(rapid.Float64Range(-1e9, 1e9), rapid.SampledFrom([]float64{0, 1, 2, math.NaN(), math.Inf(1), -1}))
	rapid.Check(t, func(t *rapid.T) {
		column := rapid.SliceOfN(value, 1, 200).Draw(t, "column")
		d := distributionOf(len(column), 1, func(r, _ int) float64 { return column[r] })
		if err := d.Validate(1); err != nil {
			t.Fatal(err)
		}
		counts := make([]uint32, len(d.Features[0].Shares)+1)
		for _, v := range column {
			if math.IsInf(v, 0) {
				v = math.NaN()
			}
			counts[d.Features[0].Bin(v)]++
			if d.Features[0].Beyond(v) {
				t.Fatalf("%v lies beyond %+v, though it was seen", v, d.Features[0])
			}
		}
		if psi := d.PSI(0, counts); math.Abs(psi) > 1e-9 {
			t.Fatalf("against itself the index is %v", psi)
		}
	})
}
