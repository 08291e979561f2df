package main

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// testDrive was first seen with 100 hours on the clock and runs for days.
func testDrive(days int, failed bool) drive {
	d := drive{id: 3, firstDay: day(2014, 1, 1), first: 100, last: 100 + 24*float64(days), failed: failed, size: 4, maker: 1}
	for i := 0; i < days; i += 3 { // each third day a sector more is bad
		r := reading{since: 100 + 24*float64(i)}
		for k := range r.smart {
			r.smart[k] = float32(i * (k + 1))
		}
		r.smart[8] = float32(math.NaN()) // never recorded
		d.readings = append(d.readings, r)
	}
	return d
}

func TestDriveOutcome(t *testing.T) {
	for _, c := range []struct {
		name      string
		days      int
		failed    bool
		at        int // days since the first
		fails, ok bool
	}{
		{"fails in 10 days", 60, true, 50, true, true},
		{"fails in 11 days", 60, true, 49, false, true},
		{"fails the next day", 60, true, 59, true, true},
		{"fails now", 60, true, 60, false, false},
		{"failed before", 60, true, 70, false, false},
		{"seen for 10 days more", 60, false, 50, false, true},
		{"leaves in 9 days", 60, false, 51, false, false},
		{"the data end in 10 days", 1003, true, 993, true, true},
		{"the data end in 9 days, whatever happens", 1003, true, 994, false, false},
	} {
		d := testDrive(c.days, c.failed)
		fails, ok := d.outcome(d.firstDay + c.at)
		if fails != c.fails || ok != c.ok {
			t.Errorf("%s: %v, %v; want %v, %v", c.name, fails, ok, c.fails, c.ok)
		}
	}
	if last := day(2014, 1, 1) + 1003; last != driveEnd {
		t.Errorf("the test takes day %d for the last, it is %d", last, driveEnd)
	}
}

func TestDriveFeatures(t *testing.T) {
	d := testDrive(60, true)
	names := driveFeatures()
	row := func(at int) []float64 {
		v, ok := d.features(nil, d.firstDay+at)
		if !ok || len(v) != len(names) {
			t.Fatalf("day %d: %v, %d values for %d names", at, ok, len(v), len(names))
		}
		return v
	}
	for _, c := range []struct {
		name string
		day  int
		want float64
	}{
		{"smart_5", 40, 39},
		{"smart_5", 39, 36}, // what is read on a day is known from then on
		{"smart_10", 40, 78},
		{"smart_5_change7", 40, 39 - 30},
		{"smart_5_change30", 40, 39 - 9},
		{"smart_5_change30", 20, math.NaN()},
		{"smart_198", 40, math.NaN()},
		{"smart_198_change7", 40, math.NaN()},
		{"hours_since_change", 40, 24},
		{"power_on_hours", 40, 100 + 960},
		{"size_tb", 40, 4},
		{"maker", 40, 1},
		{"days_seen", 40, 40},
	} {
		got := row(c.day)[slices.Index(names, c.name)]
		if got != c.want && (got == got || c.want == c.want) {
			t.Errorf("%s on day %d: %v, want %v", c.name, c.day, got, c.want)
		}
	}
	if _, ok := d.features(nil, d.firstDay); ok {
		t.Error("there are features before the first reading holds")
	}
}

// TestDriveNoFuture: what comes after a day does not change its features.
func TestDriveNoFuture(t *testing.T) {
	whole := testDrive(90, true)
	for at := 1; at < 90; at++ {
		cut := whole
		cut.failed, cut.last = false, whole.hours(whole.firstDay+at)
		cut.readings = nil
		for _, r := range whole.readings {
			if r.since < cut.last {
				cut.readings = append(cut.readings, r)
			}
		}
		want, ok := whole.features(nil, whole.firstDay+at)
		got, okCut := cut.features(nil, whole.firstDay+at)
		if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" || ok != okCut {
			t.Fatalf("day %d: %s", at, diff)
		}
	}
}

// TestQuarters: no outcome that a quarter's model learns from lies in the
// quarter.
func TestQuarters(t *testing.T) {
	d := testDrive(900, true)
	d.firstDay = day(2013, 4, 10)
	folds := byQuarter([]drive{d})
	if len(folds) != 10 || folds[0].name != "2014Q2" || folds[3].name != "2015Q1" || folds[9].name != "2016Q3" {
		t.Fatalf("folds %v", folds)
	}
	last := math.Inf(-1)
	for _, f := range folds {
		first, latest := math.Inf(1), math.Inf(-1)
		collect := func(s snapshot) error {
			if int(s.time)%driveWeek != 0 {
				t.Errorf("%s: day %v", f.name, s.time)
			}
			first, latest = min(first, s.time), max(latest, s.time)
			return nil
		}
		if err := f.test(collect); err != nil {
			t.Fatal(err)
		}
		if first <= last {
			t.Errorf("%s: a test row of day %v, after %v", f.name, first, last)
		}
		begins := first
		last = latest
		first, latest = math.Inf(1), math.Inf(-1)
		if err := f.train(collect); err != nil {
			t.Fatal(err)
		}
		if latest+driveHorizon >= begins {
			t.Errorf("%s: trained on day %v, tested from %v on", f.name, latest, begins)
		}
	}
}

// TestByDrive: a drive is in one of the tables only.
func TestByDrive(t *testing.T) {
	var drives []drive
	for i := range 200 {
		d := testDrive(400, i%3 == 0)
		d.id, d.serial = i, string(rune('A'+i%26))+string(rune('a'+i/26))
		drives = append(drives, d)
	}
	f := byDrive(drives)[0]
	learnt := map[int]bool{}
	tested := map[int]bool{}
	if err := f.train(func(s snapshot) error { learnt[s.component] = true; return nil }); err != nil {
		t.Fatal(err)
	}
	err := f.test(func(s snapshot) error {
		if tested[s.component] = true; learnt[s.component] {
			t.Fatalf("drive %d is in both", s.component)
		}
		return nil
	})
	if err != nil || len(tested) < 20 || len(tested)+len(learnt) != 200 {
		t.Errorf("%d drives tested, %d learnt from (%v)", len(tested), len(learnt), err)
	}
}
