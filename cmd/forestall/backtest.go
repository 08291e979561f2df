package main

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/predict"
	"github.com/stratoswarm/forestall/train"
)

// backtestCmd lets a model judge recorded telemetry.
type backtestCmd struct {
	Model string `required:"" placeholder:"DIR" help:"Directory of a model with a card, or builtin."`
	Kind  string `default:"gpu" help:"Of builtin: the kind of component, gpu or node (${default})."`
	replayFlags

	Threshold float64   `placeholder:"P" help:"Probability from which to alarm; its alarms are listed. By default the model's own threshold for suspect, else 0.2, the engine's."`
	Budget    []float64 `default:"0.1,1,10" placeholder:"N" help:"Also the totals at thresholds that keep to so many false alarms for each 1,000 component-days (${default}), chosen on this very telemetry."`

	CheckpointCost float64 `group:"Price" default:"10" placeholder:"GPU-S" help:"GPU-seconds that a preemptive checkpoint costs (${default})."`
	MigrationCost  float64 `group:"Price" default:"60" placeholder:"GPU-S" help:"GPU-seconds that a migration costs (${default})."`
	FailureCost    float64 `group:"Price" placeholder:"GPU-S" help:"GPU-seconds that a failure costs that is not forestalled: half a checkpoint interval and the recovery, times the GPUs of a job. With it the net is told."`

	Bootstrap int    `default:"200" placeholder:"N" help:"Resamples of components for the 95 % intervals; 0: none (${default})."`
	Seed      uint64 `default:"1" help:"Seed of the resamples."`
	Report    string `placeholder:"FILE" help:"Write a page for people as well: HTML that needs nothing else."`
	JSON      bool   `name:"json" help:"Print JSON, numbers exact; null where one is not defined."`
}

// Help adds to the command's help.
func (backtestCmd) Help() string {
	return "Replays telemetry through the windows and the model as an engine does, and lists every alarm: caught with its lead time, late (less than the model's lead was left), or false, with its reasons; and the incidents that were missed. Lead and horizon are the model's. With anomaly.counts_as = \"failing\" in --config a component that is unlike what the model was trained on alarms too, as in an engine."
}

// backtested is what came out.
type backtested struct {
	cmd    *backtestCmd
	model  *model.Model
	schema *features.Schema
	replay *replay
	done   func() // removes what is temporary
	counts train.VectorCounts

	threshold float64
	unlike    forestall.Grade // that a healthy component counts as which is unlike the model's training
	scores    train.Scores
	row       []judgedRow // of the scores, at the threshold or above
	e         *train.Evaluation
	alarms    []train.Alarm
}

// judgedRow is what is kept of a row that reaches the threshold.
type judgedRow struct {
	row     int
	reasons []forestall.Reason
}

func (c *backtestCmd) Run(g *globals) error {
	b, err := c.prepare(g)
	if err != nil {
		return err
	}
	defer b.done()
	if err := b.judge(g); err != nil {
		return err
	}
	if err := b.measure(); err != nil {
		return err
	}
	if c.Report != "" {
		if err := b.report(g); err != nil {
			return err
		}
	}
	if c.JSON {
		return b.json(g.out)
	}
	b.show(view{out: g.out, color: g.color})
	return nil
}

func (c *backtestCmd) prepare(g *globals) (*backtested, error) {
	for _, cost := range []struct {
		flag  string
		value float64
	}{{"--checkpoint-cost", c.CheckpointCost}, {"--migration-cost", c.MigrationCost}, {"--failure-cost", c.FailureCost}} {
		if !(cost.value >= 0) || math.IsInf(cost.value, 0) {
			return nil, fmt.Errorf("%s is %v; it must be 0 or more GPU-seconds", cost.flag, cost.value)
		}
	}
	if err := checkFile("--report", c.Report); err != nil {
		return nil, err
	}
	m, err := c.load()
	if err != nil {
		return nil, err
	}
	kind, err := forestall.ParseKind(m.Card.Kind)
	if err != nil {
		return nil, fmt.Errorf("%s: its card does not say what kind of component it judges; train it with --telemetry", c.Model)
	}
	b := &backtested{cmd: c, model: m, threshold: c.Threshold}
	if b.threshold == 0 {
		b.threshold = 0.2
		if t := m.Card.Thresholds; t != nil {
			b.threshold = t.Suspect
		}
	}
	opt := b.options()
	if err := opt.Validate(); err != nil {
		return nil, flagError(err)
	}
	mappings, err := mappingsOf(c.Config)
	if err != nil {
		return nil, err
	}
	if b.unlike, err = countsAs(c.Config); err != nil {
		return nil, err
	}
	if b.schema, err = predict.SchemaFor(m, mappings.Extra(kind)...); err != nil {
		return nil, err
	}
	if b.done, err = c.fetch(g, b.schema.Windows()[len(b.schema.Windows())-1]); err != nil {
		return nil, err
	}
	if b.replay, err = c.open(g.ctx, kind, time.Duration(m.Card.Lead), time.Duration(m.Card.Horizon)); err != nil {
		b.done()
		return nil, err
	}
	return b, nil
}

