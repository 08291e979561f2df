package features

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// TestThermalFit lets the load of a GPU change for an hour: its temperature
// follows without a surprise. Then its cooler fails.
func TestThermalFit(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var f thermalFit
	at, worst := epoch, 0.0
	load := 100.0
	for i := range 720 {
		if i%60 == 0 {
			load = 80 + 300*r.Float64()
		}
		at = at.Add(5 * time.Second)
		over := f.over(at, 30+load/8+r.NormFloat64(), load+5*r.NormFloat64())
		if known := !math.IsNaN(over); known != (i >= 30) {
			t.Fatalf("reading %d: %v", i, over)
		}
		if i >= 240 {
			worst = max(worst, math.Abs(over))
		}
	}
	if worst > 6 {
		t.Errorf("a sound GPU is %v K off its line", worst)
	}
	at = at.Add(5 * time.Second)
	if over := f.over(at, 30+200.0/8+15, 200); math.Abs(over-15) > 2 {
		t.Errorf("%v K over its line, want about 15", over)
	}
	if a, b := f.over(at, 70, 200), f.over(at, 70, 200); a != b {
		t.Error("a reading of the same time is taken twice")
	}
	if over := f.over(at.Add(time.Second), math.NaN(), 200); !math.IsNaN(over) {
		t.Errorf("%v without a temperature", over)
	}

	var level thermalFit // always the same power
	for i := range 60 {
		level.over(epoch.Add(time.Duration(i)*time.Second), 50, 200)
	}
	if over := level.over(epoch.Add(time.Hour), 58, 200); over != 8 {
		t.Errorf("%v K at constant power, want 8", over)
	}
}
