package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestGPUFleetNoFuture: a history that ends at t gives the same features at t.
func TestGPUFleetNoFuture(t *testing.T) {
	const seed = 17
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	start := float64(day(2014, 1, 6))
	var serials []string
	var stays []stay
	for gpu := range 40 {
		serials = append(serials, "03237"[:3]+[]string{"3712", "0116"}[gpu%2]+string(rune('0'+gpu%10)))
		at := start + 100*rng.Float64()
		for range 1 + rng.IntN(4) {
			p := place{column: rng.IntN(2), row: rng.IntN(2), cage: rng.IntN(2), slot: rng.IntN(2), node: rng.IntN(4)}
			s := stay{gpu, p, at, at + 300*rng.Float64(), rng.IntN(2) == 0}
			stays = append(stays, s)
			at = s.gone + 30*rng.Float64()
		}
	}
	whole := newGPUFleet(mustFleet(t, serials, stays))
	checked := 0
	for at := math.Ceil(start/gpuStep) * gpuStep; at < start+600; at += gpuStep {
		known := slices.DeleteFunc(slices.Clone(stays), func(s stay) bool { return s.insert > at })
		for i := range known {
			if s := &known[i]; s.gone > at {
				s.gone, s.event = titanEnd, false
			}
		}
		cut := newGPUFleet(mustFleet(t, serials, known))
		for i := range whole.units {
			stay := whole.units[i].inService(at)
			if stay < 0 {
				continue
			}
			checked++
			want := whole.features(nil, i, stay, at, whole.rates(at))
			got := cut.features(nil, i, stay, at, cut.rates(at))
			if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
				t.Fatalf("day %v, GPU %d: %s", at, i, diff)
			}
			if len(want) != len(gpuHistoryFeatures()) {
				t.Fatalf("%d features, %d names", len(want), len(gpuHistoryFeatures()))
			}
		}
	}
	if checked < 200 {
		t.Errorf("only %d rows were checked", checked)
	}
}

// TestGPUFolds: each test row comes once, in the order of the baseline's, and no
// outcome that a model learns from lies in its test.
func TestGPUFolds(t *testing.T) {
	f := mustFleet(t, []string{"0323712000001"}, []stay{{0, spot, float64(titanStart), titanEnd, false}})
	type key struct {
		fold string
		time float64
	}
	var want, got []key
	for _, p := range titanFolds(f, titanSpans) {
		if err := p.test(func(s snapshot) error { want = append(want, key{p.name, s.time}); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range gpuFolds(f) {
		if err := p.test(func(x riskRow) error { got = append(got, key{p.name, x.time}); return nil }); err != nil {
			t.Fatal(err)
		}
		for horizon, rows := range map[float64]func(func(riskRow) error) error{gpuSoon: p.train, gpuHorizon: p.held} {
			err := rows(func(x riskRow) error {
				if x.time+horizon > p.start {
					t.Errorf("%s: the outcome of day %v is taken for known on %v", p.name, x.time, p.start)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(key{})); diff != "" {
		t.Error(diff)
	}
}
