package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/predict"
	"github.com/stratoswarm/forestall/predict/anomaly"
	"github.com/stratoswarm/forestall/recording"
	"github.com/stratoswarm/forestall/train"
)

// telemetryTraining says how a table is made of recorded telemetry.
type telemetryTraining struct {
	replayFlags
	Kind     string          `group:"Recorded telemetry" placeholder:"KIND" default:"gpu" help:"Kind of component to train for: gpu, node, agent, service (${default})."`
	Lead     time.Duration   `group:"Recorded telemetry" placeholder:"DURATION" help:"Notice that acting needs: what comes sooner is too late, and its rows are left out."`
	Windows  []time.Duration `group:"Recorded telemetry" default:"5m,1h,6h,24h" placeholder:"DURATION,.." help:"Windows of the features (${default}). A component is unknown until the shortest is covered."`
	Sets     []string        `group:"Recorded telemetry" default:"context,history" placeholder:"SET,.." help:"Sets of metrics to learn from beside the kind's own, where engines recorded them: details (what NVML says beyond those), context (a GPU beside its siblings; its source), history (failures until then, time since repair), cohort (how often components of the fleet, the GPU model and driver, the zone and the node fail); none: the kind's own alone (${default})."`
	Unlike   float64         `name:"unlike-alarms" group:"Recorded telemetry" placeholder:"N" default:"1" help:"Also fit to the rows without a failure within the horizon what ordinary operation is, so that an engine sees what is unlike it, failures of a new kind too; at a threshold that ordinary operation passes N times in 1,000 component-days (${default}), chosen by the newer half of the telemetry. 0: do without."`
	TableOut string          `group:"Recorded telemetry" placeholder:"FILE" help:"Keep the table that is made, as Parquet, with component, hour, label and event_hour."`

	made *madeTable // nil: trained on a table
}

// Columns of a table that is made of telemetry, beside the features.
const (
	columnLabel = "label"      // 1: an incident starts within the horizon
	columnHour  = "hour"       // of the row, since the telemetry begins
	columnEvent = "event_hour" // when the component's next incident starts; missing: none is known
)

// defaultHeld is how much of telemetry judges and is calibrated on unless told.
const defaultHeld = "20%"

// madeTable is a table that was made of telemetry.
type madeTable struct {
	schema *features.Schema
	replay *replay
	counts train.VectorCounts
	spread *model.DistributionBuilder // of the rows
	usual  *predict.UnlikeFit         // of those without a failure within the horizon
	dir    string                     // temporary; "": none

	unusual error // why the card does not say what ordinary operation is; nil: it does, or is not asked to
}

// tell prints what the model will take for unlike ordinary operation.
func (m *madeTable) tell(g *globals, card *model.Card) {
	switch u := card.Unlike; {
	case m == nil || m.usual == nil:
	case u != nil:
		fmt.Fprintf(g.out, "Unlike ordinary operation from a score of %.3g: %s, chosen by %.4g newer component-days.\n", u.Threshold, textUnlikeAlarms(u.Alarms), u.Days)
	case errors.Is(m.unusual, anomaly.ErrFewRows):
		fmt.Fprintf(g.out, "It will not see what is unlike ordinary operation: the newer half of the telemetry has %.3g ordinary component-days, and %d are needed.\n", m.usual.Days(), anomaly.LeastPeaks)
	default:
		fmt.Fprintf(g.out, "It will not see what is unlike ordinary operation: %v.\n", m.unusual)
	}
}

// noSets is what --sets says where only the metrics of the kind itself are learnt from.
const noSets = "none"

