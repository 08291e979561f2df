package main

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
	"github.com/stratoswarm/forestall/train/table"
)

// evaluateCmd measures a model on a plain table.
type evaluateCmd struct {
	Model     string    `required:"" placeholder:"DIR" help:"Directory of a model, or a bare model.txt, which has no calibration."`
	Table     string    `required:"" placeholder:"FILE" help:"Table to measure on, CSV or Parquet; rows that were not used for training."`
	Label     string    `required:"" placeholder:"COL" help:"Column with what came to pass: 0 or 1."`
	Group     string    `placeholder:"COL" help:"Column with the component, a name or a number. Intervals then come from drawing whole components."`
	Time      string    `placeholder:"COL" help:"Column with the time of the row, a number, text such as 2026-11-26T15:04:05Z or, in Parquet, a timestamp; with --group alarms are judged."`
	TimeUnit  string    `default:"units" placeholder:"UNIT" help:"Unit of the times. Units of the clock from ns to weeks are known, and alarms are then counted for each 1,000 component-days; with any other unit, such as cycles, for each 1,000 of it. Times that are text or timestamps are in hours unless told."`
	EventTime string    `placeholder:"COL" help:"Column with the time of the incident that the row announces; without it an incident happens at the last of a run of positive rows."`
	Lead      timeSpan  `placeholder:"TIME" help:"Time that an alarm must leave, a number in the unit of --time or one with its unit, such as 2h; with less it is late and catches nothing."`
	Budget    []float64 `default:"0.1,1,10" placeholder:"N" help:"False alarms to accept for each 1,000 component-days (${default}); the threshold of each is chosen on this table."`
	Threshold []float64 `placeholder:"P" help:"Probabilities from which to alarm, chosen on another table."`
	Against   string    `placeholder:"DIR" help:"Another model to compare with on the same rows, by a paired bootstrap."`
	Bootstrap int       `default:"200" placeholder:"N" help:"Resamples for the 95 % intervals; 0: none (${default})."`
	Seed      uint64    `default:"1" help:"Seed of the resamples."`
	Threads   int       `default:"0" help:"Threads; 0: one per processor. The figures do not depend on it."`
	Report    string    `placeholder:"FILE" help:"Write a page with curves, features and the worst mistakes as HTML; it needs nothing else to be read."`
	JSON      bool      `name:"json" help:"Print JSON, numbers exact; null where one is not defined."`

	// Of a command that asks for an evaluation.
	notes []string // for the report
	only  []bool   // of each row of the table, whether it is measured on: those that the model has not seen; nil: all are

	textTimes bool // found in the table
}

// Help adds to the command's help.
func (evaluateCmd) Help() string {
	return "An incident is a run of positive rows of a component that announce the same event. It is caught when one of them reaches the threshold with the lead left. A false alarm begins with a row that reaches it without an incident ahead and stands while the next rows do; while it stands it counts again each day."
}

func (c *evaluateCmd) Run(g *globals) error {
	if err := c.check(); err != nil {
		return err
	}
	if err := checkSpans(g.ctx, c.Table, c.Time, c.TimeUnit, flagSpan{"--lead", &c.Lead}); err != nil {
		return err
	}
	m, err := loadModel(c.Model)
	if err != nil {
		return err
	}
	if regression(m) {
		return c.runRegression(g, m)
	}
	r, err := c.measure(g, m)
	if err != nil {
		return err
	}
	if c.Report != "" {
		if err := r.report(g); err != nil {
			return err
		}
	}
	if c.JSON {
		return r.json(g.out)
	}
	r.show(view{out: g.out, color: g.color})
	if c.Report != "" {
		fmt.Fprintf(g.out, "\nWrote %s.\n", c.Report)
	}
	return nil
}

func (c *evaluateCmd) check() error {
	for _, f := range []struct {
		wrong bool
		text  string
	}{
		{c.Time != "" && c.Group == "", "--time needs --group: times are those of a component"},
		{c.EventTime != "" && c.Time == "", "--event-time needs --group and --time"},
		{c.Lead.n != 0 && c.Time == "", "--lead needs --group and --time"},
	} {
		if f.wrong {
			return errors.New(f.text)
		}
	}
	if err := settleSpans(c.TimeUnit, flagSpan{"--lead", &c.Lead}); err != nil {
		return err
	}
	opt := c.options()
	if err := opt.Validate(); err != nil {
		return flagError(err)
	}
	return checkFile("--report", c.Report)
}

func (c *evaluateCmd) options() train.EvaluateOptions {
	detail := 0
	if c.Report != "" {
		detail = examplesShown
	}
	return train.EvaluateOptions{
		Detail: detail, Budgets: c.Budget, Thresholds: c.Threshold, Unit: c.unit(), Lead: c.Lead.n,
		Bootstrap: c.Bootstrap, Seed: c.Seed, Threads: c.Threads,
	}
}

