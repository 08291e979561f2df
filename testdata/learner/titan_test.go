package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func mustFleet(t *testing.T, serials []string, stays []stay) *fleet {
	t.Helper()
	f, err := newFleet(serials, stays)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var (
	spot  = place{column: 1, row: 2, cage: 0, slot: 3, node: 1}
	other = place{column: 1, row: 2, cage: 1, slot: 3, node: 0}
	none  = math.NaN()
)

func TestGPUOutcome(t *testing.T) {
	f := mustFleet(t, []string{"0323712000001"}, []stay{
		{0, spot, 1000, 1100, true},   // fails on day 1100
		{0, other, 1120, 1200, false}, // comes back, then leaves
		{0, other, none, 1150, true},  // an event without a stay
		{0, spot, 1300, 1400, false},
	})
	u := &f.units[0]
	for _, c := range []struct {
		t         float64
		stay      int
		fails, ok bool
	}{
		{999, -1, false, true},
		{1000, 0, false, true},
		{1069.9, 0, false, true},
		{1070, 0, true, true},
		{1099.9, 0, true, true},
		{1100, -1, false, true},
		{1119, -1, false, true},
		{1120, 1, true, true},
		{1150, 1, false, true},
		{1200, -1, false, true},
		{1370, 2, false, true},
		{1371, 2, false, false},
	} {
		fails, ok := u.outcome(c.t, gpuHorizon)
		if stay := u.inService(c.t); stay != c.stay || fails != c.fails || ok != c.ok {
			t.Errorf("day %v: stay %d, fails %v, known %v; want %+v", c.t, stay, fails, ok, c)
		}
	}
	if _, ok := u.outcome(titanEnd-gpuHorizon+1, gpuHorizon); ok {
		t.Error("an outcome after the end of the data")
	}
}

func TestGPUFeatures(t *testing.T) {
	f := mustFleet(t, []string{"0323712000001", "0320117000002"}, []stay{
		{0, spot, 1000, 1100, true},
		{0, other, 1120, 1500, false},
		{1, place{column: 1, row: 2, cage: 1, slot: 3, node: 3}, 1000, 1130, true}, // the same blade as other
	})
	names := gpuFeatures()
	const at = 1140.0
	row := f.features(nil, &f.units[0], 1, at, f.rates(at))
	if len(row) != len(names) {
		t.Fatalf("%d features, %d names", len(row), len(names))
	}
	want := map[string]float64{
		"age_days": 140, "days_in_place": 20, "stays_before": 1, "column": 1, "row": 2, "cage": 1, "slot": 3, "node": 0,
		"batch": 1237, "own_events": 1, "days_since_own_event": 40,
		"blade_events30": 1, "blade_events90": 1, "blade_events": 1,
		"cabinet_events30": 1, "cabinet_events90": 2, "cabinet_events": 2,
		"fleet_rate14": 1, "fleet_rate30": 1, "fleet_rate90": 2,
	}
	got := map[string]float64{}
	for i, name := range names {
		got[name] = row[i]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestGPUNoFuture: a history that ends at t gives the same features at t.
func TestGPUNoFuture(t *testing.T) {
	const seed = 11
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	var serials []string
	var stays []stay
	for gpu := range 40 {
		serials = append(serials, "0323712"+string(rune('0'+gpu%10)))
		at := 1000.0
		for range 1 + rng.IntN(4) {
			p := place{column: rng.IntN(2), row: rng.IntN(2), cage: rng.IntN(2), slot: rng.IntN(2), node: rng.IntN(4)}
			s := stay{gpu, p, at, at + 300*rng.Float64(), rng.IntN(2) == 0}
			stays = append(stays, s)
			at = s.gone + 30*rng.Float64()
		}
		if rng.IntN(4) == 0 {
			stays = append(stays, stay{gpu, spot, none, 1000 + 500*rng.Float64(), true})
		}
	}
	whole := mustFleet(t, serials, stays)
	for at := 1010.0; at < 1600; at += 7 {
		known := slices.Clone(stays)
		known = slices.DeleteFunc(known, func(s stay) bool { return s.insert > at || s.insert != s.insert && s.gone > at })
		for i := range known {
			if s := &known[i]; s.gone > at {
				s.gone, s.event = math.Inf(1), false
			}
		}
		cut := mustFleet(t, serials, known)
		for i := range whole.units {
			stay := whole.units[i].inService(at)
			if got := cut.units[i].inService(at); got != stay {
				t.Fatalf("day %v, GPU %d: in stay %d, then %d", at, i, stay, got)
			}
			if stay < 0 {
				continue
			}
			want := whole.features(nil, &whole.units[i], stay, at, whole.rates(at))
			got := cut.features(nil, &cut.units[i], stay, at, cut.rates(at))
			if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
				t.Fatalf("day %v, GPU %d: %s", at, i, diff)
			}
		}
	}
}
