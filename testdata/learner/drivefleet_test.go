package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// testDrives are drives of two models that come, change and fail at random.
func testDrives(seed uint64) []drive {
	rng := rand.New(rand.NewPCG(seed, 1))
	var drives []drive
	for id := range 60 {
		seen := day(2014, 1, 1) + 7*rng.IntN(4)
		d := drive{
			id: id, serial: fmt.Sprintf("Z%d0%c", rng.IntN(2), 'a'+id%26), model: fmt.Sprintf("M%d", rng.IntN(2)), size: 4,
			seenFrom: seen, firstDay: seen - rng.IntN(2)*rng.IntN(9), first: float64(rng.IntN(9000)), failed: rng.IntN(3) == 0,
		}
		d.last = d.first + float64(24*(30+rng.IntN(300)))
		r := reading{since: d.first}
		for r.since < d.last {
			d.readings = append(d.readings, r)
			r.since += 1 + 600*rng.Float64()
			r.smart[rng.IntN(len(r.smart))] += float32(rng.IntN(3))
		}
		drives = append(drives, d)
	}
	return drives
}

// TestDriveFleetNoFuture: what comes after a day, of this drive or of another,
// does not change its features.
func TestDriveFleetNoFuture(t *testing.T) {
	const seed = 5
	t.Logf("seed %d", seed)
	all := testDrives(seed)
	whole := newDriveFleet(all)
	for at := day(2014, 1, 1) / driveWeek * driveWeek; at < day(2014, 12, 1); at += 3 * driveWeek {
		var known []drive
		for _, d := range all {
			if d.seenFrom > at {
				continue
			}
			if now := d.hours(at); d.last > now {
				d.failed, d.last = false, now+1
				d.readings = slices.Clone(d.readings)
				d.readings = slices.DeleteFunc(d.readings, func(r reading) bool { return r.since >= now })
			}
			known = append(known, d)
		}
		cut := newDriveFleet(known)
		for i := range cut.drives {
			h := &cut.drives[i]
			got, okCut := cut.features(nil, h, at)
			want, ok := whole.features(nil, &whole.drives[h.id], at)
			if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" || ok != okCut {
				t.Fatalf("day %d, drive %d: %v %v\n%s", at, h.id, ok, okCut, diff)
			}
			if ok && len(want) != len(fleetFeatures()) {
				t.Fatalf("%d features, %d names", len(want), len(fleetFeatures()))
			}
		}
	}
}

func TestDriveHistory(t *testing.T) {
	d := testDrive(60, true) // a sector more each third day
	h := newHistory(&d)
	row, ok := h.features(nil, d.firstDay+40)
	if !ok {
		t.Fatal("no features")
	}
	names := historyFeatures()
	for name, want := range map[string]float64{
		"smart_5": 39, "smart_5_change7": 9, "smart_5_changes30": 10, "smart_5_since_change": 24,
		"smart_198_since_change": 960, "errors_kinds": 4, "errors_growing7": 4, "days_seen": 40,
	} {
		if got := row[slices.Index(names, name)]; got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestTallyRate(t *testing.T) {
	n := &tally{running: []float32{1000, 2000, 3000}, failed: []float32{0, 10, 10}}
	for _, c := range []struct {
		w, over int
		want    float64
	}{
		{2, 0, (10 + 2) / 5000.0},
		{2, 1, 2 / 3000.0},
		{1, 1, 12 / 3000.0},
		{2, 9, 12 / 5000.0},
	} {
		if got := n.rate(c.w, c.over, 0.001); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("rate(%d, %d) = %v, want %v", c.w, c.over, got, c.want)
		}
	}
	if got := (*tally)(nil).rate(2, 0, 0.001); got != 0.001 {
		t.Errorf("of no drives: %v", got)
	}
}
