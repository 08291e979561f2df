package model

import (
	"math"
	"slices"
	"testing"
)

func TestGain(t *testing.T) {
	stump := func(feature int, gain float64) Tree {
		return Tree{
			Splits: []Split{{Feature: feature, Left: ^0, Right: ^1, Gain: gain}},
			Leaves: []Leaf{{Value: 1, Count: 1}, {Value: 2, Count: 1}},
		}
	}
	trees := []Tree{stump(0, 2), stump(2, 0.5), stump(0, 1), stump(2, math.NaN()), stump(1, math.Inf(1)), {Leaves: []Leaf{{Value: 1}}}}
	e, err := NewEnsemble([]string{"a", "b", "c"}, "binary sigmoid:1", trees)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := e.Gain(), []float64{3, 0, 0.5}; !slices.Equal(got, want) {
		t.Errorf("gain %v, want %v", got, want)
	}
}
