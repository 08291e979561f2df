package main

import (
	"encoding/json"
	"io"
	"math"

	"github.com/stratoswarm/forestall/train"
)

// number is a float64 that JSON holds as null where it is not defined.
type number float64

// MarshalJSON writes all digits.
func (n number) MarshalJSON() ([]byte, error) {
	if v := float64(n); math.IsNaN(v) || math.IsInf(v, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// figures are estimates by the name of their key, with their intervals beside
// them under "intervals" as [low, high].
type figures map[string]any

func (f figures) set(key string, e train.Estimate) {
	f[key] = number(e.Value)
	f.interval(key, e.Interval)
}

func (f figures) interval(key string, i train.Interval) {
	all, ok := f["intervals"].(map[string][2]number)
	if !ok {
		all = map[string][2]number{}
		f["intervals"] = all
	}
	all[key] = [2]number{number(i.Low), number(i.High)}
}

func (r *evaluated) json(w io.Writer) error {
	e := r.e
	out := figures{"rows": e.Rows, "positives": e.Positives, "resamples": e.Resamples, "resampled": r.resampled(), "trained_on_this_table": r.trainedHere()}
	for key, f := range map[string]train.Estimate{
		"average_precision": e.AP, "roc_auc": e.AUC, "log_loss": e.LogLoss, "brier": e.Brier, "brier_skill": e.BrierSkill, "ece": e.ECE,
	} {
		out.set(key, f)
	}
	var top []figures
	for _, t := range e.Top {
		f := figures{"share": t.Share}
		f.set("precision", t.Precision)
		f.set("recall", t.Recall)
		top = append(top, f)
	}
	out["top_rows"] = top
	if e.Components > 0 {
		out["components"] = e.Components
	}
	timed := e.Rate != ""
	if timed {
		out["time_unit"], out["rate_unit"], out["lead"] = r.cmd.TimeUnit, e.Rate, number(r.cmd.Lead.n)
		out["incidents"], out["exposure"] = e.Incidents, number(e.Exposure)
	}
	var alarms []figures
	for i := range e.Alarms {
		alarms = append(alarms, alarmFigures(&e.Alarms[i], timed))
	}
	if alarms != nil {
		out["alarms"] = alarms
	}
	if p := r.paired; p != nil {
		out["against"] = figures{
			"model": r.cmd.Against, "units": p.Units, "resamples": p.Resamples,
			"average_precision": differenceFigures(p.AP), "roc_auc": differenceFigures(p.AUC),
		}
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}

func alarmFigures(a *train.Alarms, timed bool) figures {
	f := figures{"budget_per_1000": number(a.Budget), "threshold": number(a.Threshold), "threshold_from": "this table"}
	if math.IsNaN(a.Budget) {
		f["threshold_from"] = "given"
	}
	f.set("row_precision", a.RowPrecision)
	f.set("row_recall", a.RowRecall)
	if !timed {
		return f
	}
	f["false_alarms"], f["incidents"], f["caught"], f["late"] = a.FalseAlarms, a.Incidents, a.CaughtIncidents, a.LateIncidents
	f["failing_components"], f["caught_components"] = a.FailingComponents, a.CaughtComponents
	f.set("false_alarms_per_1000", a.Rate)
	f.set("caught_share", a.Caught)
	f.set("late_share", a.Late)
	f.set("component_share", a.Components)
	f.set("precision", a.Precision)
	f.set("lead_median", a.LeadMedian)
	f.set("lead_p10", a.LeadP10)
	return f
}

func differenceFigures(d train.Difference) figures {
	f := figures{"this": number(d.A), "other": number(d.B), "difference": number(d.Delta), "better_share": number(d.Better)}
	f.interval("difference", d.CI)
	return f
}

// resampled names what was drawn for the intervals.
func (r *evaluated) resampled() string {
	if r.e.Components > 0 {
		return "components"
	}
	return "rows"
}