// prepareTelemetry sets the flags as they are for a table made of telemetry, and
// says where it will be. What it returns removes what is temporary.
func (c *trainCmd) prepareTelemetry() (done func(), err error) {
	for _, f := range []struct {
		set  bool
		name string
	}{
		{c.Label != "", "--label"},
		{c.Time != "", "--time"},
		{c.Group != "", "--group"},
		{c.Weight != "", "--weight"},
		{c.CalibrateLabel != "", "--calibrate-label"},
		{len(c.Categorical) > 0, "--categorical"},
		{c.Objective != string(train.Binary), "--objective " + c.Objective},
	} {
		if f.set {
			return nil, fmt.Errorf("%s is for a --table; the rows of --telemetry have columns of their own", f.name)
		}
	}
	if c.Horizon <= 0 {
		return nil, errors.New("--telemetry needs --horizon: within which time the incidents are to be predicted, such as 1h")
	}
	if !(c.Unlike >= 0 && c.Unlike <= 1000) {
		return nil, fmt.Errorf("--unlike-alarms %v: it must be 0 to 1000 alarms in 1,000 component-days", c.Unlike)
	}
	if c.Lead < 0 || c.Recovery < 0 {
		return nil, errors.New("--lead and --recovery must not be negative")
	}
	if err := checkFile("--table-out", c.TableOut); err != nil {
		return nil, err
	}
	kind, err := forestall.ParseKind(c.Kind)
	if err != nil {
		return nil, fmt.Errorf("--kind: %w", err)
	}
	c.made = &madeTable{}
	metrics := features.Metrics(kind)
	if slices.Equal(c.Sets, []string{noSets}) {
		c.Sets = nil
	}
	for _, set := range features.Sets() {
		if slices.Contains(c.Sets, string(set)) {
			metrics = append(metrics, features.SetMetrics(kind, set)...)
		}
	}
	for _, name := range c.Sets {
		if _, err := features.ParseSet(name); err != nil {
			return nil, fmt.Errorf("--sets: %w", err)
		}
	}
	mappings, err := mappingsOf(c.Config)
	if err != nil {
		return nil, err
	}
	metrics = append(metrics, mappings.Extra(kind)...)
	if c.made.schema, err = features.NewSchema(kind, metrics, c.Windows); err != nil {
		return nil, fmt.Errorf("--windows: %w", err)
	}
	c.Label, c.Time, c.Group, c.TimeUnit = columnLabel, columnHour, recording.ColumnComponent, "hours"
	c.Drop = append(c.Drop, recording.ColumnTime, recording.ColumnIndex, columnEvent)
	if c.Embargo.n == 0 && c.kind(c.searching()) != train.ByGroup {
		c.Embargo.n = (c.Lead + c.Horizon).Hours()
	}
	if c.kind(false) == "" && c.Valid == "" && !c.searching() {
		if err := c.Holdout.UnmarshalText([]byte(defaultHeld)); err != nil {
			return nil, err
		}
	}
	switch {
	case c.Calibrate != "":
	case c.Members > 1 && c.Continue == "": // no rows need be set apart
		c.Calibrate = outOfBag + ":" + defaultHeld
	default:
		c.Calibrate = defaultHeld
	}
	if c.Table = c.TableOut; c.Table == "" {
		if c.made.dir, err = os.MkdirTemp("", "forestall-train-"); err != nil {
			return nil, err
		}
		c.Table = filepath.Join(c.made.dir, "telemetry.parquet")
	}
	return func() {
		if c.made.dir != "" {
			os.RemoveAll(c.made.dir)
		}
	}, nil
}

