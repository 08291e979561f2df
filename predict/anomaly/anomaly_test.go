package anomaly

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

// ordinary are rows of four metrics that follow a load, and of one that never
// moves.
func ordinary(seed uint64, n int) [][]float64 {
	rng := rand.New(rand.NewPCG(seed, 1))
	rows := make([][]float64, n)
	for i := range rows {
		load := rng.Float64()
		row := make([]float64, 5)
		for c := range 4 {
			row[c] = float64(c+1)*load + 0.02*rng.NormFloat64()
		}
		row[4] = 7
		rows[i] = row
	}
	return rows
}

func fit(t *testing.T, cfg Config) *Detector {
	t.Helper()
	d, err := Fit(ordinary(1, 2000), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestSurprise: the few most unusual metrics count, each up to the clip.
func TestSurprise(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Worst = 2
	d := &Detector{cfg: cfg, mean: []float64{0, 10, 0}, spread: []float64{1, 2, 1}}
	nan := math.NaN()
	for _, c := range []struct {
		row  []float64
		want float64
	}{
		{[]float64{0, 10, 0}, 0},
		{[]float64{1, 10, 3}, (math.Log(2) + math.Log(10)) / 2},
		{[]float64{3, 16, -3}, math.Log(10)},
		{[]float64{0, 1e9, 0}, math.Log(101) / 2},
		{[]float64{nan, 12, nan}, math.Log(2)}, // of the only one
		{[]float64{nan, nan, nan}, nan},
	} {
		parts := make([]float64, 3)
		got, err := d.Surprise(c.row, parts)
		if err != nil || math.Abs(got-c.want) > 1e-12 || (got == got) != (c.want == c.want) {
			t.Errorf("%v: %v (%v), want %v", c.row, got, err, c.want)
		}
		for i, v := range c.row {
			if (parts[i] == parts[i]) != (v == v) {
				t.Errorf("%v: parts %v", c.row, parts)
			}
		}
	}
}

// TestTracker: ordinary rows seldom raise the alarm, a run of strange ones does; rows
// that report nothing are unknown.
func TestTracker(t *testing.T) {
	cfg := DefaultConfig()
	cfg.HalfLife, cfg.Worst = 5, 2
	d := fit(t, cfg)
	tr := d.Track()
	nan := math.NaN()
	if score, unusual, err := tr.Push([]float64{nan, nan, nan, nan, nan}); score == score || unusual || err != nil {
		t.Errorf("of nothing: %v %v %v", score, unusual, err)
	}
	alarms := 0
	for _, row := range ordinary(2, 2000) {
		if _, unusual, _ := tr.Push(row); unusual {
			alarms++
		}
	}
	if alarms > 60 { // 0.5 % of the rows are expected, in runs
		t.Errorf("%d of 2000 ordinary rows are unusual", alarms)
	}
	strange := []float64{0.5, 5, 1.5, 2, 7.5}
	raised := -1
	for i := range 20 {
		if _, unusual, _ := tr.Push(strange); unusual && raised < 0 {
			raised = i
		}
	}
	if raised < 0 || raised > 10 {
		t.Errorf("the alarm came after %d rows", raised)
	}
}

func TestMissing(t *testing.T) {
	rows := ordinary(3, 500)
	for i := range rows {
		rows[i][i%5] = math.NaN()
	}
	d, err := Fit(rows, DefaultConfig())
	if err != nil || !(d.Threshold() > 0) || math.IsInf(d.Threshold(), 0) {
		t.Errorf("threshold %v (%v)", d.Threshold(), err)
	}
}

func TestErrors(t *testing.T) {
	if _, err := Fit(ordinary(1, 50), DefaultConfig()); !errors.Is(err, ErrFewRows) {
		t.Errorf("few rows: %v", err)
	}
	rows := ordinary(1, 200)
	rows[7] = rows[7][:3]
	if _, err := Fit(rows, DefaultConfig()); !errors.Is(err, ErrWidth) {
		t.Errorf("a narrow row: %v", err)
	}
	d := fit(t, DefaultConfig())
	if _, err := d.Surprise([]float64{1}, nil); !errors.Is(err, ErrWidth) {
		t.Errorf("a narrow row to judge: %v", err)
	}
	for _, change := range []func(*Config){
		func(c *Config) { c.Worst = 0 }, func(c *Config) { c.HalfLife = -1 }, func(c *Config) { c.Holdout = 0 },
		func(c *Config) { c.Quantile = math.NaN() }, func(c *Config) { c.Clip = 0 },
	} {
		cfg := DefaultConfig()
		change(&cfg)
		if _, err := Fit(ordinary(1, 200), cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
}
