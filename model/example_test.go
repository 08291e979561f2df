package model_test

import (
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/stratoswarm/forestall/model"
)

func ExampleEnsemble_Contributions() {
	trees := []model.Tree{{
		Splits: []model.Split{{Feature: 0, Threshold: 80, Missing: model.MissingNaN, DefaultLeft: true, Left: ^0, Right: ^1}},
		Leaves: []model.Leaf{{Value: -4, Count: 90}, {Value: 1, Count: 10}},
	}}
	var text strings.Builder
	if err := model.WriteEnsemble(&text, []string{"temperature"}, "binary sigmoid:1", trees); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	e, err := model.ReadEnsemble(strings.NewReader(text.String()))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	shares := make([]float64, e.NumFeatures()+1)
	for _, celsius := range []float64{60, 91, math.NaN()} {
		raw, _ := e.Raw([]float64{celsius})
		_ = e.Contributions([]float64{celsius}, shares)
		fmt.Printf("%v °C: %+.1f = %+.1f for the temperature %+.1f bias\n", celsius, raw, shares[0], shares[1])
	}
	// Output:
	// 60 °C: -4.0 = -0.5 for the temperature -3.5 bias
	// 91 °C: +1.0 = +4.5 for the temperature -3.5 bias
	// NaN °C: -4.0 = -0.5 for the temperature -3.5 bias
}