// unit returns the unit of the times.
func (c *evaluateCmd) unit() train.TimeUnit {
	u := train.ParseTimeUnit(c.TimeUnit)
	u.Text = c.textTimes
	return u
}

// evaluated is what was found.
type evaluated struct {
	cmd    *evaluateCmd
	model  *model.Model
	e      *train.Evaluation
	paired *train.Paired // nil without --against
	digest string        // of the table; empty where it is not needed
	first  float64       // times
	last   float64
}

func (c *evaluateCmd) measure(g *globals, m *model.Model) (*evaluated, error) {
	var other *model.Model
	var err error
	if c.Against != "" {
		if other, err = loadModel(c.Against); err != nil {
			return nil, err
		}
	}
	in, err := table.Open(c.Table)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	r := &evaluated{cmd: c, model: m}
	digest := c.Report != "" || m.Card.Training.DataSHA256 != ""
	if digest {
		if err := in.Hash(); err != nil {
			return nil, err
		}
	}
	scores, otherScores, err := c.score(g, in, m, other)
	if err != nil {
		return nil, err
	}
	if len(scores.Time) > 0 {
		r.first, r.last = slices.Min(scores.Time), slices.Max(scores.Time)
	}
	if digest {
		if r.digest, err = in.Digest(); err != nil {
			return nil, err
		}
	}
	if other != nil {
		p, err := scores.Against(otherScores, c.Bootstrap, c.Seed, c.Threads)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Table, err)
		}
		r.paired = &p
	}
	if r.e, err = train.Evaluate(scores, c.options()); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Table, err)
	}
	return r, nil
}

// score has the models judge the rows; other may be nil.
func (c *evaluateCmd) score(g *globals, in *table.Table, m, other *model.Model) (*train.Scores, []float64, error) {
	columns := m.Features()
	// A column may be a feature, of both models, and the time at once; it is
	// read once.
	place := func(name string) int {
		if name == "" {
			return -1
		}
		if at := slices.Index(columns, name); at >= 0 {
			return at
		}
		columns = append(columns, name)
		return len(columns) - 1
	}
	label, time, event := place(c.Label), place(c.Time), place(c.EventTime)
	var otherPlace []int
	var otherRow, otherScores []float64
	if other != nil {
		for _, name := range other.Features() {
			otherPlace = append(otherPlace, place(name))
		}
		otherRow = make([]float64, len(otherPlace))
	}
	s := &train.Scores{}
	var components train.Names
	n, at := m.NumFeatures(), -1
	known := train.TextTimes(in, c.unit(), c.Time, c.EventTime)
	err := train.ScanText(g.ctx, in, columns, c.Group, func(row []float64, component string) error {
		if at++; c.only != nil {
			if at >= len(c.only) || !c.only[at] {
				return nil
			}
			s.Row = append(s.Row, int32(at))
		}
		if err := checkOutcome(c.Label, row[label]); err != nil {
			return err
		}
		p, err := m.Probability(row[:n])
		if err != nil {
			return err
		}
		s.Probability, s.Positive = append(s.Probability, p), append(s.Positive, row[label] == 1)
		if c.Group != "" {
			if component == "" {
				return fmt.Errorf("column %s: the component is missing", c.Group)
			}
			s.Group = append(s.Group, components.Number(component))
		}
		if time >= 0 {
			if math.IsNaN(row[time]) {
				return fmt.Errorf("column %s: the time is missing", c.Time)
			}
			s.Time = append(s.Time, row[time])
		}
		if event >= 0 {
			s.Event = append(s.Event, row[event])
		}
		if other != nil {
			for i, from := range otherPlace {
				otherRow[i] = row[from]
			}
			q, err := other.Probability(otherRow) // of both what is acted on: steps of a calibration tie
			if err != nil {
				return err
			}
			otherScores = append(otherScores, q)
		}
		return nil
	})
	if err == nil && len(s.Probability) == 0 {
		err = fmt.Errorf("%s: there are no rows", c.Table)
	}
	if err == nil {
		var u train.TimeUnit
		u, err = known()
		c.TimeUnit, c.textTimes = u.Name, u.Text
	}
	s.Groups = components.All()
	return s, otherScores, err
}

// checkOutcome reports a cell of the label's column that is no outcome.
func checkOutcome(column string, y float64) error {
	switch {
	case math.IsNaN(y):
		return fmt.Errorf("column %s: the label is missing; leave such rows out", column)
	case y != 0 && y != 1:
		return fmt.Errorf("column %s: the label is %v; it must be 0 or 1", column, y)
	}
	return nil
}
