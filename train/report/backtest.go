package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"time"

	"github.com/stratoswarm/forestall/train"
)

// Backtest is what a page says about the alarms of a model on recorded telemetry.
// Its Page gives the evaluation, with the unit of its times.
type Backtest struct {
	Page
	Telemetry string    // path
	From, To  time.Time // of the rows
	Days      float64   // component-days without an incident ahead
	Threshold float64   // of the alarms that are listed
	Alarms    []BacktestAlarm
	Verdicts  []BacktestRows
	Prices    []BacktestPrice // of the evaluation's operating points, in their order
	Failure   float64         // GPU-seconds that a failure costs; 0: not told
	Unseen    int             // incidents without a row in time before
}

// BacktestAlarm is an alarm, or an incident without one.
type BacktestAlarm struct {
	Time        time.Time
	Component   string
	Probability float64
	Outcome     train.AlarmOutcome
	Lead        string // until the incident; empty of a false alarm
	Because     []string
}

// BacktestRows is how many rows have a verdict.
type BacktestRows struct {
	Verdict, Meaning string
	Rows             int
}

// BacktestPrice is what acting on every alarm of an operating point would have
// cost and saved, in GPU-seconds.
type BacktestPrice struct{ Alarms, Checkpoints, Migrations, Saved, Net float64 }

// alarmsShown bounds the list of alarms.
const alarmsShown = 300

//go:embed backtest.html
var backtestHTML string

var backtestPage = template.Must(template.Must(page.Clone()).New("backtest").Funcs(template.FuncMap{
	"outcome": func(o train.AlarmOutcome) string { return outcomeClass[o] },
}).Parse(backtestHTML))

var outcomeClass = map[train.AlarmOutcome]string{
	train.AlarmCaught: "s1", train.AlarmLate: "s2", train.AlarmFalse: "loud", train.AlarmMissed: "s3",
}

// pricedPoint is an operating point with its price.
type pricedPoint struct {
	operatingPoint
	Price BacktestPrice
}

// Render writes the page: HTML with its style and drawings inside, and no
// reference to anything outside.
func (b *Backtest) Render(w io.Writer) error {
	if b.Evaluation == nil || b.Evaluation.Detail == nil {
		return fmt.Errorf("a report needs an evaluation with its detail")
	}
	points := b.points()
	if len(b.Prices) != len(points) {
		return fmt.Errorf("%d prices for %d operating points", len(b.Prices), len(points))
	}
	priced := make([]pricedPoint, len(points))
	for i, p := range points {
		priced[i] = pricedPoint{p, b.Prices[i]}
	}
	counts := map[train.AlarmOutcome]int{}
	for _, a := range b.Alarms {
		counts[a.Outcome]++
	}
	shown := b.Alarms[:min(len(b.Alarms), alarmsShown)]
	var out bytes.Buffer
	err := backtestPage.Execute(&out, struct {
		*Backtest
		E       *train.Evaluation
		Style   template.CSS
		Said    string
		Caveats []string
		Cards   []card
		Points  []pricedPoint
		Counts  map[train.AlarmOutcome]int
		Shown   []BacktestAlarm
		Hidden  int
		By      map[string]*figure
	}{
		Backtest: b, E: b.Evaluation, Style: template.CSS(styleCSS), Said: b.said(), Caveats: b.caveats(), Cards: b.cards(), Points: priced, Counts: counts,
		Shown: shown, Hidden: len(b.Alarms) - len(shown),
		By: map[string]*figure{"when": b.when(), "budget": b.budget(), "lead": b.lead(), "reliability": b.reliability()},
	})
	if err != nil {
		return fmt.Errorf("render report: %w", err)
	}
	_, err = w.Write(out.Bytes())
	return err
}

// when draws the alarms in time by their probability.
func (b *Backtest) when() *figure {
	f := &figure{
		ID: "when", Title: "When it alarmed", Desc: "Each alarm and each incident without one, by its time and the probability then.",
		Head: []string{"Day", "Caught", "Late", "False", "Missed"},
	}
	day := func(t time.Time) float64 { return t.Sub(b.From).Hours() / 24 }
	low, high := b.Threshold, b.Threshold
	for _, a := range b.Alarms {
		if known(a.Probability) && a.Probability > 0 {
			low, high = min(low, a.Probability), max(high, a.Probability)
		}
	}
	x := linear(0, math.Max(day(b.To), 1e-3))
	c := newChart(x, odds(low/2, high), "days since "+b.From.UTC().Format("2 January 2006 15:04 UTC"), "probability, log-odds scale")
	c.line("reference", []train.XY{{X: x.low, Y: b.Threshold}, {X: x.high, Y: b.Threshold}})
	f.Legend = append(f.Legend, legend{"reference", "the threshold"})
	type tally [4]int
	order := []train.AlarmOutcome{train.AlarmCaught, train.AlarmLate, train.AlarmFalse, train.AlarmMissed}
	days := map[int]*tally{}
	for k, outcome := range order {
		n := 0
		for _, a := range b.Alarms {
			if a.Outcome != outcome {
				continue
			}
			n++
			if known(a.Probability) {
				c.dot("dot "+outcomeClass[outcome], train.XY{X: day(a.Time), Y: a.Probability}, 4)
			}
			at := int(day(a.Time))
			if days[at] == nil {
				days[at] = &tally{}
			}
			days[at][k]++
		}
		if n > 0 {
			f.Legend = append(f.Legend, legend{outcomeClass[outcome], fmt.Sprintf("%s, %s", outcome, count(n))})
		}
	}
	for at := range int(day(b.To)) + 1 {
		if t := days[at]; t != nil {
			f.Numbers = append(f.Numbers, []string{b.From.UTC().AddDate(0, 0, at).Format("2006-01-02"), count(t[0]), count(t[1]), count(t[2]), count(t[3])})
		}
	}
	return c.done(f)
}
