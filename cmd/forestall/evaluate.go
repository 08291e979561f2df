package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/stratoswarm/forestall/train"
)

// evaluateCmd measures a model on a plain table.
type evaluateCmd struct {
	Model     string `required:"" placeholder:"DIR" help:"Directory of a model, or a bare model.txt, which has no calibration."`
	Table     string `required:"" placeholder:"FILE" help:"CSV table, plain or compressed with gzip or zstd."`
	Label     string `required:"" placeholder:"COL" help:"Column with what came to pass: 0 or 1."`
	Group     string `placeholder:"COL" help:"Column with the number of the component; with --time figures per component are given."`
	Time      string `placeholder:"COL" help:"Column with the time of the row, a number."`
	TimeUnit  string `default:"units" placeholder:"UNIT" help:"Unit of the times, such as hours, days or cycles; for the words only."`
	EventTime string `placeholder:"COL" help:"Column with the time of the incident that a positive row announces; without it an incident happens at the last of a run of positive rows."`
	JSON      bool   `name:"json" help:"Print JSON, numbers exact; null where one is not defined."`
}

func (c *evaluateCmd) Run(g *globals) error {
	if (c.Group == "") != (c.Time == "") {
		return errors.New("--group and --time go together")
	}
	if c.EventTime != "" && c.Group == "" {
		return errors.New("--event-time needs --group and --time")
	}
	m, err := loadModel(c.Model)
	if err != nil {
		return err
	}
	columns := append(m.Features(), c.Label)
	n := m.NumFeatures()
	// A column may be a feature and the time at once; it is read once.
	place := func(name string) int {
		if name == "" {
			return -1
		}
		for i, have := range columns {
			if have == name {
				return i
			}
		}
		columns = append(columns, name)
		return len(columns) - 1
	}
	group, time, event := place(c.Group), place(c.Time), place(c.EventTime)
	cell := func(row []float64, at int) float64 {
		if at < 0 {
			return math.NaN()
		}
		return row[at]
	}
	var rows []train.Scored
	err = train.ScanTable(g.ctx, c.Table, columns, func(row []float64) error {
		if y := row[n]; y != 0 && y != 1 {
			return fmt.Errorf("column %s: the label is %v; it must be 0 or 1", c.Label, y)
		}
		p, err := m.Probability(row[:n])
		rows = append(rows, train.Scored{
			Probability: p, Positive: row[n] == 1,
			Group: cell(row, group), Time: cell(row, time), Event: cell(row, event),
		})
		return err
	})
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return fmt.Errorf("%s: there are no rows", c.Table)
	}
	e, err := train.Evaluate(rows, group >= 0)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Table, err)
	}
	if c.JSON {
		enc := json.NewEncoder(g.out)
		enc.SetIndent("", "  ")
		return enc.Encode(c.asJSON(e))
	}
	c.show(g, e)
	return nil
}

// number is a float64 that JSON holds as null where it is not defined.
type number float64

// MarshalJSON writes all digits.
func (n number) MarshalJSON() ([]byte, error) {
	if v := float64(n); math.IsNaN(v) || math.IsInf(v, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

func (c *evaluateCmd) asJSON(e train.Evaluation) any {
	out := map[string]any{
		"rows": e.Rows, "positives": e.Positives,
		"average_precision": number(e.AP), "roc_auc": number(e.AUC), "log_loss": number(e.LogLoss),
		"brier": number(e.Brier), "brier_skill": number(e.BrierSkill), "ece": number(e.ECE),
	}
	if c.Group == "" {
		return out
	}
	var alarms []map[string]any
	for _, a := range e.Alarms {
		alarms = append(alarms, map[string]any{
			"budget_per_1000": number(a.FalseAlarms), "false_alarms_per_1000": number(a.Actual), "threshold": number(a.Threshold),
			"incidents": a.Incidents, "caught": a.Caught, "lead_median": number(a.LeadMedian), "lead_p10": number(a.LeadP10),
		})
	}
	out["time_unit"], out["alarms"] = c.TimeUnit, alarms
	return out
}

func (c *evaluateCmd) show(g *globals, e train.Evaluation) {
	fmt.Fprintf(g.out, "%s, %d positive (%.3g %%)\n\n", textCount(e.Rows, "row"), e.Positives, 100*float64(e.Positives)/float64(e.Rows))
	t := textTable{header: []string{"METRIC", ">VALUE"}}
	for _, m := range []struct {
		name  string
		value float64
	}{
		{"average precision", e.AP},
		{"ROC AUC", e.AUC},
		{"log loss", e.LogLoss},
		{"Brier skill", e.BrierSkill},
		{"calibration error (ECE)", e.ECE},
	} {
		text := "not defined"
		if !math.IsNaN(m.value) {
			text = fmt.Sprintf("%.5f", m.value)
		}
		t.add(cellOf(m.name), cellOf(text))
	}
	v := view{out: g.out, color: g.color}
	t.write(v)
	if len(e.Alarms) == 0 {
		return
	}
	fmt.Fprintf(g.out, "\nFalse alarms are for each 1,000 component-%s, lead times in %s.\n\n", c.TimeUnit, c.TimeUnit)
	t = textTable{header: []string{">BUDGET", ">FALSE ALARMS", ">THRESHOLD", ">CAUGHT", ">LEAD MEDIAN", ">LEAD P10"}}
	for _, a := range e.Alarms {
		lead := func(v float64) textCell {
			if math.IsNaN(v) {
				return cellOf("-")
			}
			return cellOf(fmt.Sprintf("%.4g", v))
		}
		t.add(
			cellOf(fmt.Sprint(a.FalseAlarms)), cellOf(fmt.Sprintf("%.3g", a.Actual)), cellOf(fmt.Sprintf("%.4g", a.Threshold)),
			cellOf(fmt.Sprintf("%d of %d", a.Caught, a.Incidents)), lead(a.LeadMedian), lead(a.LeadP10),
		)
	}
	t.write(v)
}
