package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/stratoswarm/forestall/train"
)

// show lays the figures out for people.
func (r *evaluated) show(v view) {
	e := r.e
	parts := []string{fmt.Sprintf("%s, %d positive (%.3g %%)", textCount(e.Rows, "row"), e.Positives, 100*float64(e.Positives)/float64(e.Rows))}
	if e.Components > 0 {
		parts = append(parts, textCount(e.Components, "component"))
	}
	if e.Rate != "" {
		parts = append(parts, textCount(e.Incidents, "incident"), fmt.Sprintf("%s component-%s without one ahead", textAmount(e.Exposure), e.Rate))
	}
	fmt.Fprintf(v.out, "%s.\n", textClean(strings.Join(parts, "; ")))
	switch {
	case e.Resamples > 0:
		fmt.Fprintf(v.out, "In brackets: 95 %% intervals, %d resamples of %s.\n", e.Resamples, r.resampled())
	case e.Components == 1:
		fmt.Fprintln(v.out, noIntervals)
	}
	if r.trainedHere() {
		fmt.Fprintln(v.out, v.paint("The model was trained on this very table: the figures say how well it remembers, not how well it predicts.", sgrYellow))
	}
	fmt.Fprintln(v.out)
	r.showMeasures(v)
	if e.Rate == "" {
		r.showRows(v)
	} else {
		r.showAlarms(v)
	}
	if r.paired != nil {
		r.showPaired(v)
	}
}

// noIntervals is said where all rows are of one component.
const noIntervals = "There are no intervals: with one component nothing tells how much the figures vary from one to another."

func (r *evaluated) showMeasures(v view) {
	e := r.e
	t := textTable{header: []string{"MEASURE", ">VALUE", "", ""}}
	for _, m := range []struct {
		name string
		f    train.Estimate
		note string
	}{
		{"average precision", e.AP, fmt.Sprintf("chance: %.3g", float64(e.Positives)/float64(e.Rows))},
		{"ROC AUC", e.AUC, "chance: 0.5"},
		{"log loss", e.LogLoss, ""},
		{"Brier", e.Brier, ""},
		{"Brier skill", e.BrierSkill, "0: no better than the base rate"},
		{"calibration error (ECE)", e.ECE, ""},
	} {
		t.add(cellOf(m.name), cellOf(figure(m.f.Value, "%.5f")), cellOf(span(m.f.Interval, "%.4f")), cellOf(m.note))
	}
	t.write(v)
}

func (r *evaluated) showRows(v view) {
	fmt.Fprintln(v.out)
	t := textTable{header: []string{"ROWS", ">PRECISION", "", ">RECALL", ""}}
	add := func(name string, precision, recall train.Estimate) {
		t.add(cellOf(name), cellOf(percent(precision.Value)), cellOf(percents(precision.Interval)), cellOf(percent(recall.Value)), cellOf(percents(recall.Interval)))
	}
	for _, top := range r.e.Top {
		add(fmt.Sprintf("riskiest %g %%", 100*top.Share), top.Precision, top.Recall)
	}
	for _, a := range r.e.Alarms {
		add(fmt.Sprintf("at %.4g or more", a.Threshold), a.RowPrecision, a.RowRecall)
	}
	t.write(v)
	if r.e.Components == 0 {
		fmt.Fprint(v.out, "\nWith --group and --time alarms and lead times are judged.\n")
	}
}

func (r *evaluated) showAlarms(v view) {
	e := r.e
	unit := textClean(r.cmd.TimeUnit)
	fmt.Fprintf(v.out, "\nFalse alarms are for each 1,000 component-%s, lead times in %s.\n\n", e.Rate, unit)
	t := textTable{header: []string{">BUDGET", ">THRESHOLD", ">FALSE ALARMS", "", ">CAUGHT", "", ">LATE", ">PRECISION", ">LEAD MEDIAN", "", ">LEAD P10"}}
	chosen := false
	for _, a := range e.Alarms {
		budget := "given"
		if !math.IsNaN(a.Budget) {
			budget, chosen = fmt.Sprint(a.Budget), true
		}
		late := ""
		if r.cmd.Lead.n > 0 || a.LateIncidents > 0 {
			late = fmt.Sprint(a.LateIncidents)
		}
		t.add(
			cellOf(budget), cellOf(fmt.Sprintf("%.4g", a.Threshold)),
			cellOf(figure(a.Rate.Value, "%.3g")), cellOf(span(a.Rate.Interval, "%.3g")),
			cellOf(fmt.Sprintf("%d of %d", a.CaughtIncidents, a.Incidents)), cellOf(percents(a.Caught.Interval)), cellOf(late),
			cellOf(percent(a.Precision.Value)),
			cellOf(figure(a.LeadMedian.Value, "%.4g")), cellOf(span(a.LeadMedian.Interval, "%.3g")), cellOf(figure(a.LeadP10.Value, "%.4g")),
		)
	}
	t.write(v)
	fmt.Fprintln(v.out)
	if e.Incidents > 0 && e.Alarms[0].FailingComponents != e.Incidents {
		last := e.Alarms[len(e.Alarms)-1]
		fmt.Fprintf(v.out, "Of %s that failed, %d had an incident caught at the last line's threshold.\n", textCount(last.FailingComponents, "component"), last.CaughtComponents)
	}
	if r.cmd.Lead.n > 0 {
		fmt.Fprintf(v.out, "An alarm with less than %.4g %s left is late.\n", r.cmd.Lead.n, unit)
	}
	if chosen {
		fmt.Fprintln(v.out, "The thresholds of the budgets were chosen on this very table, which flatters them a little; --threshold takes one that was chosen elsewhere.")
	}
}

func (r *evaluated) showPaired(v view) {
	p := r.paired
	fmt.Fprintf(v.out, "\nAgainst %s, on the same rows:\n\n", textClean(r.cmd.Against))
	t := textTable{header: []string{"MEASURE", ">THIS", ">OTHER", ">DIFFERENCE", "", ">BETTER IN"}}
	for _, m := range []struct {
		name string
		d    train.Difference
	}{{"average precision", p.AP}, {"ROC AUC", p.AUC}} {
		t.add(cellOf(m.name), cellOf(figure(m.d.A, "%.5f")), cellOf(figure(m.d.B, "%.5f")), cellOf(figure(m.d.Delta, "%+.5f")),
			cellOf(span(m.d.CI, "%+.5f")), cellOf(percent(m.d.Better)))
	}
	t.write(v)
}

// figure writes a number, or a dash where it is not defined.
func figure(v float64, format string) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "-"
	}
	return fmt.Sprintf(format, v)
}

// span writes an interval in brackets; nothing where there is none.
func span(i train.Interval, format string) string {
	if math.IsNaN(i.Low) {
		return ""
	}
	return "[" + fmt.Sprintf(format, i.Low) + ", " + fmt.Sprintf(format, i.High) + "]"
}

func percent(share float64) string {
	if math.IsNaN(share) {
		return "-"
	}
	return fmt.Sprintf("%.3g %%", 100*share)
}

func percents(i train.Interval) string {
	if math.IsNaN(i.Low) {
		return ""
	}
	return fmt.Sprintf("[%.3g, %.3g %%]", 100*i.Low, 100*i.High)
}

// textAmount writes an amount as a person counts it.
func textAmount(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}
