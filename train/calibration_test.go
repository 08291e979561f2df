package train

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stratoswarm/forestall/model"
)

// drawn are rows whose true probability is sigmoid(raw/2-2), while their scores
// say sigmoid(raw).
func drawn(n int, seed uint64) (h Held) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := range n {
		raw := rng.NormFloat64() * 3
		h.Raw = append(h.Raw, raw)
		h.Before = append(h.Before, model.Sigmoid(raw))
		h.Label = append(h.Label, rng.Float64() < model.Sigmoid(raw/2-2))
		h.Group = append(h.Group, i/20)
	}
	return h
}

func TestCalibrate(t *testing.T) {
	for _, tc := range []struct {
		name         string
		rows         int
		ask, want    model.Method
		groups, last bool
	}{
		{"platt", 2000, model.Platt, model.Platt, true, false},
		{"isotonic", 2000, model.Isotonic, model.Isotonic, true, false},
		{"auto, few", 2000, AutoCalibration, model.Platt, false, false},
		{"auto, many", 10_000, AutoCalibration, model.Isotonic, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := drawn(tc.rows, 3)
			if !tc.groups {
				h.Group = nil
			}
			c, r, err := Calibrate(h, tc.ask)
			if err != nil {
				t.Fatal(err)
			}
			if c.Method != tc.want || !r.Unseen || r.Rows != tc.rows || len(r.Curve) < 5 {
				t.Errorf("method %s, reliability %+v", c.Method, r)
			}
			if !(r.After.ECE < r.Before.ECE/3 && r.After.Brier < r.Before.Brier && r.After.LogLoss < r.Before.LogLoss) {
				t.Errorf("before %+v, after %+v", r.Before, r.After)
			}
			if err := r.Validate(); err != nil {
				t.Error(err)
			}
			rows := 0
			for _, p := range r.Curve {
				rows += p.Rows
				if slack := 4 * math.Sqrt(0.25/float64(p.Rows)); math.Abs(p.Mean-p.Observed) > slack {
					t.Errorf("%d rows said %.3f, %.3f came", p.Rows, p.Mean, p.Observed)
				}
			}
			if rows != tc.rows {
				t.Errorf("the curve has %d rows", rows)
			}
		})
	}
}

// Each half holds whole components, and its rows are judged by the other.
func TestCalibrateHalves(t *testing.T) {
	h := drawn(2000, 4)
	half := h.halves()
	of := map[int]int{}
	sizes := [2]int{}
	for i, side := range half {
		sizes[side]++
		if was, known := of[h.Group[i]]; known && was != side {
			t.Fatalf("component %d is in both halves", h.Group[i])
		}
		of[h.Group[i]] = side
	}
	if sizes[0] < 900 || sizes[0] > 1100 {
		t.Errorf("halves of %v rows", sizes)
	}
	h.Group = nil
	if half := h.halves(); half[0] != 0 || half[999] != 0 || half[1000] != 1 {
		t.Error("without components the halves are not the first and the last rows")
	}
}

// One positive row cannot be in both halves: the calibration is judged on its
// own rows, and says so.
func TestCalibrateSeen(t *testing.T) {
	h := Held{Raw: []float64{1, 2, 3, 4}, Label: []bool{false, false, false, true}, Before: []float64{0.1, 0.2, 0.3, 0.4}}
	c, r, err := Calibrate(h, AutoCalibration)
	if err != nil || c.Method != model.Platt || r.Unseen || r.Positives != 1 {
		t.Errorf("%+v, %+v, %v", c, r, err)
	}
	h.Label[3] = false
	if _, _, err := Calibrate(h, AutoCalibration); err == nil {
		t.Error("calibrated without a positive row")
	}
	if _, _, err := Calibrate(drawn(100, 1), "magic"); err == nil {
		t.Error("calibrated by magic")
	}
}
