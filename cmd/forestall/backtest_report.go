package main

import (
	"bytes"
	"fmt"
	"math"
	"time"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
	"github.com/stratoswarm/forestall/train/report"
)

// report writes the page. It is replaced whole or not at all.
func (b *backtested) report(g *globals) error {
	p, err := b.page(g.now())
	if err != nil {
		return err
	}
	var page bytes.Buffer
	if err := p.Render(&page); err != nil {
		return err
	}
	if err := model.ReplaceFile(b.cmd.Report, page.Bytes()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// reportUnit is the unit of times that suits the model's horizon, and how many of
// it an hour has.
func (b *backtested) reportUnit() (name string, perHour float64) {
	switch h := time.Duration(b.model.Card.Horizon); {
	case h < 2*time.Hour:
		return "minutes", 60
	case h < 96*time.Hour:
		return "hours", 1
	}
	return "days", 1. / 24
}

// evaluation is the evaluation in the report's unit of time, with its curves.
func (b *backtested) evaluation() (*train.Evaluation, train.EvaluateOptions, error) {
	opt := b.options()
	name, perHour := b.reportUnit()
	opt.Unit, opt.Lead, opt.Detail = train.ParseTimeUnit(name), opt.Lead*perHour, 1
	scores := b.scores
	scores.Time, scores.Event = scaled(scores.Time, perHour), scaled(scores.Event, perHour)
	e, err := train.Evaluate(&scores, opt)
	return e, opt, err
}

func scaled(values []float64, by float64) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = v * by
	}
	return out
}

func (b *backtested) page(now time.Time) (*report.Backtest, error) {
	e, opt, err := b.evaluation()
	if err != nil {
		return nil, err
	}
	p := &report.Backtest{
		Page: report.Page{
			Made: now, Program: "forestall " + version, Card: b.model.Card, Trees: b.model.Trees(), Unit: opt.Unit, Lead: opt.Lead, Evaluation: e,
		},
		Telemetry: b.cmd.Telemetry, From: b.replay.begin, To: b.replay.to, Days: b.e.Exposure, Threshold: b.threshold,
		Failure: b.cmd.FailureCost, Unseen: b.unseen(),
	}
	if b.trainedOn() {
		p.Notes = append(p.Notes, fmt.Sprintf("The model was trained on telemetry from %s to %s: of that time the figures say what it remembers, not how well it predicts.",
			timeText(b.model.Card.Training.From), timeText(b.model.Card.Training.To)))
	}
	for _, a := range b.alarms {
		alarm := report.BacktestAlarm{Time: b.replay.time(a.Time), Component: b.scores.Groups[a.Component], Probability: a.Probability, Outcome: a.Outcome}
		if !math.IsNaN(a.Event) {
			alarm.Lead = textDuration(b.lead(a))
		}
		alarm.Because = alarmWords(b.reasons(a))
		p.Alarms = append(p.Alarms, alarm)
	}
	for _, m := range verdictMeaning {
		p.Verdicts = append(p.Verdicts, report.BacktestRows{Verdict: m.verdict.String(), Meaning: m.text, Rows: b.counts.Verdicts[m.verdict]})
	}
	p.Verdicts = append(p.Verdicts, report.BacktestRows{Verdict: "thin", Meaning: "the shortest window is not covered yet, or nothing is reported; left out", Rows: b.counts.Thin})
	for i := range e.Alarms {
		p.Prices = append(p.Prices, b.pagePrice(&e.Alarms[i]))
	}
	return p, nil
}

func (b *backtested) pagePrice(a *train.Alarms) report.BacktestPrice {
	x := b.price(a)
	return report.BacktestPrice{Alarms: x.alarms, Checkpoints: x.checkpoints, Migrations: x.migrations, Saved: x.saved, Net: x.saved - x.migrations}
}
