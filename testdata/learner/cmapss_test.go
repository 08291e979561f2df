package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// cycles makes an engine whose columns grow from cycle to cycle.
func cycles(n, left int) engine {
	e := engine{unit: 1, left: left}
	for i := range n {
		var c cycle
		for k := range c {
			c[k] = float64(i * (k + 1))
		}
		e.cycles = append(e.cycles, c)
	}
	return e
}

// TestEngineLabels: an engine that runs to its end fails within 30 cycles in its
// last 31 rows; one that is cut off has its rest on top.
func TestEngineLabels(t *testing.T) {
	for _, c := range []struct {
		cycles, left, positive int
	}{{40, 0, 31}, {40, 30, 1}, {40, 31, 0}, {10, 0, 10}, {5, 28, 3}} {
		positive := 0
		err := emitEngines([]engine{cycles(c.cycles, c.left)}, func(s snapshot) error {
			if s.fails {
				positive++
			}
			return nil
		})
		if err != nil || positive != c.positive {
			t.Errorf("%d cycles, %d left: %d rows fail soon, want %d (%v)", c.cycles, c.left, positive, c.positive, err)
		}
	}
}

func TestEngineFeatures(t *testing.T) {
	e := cycles(40, 0)
	at := func(name string, cycle int) float64 {
		for i, have := range cmapssFeatures() {
			if have == name {
				return e.features(cycle)[i]
			}
		}
		t.Fatalf("no feature %s", name)
		return 0
	}
	for _, c := range []struct {
		name  string
		cycle int
		want  float64
	}{
		{"cycle", 0, 1},
		{"setting1", 9, 9},
		{"sensor1", 9, 36},
		{"sensor21_mean5", 9, 24 * 7},
		{"setting1_mean30", 1, 0.5},
		{"setting2_mean15", 39, 2 * 32},
	} {
		if got := at(c.name, c.cycle); got != c.want {
			t.Errorf("%s after cycle %d: %v, want %v", c.name, c.cycle, got, c.want)
		}
	}
	if got, want := len(e.features(0)), len(cmapssFeatures()); got != want {
		t.Errorf("%d features, %d names", got, want)
	}
}

// TestEngineNoFuture: what comes after a cycle does not change its features.
func TestEngineNoFuture(t *testing.T) {
	whole := cycles(50, 0)
	for at := range whole.cycles {
		cut := engine{unit: 1, cycles: whole.cycles[:at+1]}
		if diff := cmp.Diff(whole.features(at), cut.features(at), cmpopts.EquateNaNs()); diff != "" {
			t.Fatalf("cycle %d: %s", at, diff)
		}
	}
}

func TestScanFields(t *testing.T) {
	err := scanFields(strings.NewReader("1 2\n\n3 x\n"), 2, func([]float64) {})
	if err == nil || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("error %v", err)
	}
	if err := scanFields(strings.NewReader("1 2 3\n"), 2, func([]float64) {}); err == nil {
		t.Error("three columns for two")
	}
}
