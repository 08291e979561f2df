package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
	"github.com/stratoswarm/forestall/train/table"
)

// regression reports whether a model's scores are numbers and no probabilities.
func regression(m *model.Model) bool {
	return errors.Is(m.Probabilities(nil, nil), model.ErrNoProbability)
}

// runRegression measures a model of numbers, such as the remaining life.
func (c *evaluateCmd) runRegression(g *globals, m *model.Model) error {
	for _, f := range []struct {
		set  bool
		name string
	}{
		{c.Time != "", "--time"},
		{len(c.Threshold) > 0, "--threshold"},
		{c.Against != "", "--against"},
		{c.Report != "", "--report"},
	} {
		if f.set {
			return fmt.Errorf("%s is about probabilities of failure, and %s is a regression, which has none", f.name, c.Model)
		}
	}
	in, err := table.Open(c.Table)
	if err != nil {
		return err
	}
	defer in.Close()
	columns := m.Features()
	n := len(columns)
	label := slices.Index(columns, c.Label)
	if label < 0 {
		label, columns = n, append(columns, c.Label)
	}
	var predicted, actual []float64
	var group []int32
	var components train.Names
	err = train.ScanText(g.ctx, in, columns, c.Group, func(row []float64, component string) error {
		y := row[label]
		if math.IsNaN(y) {
			return fmt.Errorf("column %s: the label is missing", c.Label)
		}
		v, err := m.Raw(row[:n])
		if err != nil {
			return err
		}
		predicted, actual = append(predicted, v), append(actual, y)
		if c.Group != "" {
			if component == "" {
				return fmt.Errorf("column %s: the component is missing", c.Group)
			}
			group = append(group, components.Number(component))
		}
		return nil
	})
	if err != nil {
		return err
	}
	r, err := train.EvaluateRegression(predicted, actual, group, c.options())
	if err != nil {
		return fmt.Errorf("%s: %w", c.Table, err)
	}
	if c.JSON {
		out := figures{"rows": r.Rows, "resamples": r.Resamples}
		if r.Components > 0 {
			out["components"] = r.Components
		}
		out.set("rmse", r.RMSE)
		out.set("mae", r.MAE)
		out.set("bias", r.Bias)
		out.set("r2", r.R2)
		enc := json.NewEncoder(g.out)
		enc.SetIndent("", "  ")
		return enc.Encode(out)
	}
	of := "rows"
	fmt.Fprint(g.out, textCount(r.Rows, "row"))
	if r.Components > 0 {
		of = "whole components"
		fmt.Fprintf(g.out, "; %s", textCount(r.Components, "component"))
	}
	fmt.Fprint(g.out, ".\n")
	switch {
	case r.Resamples > 0:
		fmt.Fprintf(g.out, "In brackets: 95 %% intervals, %d resamples of %s.\n", r.Resamples, of)
	case r.Components == 1:
		fmt.Fprintln(g.out, noIntervals)
	}
	fmt.Fprintln(g.out)
	t := textTable{header: []string{"MEASURE", ">VALUE", "", ""}}
	for _, m := range []struct {
		name string
		f    train.Estimate
		note string
	}{
		{"root mean squared error", r.RMSE, "in the unit of " + c.Label},
		{"mean absolute error", r.MAE, ""},
		{"bias", r.Bias, "above 0: predicted too high"},
		{"R2", r.R2, "0: no better than the mean"},
	} {
		t.add(cellOf(m.name), cellOf(figure(m.f.Value, "%.5g")), cellOf(span(m.f.Interval, "%.4g")), cellOf(m.note))
	}
	t.write(view{out: g.out, color: g.color})
	return nil
}
