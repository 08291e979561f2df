package main

import (
	"fmt"
	"math"
	"time"

	"github.com/stratoswarm/forestall/api"
)

// modelCmd is about the models that judge.
type modelCmd struct {
	Show modelShowCmd `cmd:"" default:"withargs" help:"Show the model of each kind of component: thresholds and why, and what came of its predictions."`
}

// modelShowCmd shows what judges.
type modelShowCmd struct {
	clientFlags
}

func (c modelShowCmd) Run(g *globals) error {
	all, err := c.client().Models(g.ctx)
	return show(g, c.clientFlags, all, err, view.models)
}

func (v view) models(all []api.ModelStatus) {
	if len(all) == 0 {
		fmt.Fprintln(v.out, "No model judges anything on this node: model.gpu and model.node are \"none\".")
	}
	for i, m := range all {
		if i > 0 {
			fmt.Fprintln(v.out)
		}
		fmt.Fprintf(v.out, "%s  %s %s, a failure within %s\n", v.paint(m.Kind.String(), sgrBold), textClean(m.Name), textClean(m.Version), textDuration(time.Duration(m.Horizon*float64(time.Second))))
		for _, t := range m.Thresholds {
			fmt.Fprintf(v.out, "  %-12s from %s, %s\n", t.Grade, textThreshold(t), textClean(t.Reason))
		}
		v.scores(m.Recent)
	}
}

// scores shows what came of the predictions.
func (v view) scores(s api.PredictionScores) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(v.out, "  %-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	if s.Matured == 0 {
		line("predictions", "none of the last 30 days has matured: its horizon has not passed")
		return
	}
	line("predictions", "%d matured in the last 30 days; a failure followed %d, %.3g were expected", s.Matured, s.Positive, s.Expected)
	line("failures", "%d of %d announced; %s", s.Caught, s.Failures, textCount(s.FalseAlarms, "false alarm"))
	line("accuracy", "balanced %s, precision %s, recall %s, Brier %s", textNumber(s.Balanced), textNumber(s.Precision), textNumber(s.Recall), textNumber(s.Brier))
}

// textNumber writes a number that may lack evidence.
func textNumber(v *float64) string {
	if v == nil {
		return "not known"
	}
	return fmt.Sprintf("%.3g", *v)
}

// textThreshold writes the probability from which a grade applies.
func textThreshold(t api.AlarmThreshold) string {
	if t.At == nil {
		return "no probability"
	}
	return textShare(*t.At)
}

// textWhy gives the reason of a threshold that a budget sets.
func textWhy(t api.AlarmThreshold) string {
	if t.Budget == 0 {
		return ""
	}
	return " (" + t.Reason + ")"
}

// textShare writes a share in percent, three digits.
func textShare(p float64) string {
	if math.IsNaN(p) {
		return "unknown"
	}
	return fmt.Sprintf("%.3g %%", 100*p)
}