// makeTable replays the telemetry and writes the rows that can be learnt from.
func (c *trainCmd) makeTable(g *globals) (err error) {
	m := c.made
	longest := m.schema.Windows()[len(m.schema.Windows())-1]
	done, err := c.fetch(g, longest)
	if err != nil {
		return err
	}
	defer done()
	if m.replay, err = c.open(g.ctx, m.schema.Kind(), c.Lead, c.Horizon); err != nil {
		return err
	}
	m.spread = model.NewDistributionBuilder(len(m.schema.Names()), c.Seed)
	if c.Unlike > 0 {
		m.usual = predict.NewUnlikeFit(m.schema, c.Drop)
	}
	newer := m.replay.begin.Add(m.replay.to.Sub(m.replay.begin) / 2)
	reported := make([]bool, len(m.schema.Names()))
	_, err = createFile(c.Table, func(f *os.File) (int64, error) {
		w, err := recording.NewWriter(f, recording.Table, m.schema.Kind(), m.schema.Version(), append(slices.Clone(m.schema.Names()), columnLabel, columnHour, columnEvent))
		if err != nil {
			return 0, err
		}
		var row []float64
		opt := train.VectorOptions{Schema: m.schema, Interval: c.Interval, Labeler: m.replay.labeler, From: m.replay.begin}
		m.counts, err = train.Vectors(m.replay.scrapes(g.ctx), opt, func(r *train.VectorRow) error {
			if !r.Verdict.Trains() {
				return nil
			}
			m.spread.Add(r.Vector)
			if m.usual != nil && r.Verdict == train.Negative {
				if r.Time.Before(newer) {
					m.usual.Learn(r.Vector)
				} else if err := m.usual.Hold(r.Component, r.Time, r.Vector); err != nil {
					return err
				}
			}
			for i, v := range r.Vector {
				reported[i] = reported[i] || !math.IsNaN(v)
			}
			label, event := 0.0, math.NaN()
			if r.Verdict == train.Positive {
				label = 1
			}
			if !r.Next.IsZero() {
				event = m.replay.hours(r.Next)
			}
			row = append(append(row[:0], r.Vector...), label, m.replay.hours(r.Time), event)
			return w.Write(r.Time, r.Component, row, nil)
		})
		if err != nil {
			return 0, err
		}
		return w.Rows(), w.Close()
	})
	if err != nil {
		return err
	}
	m.replay.tell(view{out: g.out, color: g.color}, &m.counts)
	for i, name := range m.schema.Names() {
		if !reported[i] && !slices.Contains(c.Drop, name) {
			c.Drop = append(c.Drop, name) // nothing can be learnt from it
		}
	}
	return c.checkRows()
}

// checkRows reports telemetry from which nothing can be learnt.
func (c *trainCmd) checkRows() error {
	m := c.made
	positive, negative := m.counts.Verdicts[train.Positive], m.counts.Verdicts[train.Negative]
	absent := m.replay.absent(m.counts.Rows)
	switch {
	case positive+negative > 0 && positive > 0 && negative > 0:
		return nil
	case len(absent) == len(m.replay.failing):
		return fmt.Errorf("none of the components that failed has a row: %s. Names must be the same in the telemetry, which has %s, and in %s", someOf(absent), someOf(componentsOf(m.counts.Rows)), c.Incidents)
	case positive == 0:
		return fmt.Errorf("no row is positive: no telemetry lies between %s and %s before one of the %s: record longer, lengthen --horizon, shorten --lead, --interval or the first of --windows",
			c.Lead, c.Lead+c.Horizon, textCount(len(m.replay.incidents), "incident"))
	}
	return errors.New("no row is negative: each row has an incident within the horizon, or what came after is not known: shorten --horizon, or record longer")
}

func componentsOf(rows map[forestall.Component]int) (all []forestall.Component) {
	for c := range rows {
		all = append(all, c)
	}
	slices.SortFunc(all, forestall.Component.Compare)
	return all
}

// describe says in the card what the model is for.
func (m *madeTable) describe(c *trainCmd, card *model.Card) {
	if m == nil {
		return
	}
	card.Kind, card.Schema, card.Lead = m.schema.Kind().String(), m.schema.Version(), model.Duration(c.Lead)
	for _, w := range m.schema.Windows() {
		card.Windows = append(card.Windows, model.Duration(w))
	}
	var place []int
	for _, name := range card.Features {
		if i, ok := m.schema.Index(name); ok {
			place = append(place, i)
		}
	}
	if len(place) == len(card.Features) {
		card.Distribution = m.spread.Distribution(place)
	}
	if m.usual != nil {
		card.Unlike, m.unusual = m.usual.Unlike(c.Unlike)
	}
	card.Training.From, card.Training.To = m.replay.begin, m.replay.to
	card.Training.Notes = fmt.Sprintf("telemetry of %s, a row every %s; %s; ", textCount(len(m.counts.Rows), m.schema.Kind().String()), c.Interval, textCount(len(m.replay.incidents), "incident")) + card.Training.Notes
}
