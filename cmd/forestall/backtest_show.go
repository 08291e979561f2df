package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/predict/builtin"
	"github.com/stratoswarm/forestall/train"
)

// load reads the model.
func (c *backtestCmd) load() (*model.Model, error) {
	if c.Model != "builtin" {
		m, err := model.Load(c.Model)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w; name a directory with %s and %s, as 'forestall train --telemetry' and 'forestall retrain' write with --out, or builtin", err, model.TreesFile, model.CardFile)
		}
		return m, err
	}
	kind, err := forestall.ParseKind(c.Kind)
	if err != nil {
		return nil, fmt.Errorf("--kind: %w", err)
	}
	return builtin.Builtin(kind)
}

// show lays the backtest out for people.
func (b *backtested) show(v view) {
	card := &b.model.Card
	b.replay.tell(v, &b.counts)
	fmt.Fprintf(v.out, "Model %s %s: a failure within %s, lead %s.\n", textClean(card.Name), card.Version, textDuration(time.Duration(card.Horizon)), orNone(card.Lead))
	if b.trainedOn() {
		fmt.Fprintln(v.out, v.paint(fmt.Sprintf("It was trained on telemetry from %s to %s: of that time it tells what it remembers, not how well it predicts. --from and --to choose another.", timeText(card.Training.From), timeText(card.Training.To)), sgrYellow))
	}
	fmt.Fprintln(v.out)
	b.showAlarms(v)
	b.showTotals(v)
}

func (b *backtested) showAlarms(v view) {
	t := textTable{header: []string{"TIME", "COMPONENT", ">RISK", "", ">LEAD", "BECAUSE"}}
	paints := map[train.AlarmOutcome]sgr{train.AlarmCaught: sgrGreen, train.AlarmLate: sgrYellow, train.AlarmFalse: sgrRed, train.AlarmMissed: sgrMagenta}
	for _, a := range b.alarms {
		lead, why := "", ""
		if !math.IsNaN(a.Event) {
			lead = textDuration(b.lead(a))
		}
		if a.Outcome == train.AlarmMissed {
			why = "the highest before the incident"
		}
		why += strings.Join(alarmWords(b.reasons(a)), "; ")
		t.add(cellOf(timeText(b.replay.time(a.Time))), cellOf(b.scores.Groups[a.Component]), cellOf(fmt.Sprintf("%.3g %%", 100*a.Probability)),
			textCell{string(a.Outcome), paints[a.Outcome]}, cellOf(lead), cellOf(why))
	}
	fmt.Fprintf(v.out, "Alarms at a probability of %.4g:\n\n", b.threshold)
	t.writeOr(v, "None, and no incident.")
}

func (b *backtested) showTotals(v view) {
	fmt.Fprintf(v.out, "\nFalse alarms are for each 1,000 component-days, of which there were %.4g; prices are GPU-seconds, for acting on every alarm.\n\n", b.e.Exposure)
	t := textTable{header: []string{">BUDGET", ">THRESHOLD", ">ALARMS", ">FALSE", ">RATE", "", ">CAUGHT", ">LATE", ">LEAD MEDIAN", ">CHECKPOINTS", ">MIGRATIONS", ">SAVED", ">NET"}}
	for i := range b.e.Alarms {
		a := &b.e.Alarms[i]
		p := b.price(a)
		budget, saved, net := "listed", "", ""
		if !math.IsNaN(a.Budget) {
			budget = fmt.Sprint(a.Budget)
		}
		if b.cmd.FailureCost > 0 {
			saved, net = fmt.Sprintf("%.0f", p.saved), fmt.Sprintf("%+.0f", p.saved-p.migrations)
		}
		lead := "-"
		if !math.IsNaN(a.LeadMedian.Value) {
			lead = textDuration(b.lead(train.Alarm{Event: a.LeadMedian.Value}))
		}
		t.add(cellOf(budget), cellOf(fmt.Sprintf("%.4g", a.Threshold)), cellOf(fmt.Sprintf("%.0f", p.alarms)), cellOf(fmt.Sprint(a.FalseAlarms)),
			cellOf(figure(a.Rate.Value, "%.3g")), cellOf(span(a.Rate.Interval, "%.3g")),
			cellOf(fmt.Sprintf("%d of %d", a.CaughtIncidents, a.Incidents)), cellOf(fmt.Sprint(a.LateIncidents)), cellOf(lead),
			cellOf(fmt.Sprintf("%.0f", p.checkpoints)), cellOf(fmt.Sprintf("%.0f", p.migrations)), cellOf(saved), cellOf(net))
	}
	t.write(v)
	fmt.Fprintln(v.out)
	if n := b.unseen(); n > 0 {
		fmt.Fprintf(v.out, "%s more had no row in time before: the component was unknown, or its telemetry is not there.\n", textCount(n, "incident"))
	}
	if b.cmd.FailureCost > 0 {
		fmt.Fprintf(v.out, "Without acting, the failures would have cost %.0f GPU-seconds; the net is that of migrations.\n", b.price(&b.e.Alarms[0]).failures)
	}
	if len(b.cmd.Budget) > 0 {
		fmt.Fprintln(v.out, "The thresholds of the budgets were chosen on this very telemetry, which flatters them a little.")
	}
}

func orNone(d model.Duration) string {
	if d == 0 {
		return "none"
	}
	return textDuration(time.Duration(d))
}

// json prints everything.
func (b *backtested) json(w io.Writer) error {
	card := &b.model.Card
	verdicts := map[string]int{"thin": b.counts.Thin}
	for _, m := range verdictMeaning {
		verdicts[m.verdict.String()] = b.counts.Verdicts[m.verdict]
	}
	alarms := []figures{}
	for _, a := range b.alarms {
		f := figures{
			"time": b.replay.time(a.Time), "component": b.scores.Groups[a.Component], "probability": number(a.Probability),
			"outcome": a.Outcome, "reasons": append([]forestall.Reason{}, b.reasons(a)...), "incident": nil, "lead_seconds": nil,
		}
		if !math.IsNaN(a.Event) {
			f["incident"], f["lead_seconds"] = b.replay.time(a.Event), b.lead(a).Seconds()
		}
		alarms = append(alarms, f)
	}
	totals := []figures{}
	for i := range b.e.Alarms {
		a := &b.e.Alarms[i]
		p := b.price(a)
		f := figures{
			"budget": number(a.Budget), "threshold": number(a.Threshold), "alarms": p.alarms, "false_alarms": a.FalseAlarms,
			"incidents": a.Incidents, "caught_incidents": a.CaughtIncidents, "late_incidents": a.LateIncidents,
			"checkpoints_gpu_s": p.checkpoints, "migrations_gpu_s": p.migrations, "failures_gpu_s": p.failures, "saved_gpu_s": p.saved,
		}
		f.set("false_alarm_rate", a.Rate)
		f.set("caught", a.Caught)
		f.set("precision", a.Precision)
		f.set("lead_median_hours", a.LeadMedian)
		totals = append(totals, f)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(figures{
		"model": card.Name, "version": card.Version, "kind": card.Kind, "horizon": card.Horizon, "lead": card.Lead, "trained_on_this": b.trainedOn(),
		"from": b.replay.begin, "to": b.replay.to, "rows": verdicts, "incidents": len(b.replay.incidents), "incidents_without_rows": b.unseen(),
		"component_days": number(b.e.Exposure), "threshold": b.threshold, "alarms": alarms, "totals": totals,
	})
}