// judge replays the telemetry.
func (b *backtested) judge(g *globals) error {
	schemas := map[forestall.Kind]*features.Schema{b.replay.kind: b.schema}
	cfg := predict.DefaultConfig()
	cfg.Reasons = 3
	scorer, err := predict.New(map[forestall.Kind]*model.Model{b.replay.kind: b.model}, schemas, cfg)
	if err != nil {
		return err
	}
	_, failing, _ := scorer.Thresholds(b.replay.kind)
	b.counts = train.VectorCounts{Verdicts: map[train.Verdict]int{}, Rows: map[forestall.Component]int{}}
	group := map[forestall.Component]int32{}
	scrapes := func(yield func([]forestall.Sample, error) bool) {
		for scrape, err := range b.replay.scrapes(g.ctx) {
			b.counts.Scrapes++
			if !yield(scrape, err) {
				return
			}
		}
	}
	return scorer.Replay(scrapes, features.NewStore(schemas), b.cmd.Interval, func(t time.Time, risk forestall.Risk) error {
		c := risk.Component
		risk.Unlike = scorer.Unlike(c)
		predict.Raise(&risk, b.unlike, failing)
		if t.Before(b.replay.begin) {
			return nil
		}
		b.counts.Rows[c] += 0
		if risk.Grade == forestall.Unknown {
			b.counts.Thin++
			return nil
		}
		verdict := b.replay.labeler.Label(t, c)
		b.counts.Verdicts[verdict]++
		b.counts.Rows[c]++
		// An alarm near the end that has come true by then counts.
		announces := verdict == train.Positive || verdict == train.Censored && b.replay.labeler.Announces(t, c)
		if !verdict.Trains() && verdict != train.Late && !announces {
			return nil
		}
		at, ok := group[c]
		if !ok {
			at = int32(len(group))
			group[c] = at
			b.scores.Groups = append(b.scores.Groups, c.String())
		}
		if risk.Probability >= b.threshold {
			b.row = append(b.row, judgedRow{len(b.scores.Group), risk.Reasons})
		}
		event := math.NaN()
		if next := b.replay.labeler.Next(t, c); !next.IsZero() {
			event = b.replay.hours(next)
		}
		s := &b.scores
		s.Group, s.Time, s.Event = append(s.Group, at), append(s.Time, b.replay.hours(t)), append(s.Event, event)
		s.Probability, s.Positive = append(s.Probability, risk.Probability), append(s.Positive, announces)
		return nil
	})
}

// options are those of the evaluation, times in hours.
func (b *backtested) options() train.EvaluateOptions {
	return train.EvaluateOptions{
		Budgets: b.cmd.Budget, Thresholds: []float64{b.threshold}, Unit: train.ParseTimeUnit("hours"), Lead: time.Duration(b.model.Card.Lead).Hours(),
		Bootstrap: b.cmd.Bootstrap, Seed: b.cmd.Seed,
	}
}

// measure counts the alarms.
func (b *backtested) measure() (err error) {
	if len(b.scores.Group) == 0 {
		return fmt.Errorf("%s: the model judges none of its rows: the windows are thin, or nothing is known of what came after", b.cmd.Telemetry)
	}
	opt := b.options()
	if b.e, err = train.Evaluate(&b.scores, opt); err != nil {
		return err
	}
	b.alarms, err = train.ListAlarms(&b.scores, b.threshold, opt.Unit, opt.Lead)
	return err
}

// unseen counts the incidents that no row announces: their components were
// unknown, or there is no telemetry of them.
func (b *backtested) unseen() int { return max(0, len(b.replay.incidents)-b.e.Incidents) }

// reasons returns those of an alarm, nil of a missed incident.
func (b *backtested) reasons(a train.Alarm) []forestall.Reason {
	i, ok := slices.BinarySearchFunc(b.row, a.Row, func(j judgedRow, row int) int { return j.row - row })
	if !ok {
		return nil
	}
	return b.row[i].reasons
}

// alarmWords words the reasons for an alarm.
func alarmWords(reasons []forestall.Reason) (words []string) {
	for _, r := range reasons {
		if r.Contribution > 0 || r.Feature == predict.ReasonUnlike {
			words = append(words, r.Text)
		}
	}
	return words
}

// lead returns the time from an alarm to the incident.
func (b *backtested) lead(a train.Alarm) time.Duration {
	return time.Duration((a.Event - a.Time) * float64(time.Hour)).Round(time.Millisecond)
}

// trainedOn reports whether the model has seen some of the telemetry.
func (b *backtested) trainedOn() bool {
	t := b.model.Card.Training
	return !t.To.IsZero() && t.From.Before(b.replay.to) && t.To.After(b.replay.begin)
}

// price is what acting on the alarms of a line would have cost and saved, in
// GPU-seconds.
type price struct{ alarms, checkpoints, migrations, failures, saved float64 }

func (b *backtested) price(a *train.Alarms) price {
	n := float64(a.FalseAlarms + a.CaughtIncidents + a.LateIncidents)
	return price{
		alarms: n, checkpoints: n * b.cmd.CheckpointCost, migrations: n * b.cmd.MigrationCost,
		failures: float64(a.Incidents+b.unseen()) * b.cmd.FailureCost, saved: float64(a.CaughtIncidents) * b.cmd.FailureCost,
	}
}
