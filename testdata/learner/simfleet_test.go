package main

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall/gpu"
)

// TestSimFleet: the same seed gives the same rows, each GPU fails once in its mode,
// and rows end with the failure.
func TestSimFleet(t *testing.T) {
	schema, err := simSchema()
	if err != nil {
		t.Fatal(err)
	}
	type seen struct {
		mode  gpu.Mode
		rows  int
		least time.Duration
		sum   float64
	}
	play := func() map[int]seen {
		gpus := map[int]seen{}
		err := simFleet{7, 10, simFaultRun, []gpu.Mode{gpu.ModeThermalRunaway, gpu.ModeTelemetryCollapse}}.run(t.Context(), schema, func(row *simRow) error {
			s, ok := gpus[row.gpu]
			if !ok {
				s.least = row.left
			}
			s.mode, s.least, s.rows = row.mode, min(s.least, row.left), s.rows+1
			for _, v := range row.vector {
				if v == v {
					s.sum += v
				}
			}
			gpus[row.gpu] = s
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return gpus
	}
	first := play()
	if len(first) != 10 || first[0].mode != gpu.ModeThermalRunaway || first[9].mode != gpu.ModeTelemetryCollapse {
		t.Errorf("%+v", first)
	}
	for g, s := range first {
		if s.least <= 0 || s.least > simStep {
			t.Errorf("GPU %d: the last row is %s before the failure", g, s.least)
		}
	}
	if diff := cmp.Diff(first, play(), cmp.AllowUnexported(seen{})); diff != "" {
		t.Error(diff)
	}
}

// TestRare: of exponential peaks about as many pass as were asked for.
func TestRare(t *testing.T) {
	const seed = 2
	rng := rand.New(rand.NewPCG(seed, 1))
	a := newSimAlarms(0)
	for i := range 20000 {
		a.peaks[i] = 3 + rng.ExpFloat64()
	}
	want := 3 + math.Log(20000/0.2)
	if got := a.rare(0.2); math.Abs(got-want) > 1.5 {
		t.Errorf("threshold %v, want about %v (seed %d)", got, want, seed)
	}
}

func TestSimAlarms(t *testing.T) {
	a := newSimAlarms(1)
	for i, s := range []float64{2, 2, 0, 3, 0} {
		a.push(&simRow{gpu: 1, left: time.Duration(10-i) * simStep, begun: i > 0}, s)
	}
	if a.raised != 2 || a.first[1] != 9*simStep || a.peaks[1] != 3 {
		t.Errorf("%+v", a)
	}
}
