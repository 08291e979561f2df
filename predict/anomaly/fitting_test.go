package anomaly

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
)

// TestRare: of peaks whose excess is exponential the level is that of the
// distribution; few peaks, or none borne, give no level.
func TestRare(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		n        int
		expected float64
	}{{40, 0.04}, {200, 0.1}, {2000, 0.2}, {20000, 2}} {
		mean, tries := 0.0, 200
		for range tries {
			peaks := make([]float64, c.n)
			for i := range peaks {
				peaks[i] = 3 + 0.5*rng.ExpFloat64()
			}
			mean += Rare(peaks, c.expected) / float64(tries)
		}
		if want := 3 + 0.5*math.Log(float64(c.n)/c.expected); math.Abs(mean-want) > 0.1 {
			t.Errorf("%d peaks, %v expected: %.3f on average, want %.3f", c.n, c.expected, mean, want)
		}
	}
	peaks := make([]float64, LeastPeaks)
	if v := Rare(peaks[1:], 1); !math.IsInf(v, 1) {
		t.Errorf("of too few peaks: %v", v)
	}
	if v := Rare(peaks, 0); !math.IsInf(v, 1) {
		t.Errorf("where nothing is borne: %v", v)
	}
}

// TestFitting: a threshold from some components' days holds on those of others, and
// what moves otherwise passes it; each row is shown once.
func TestFitting(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Clip = 100
	f := NewFitting(5, cfg)
	for _, row := range ordinary(1, 2000) {
		f.Learn(row)
	}
	hold := func(gpu, days int) {
		for i, row := range ordinary(uint64(100+gpu), days*48) {
			if err := f.Hold(forestall.GPU("n1", gpu), start.Add(time.Duration(i)*30*time.Minute), row); err != nil {
				t.Fatal(err)
			}
		}
	}
	hold(0, LeastPeaks-1)
	if _, err := f.Detector(0.001); !errors.Is(err, ErrFewRows) {
		t.Errorf("of too few days: %v", err)
	}
	for g := range 6 {
		hold(1+g, 30)
	}
	before := f.of[0]
	f.Learn([]float64{1e9, 1e9, 1e9, 1e9, 1e9})
	if f.of[0] != before || f.Rows() != 2000 {
		t.Error("a row is learnt after others were held")
	}
	if want := float64(LeastPeaks-1) + 180; math.Abs(f.Days()-want) > 0.5 {
		t.Errorf("%v days, want %v", f.Days(), want)
	}
	d, err := f.Detector(0.001)
	if err != nil {
		t.Fatal(err)
	}
	alarms := 0
	for g := range 100 {
		for _, row := range ordinary(uint64(900+g), 10*48) {
			if s, _ := d.Surprise(row, nil); s > d.Threshold() {
				alarms++
			}
		}
	}
	if alarms > 5 { // 1 in 1,000 days is expected
		t.Errorf("%d alarms in 1,000 ordinary days at a threshold of %v", alarms, d.Threshold())
	}
	if s, _ := d.Surprise([]float64{0.5, 5, 1.5, 2, 7.5}, nil); !(s > d.Threshold()) {
		t.Errorf("a strange row: %v, threshold %v", s, d.Threshold())
	}
	common, err := f.Detector(1)
	if err != nil || !(common.Threshold() < d.Threshold()) {
		t.Errorf("once a day %v (%v), once in 1,000 %v", common.Threshold(), err, d.Threshold())
	}
	f.cfg.Clip = 1 // above log 2 is nothing then
	if _, err := f.Detector(0.001); !errors.Is(err, ErrThreshold) {
		t.Errorf("so rarely that nothing is: %v", err)
	}
}

// TestNothingSeen: a metric of which nothing was seen takes no part, nor does what is
// infinite.
func TestNothingSeen(t *testing.T) {
	f := NewFitting(2, DefaultConfig())
	for i := range 100 {
		f.Learn([]float64{float64(i % 7), math.NaN()})
	}
	f.Learn([]float64{math.Inf(1), math.Inf(-1)})
	d := f.of.detector(f.cfg)
	if mean, spread := d.Level(0); !(math.Abs(mean-3) < 0.1 && math.Abs(spread-2) < 0.1) {
		t.Errorf("level %v, %v", mean, spread)
	}
	if s, err := d.Surprise([]float64{math.NaN(), 5}, nil); s == s || err != nil {
		t.Errorf("surprise %v, %v", s, err)
	}
}

// TestSurpriseAllocates: nothing, on the way of every score.
func TestSurpriseAllocates(t *testing.T) {
	d := fit(t, DefaultConfig())
	row := ordinary(5, 1)[0]
	var err error
	if n := testing.AllocsPerRun(100, func() { _, err = d.Surprise(row, nil) }); n != 0 || err != nil {
		t.Errorf("%v allocations, %v", n, err)
	}
}
