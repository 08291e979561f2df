package predict

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/model"
)

// ErrModel is wrapped by every error about a model that cannot score what it is
// meant to.
var ErrModel = errors.New("model does not fit")

// Blind begins the note of a risk that is Unknown because its window is unlike
// what the model was trained on.
const Blind = "blind: "

// Silent is the note of a risk that is Unknown because all scrapes of the
// component have been empty.
const Silent = "none of its metrics has been reported for as long as the longest window reaches"

var errSilent = errors.New(Silent)

// Scorer scores components, each kind with its own model. Its methods may be
// called concurrently.
type Scorer struct {
	cfg    Config
	judges map[forestall.Kind]*judge

	mu     sync.Mutex
	latest map[forestall.Component]forestall.Risk
	grades map[forestall.Component]standing // the last known one
}

// judge is one model, mapped onto its schema.
type judge struct {
	model      *model.Model
	schema     *features.Schema
	place      []int      // model feature -> position in the schema's vector
	last       []int      // model feature -> position of its metric's last value, -1: none
	since      []int      // model feature -> position of how long its metric has not changed, -1: none
	reported   int        // position of the share of metrics that the newest scrape has
	vanished   int        // position of how many it lacks of those the longest window saw
	fixed      thresholds // the card's or the configuration's
	thresholds thresholds // in force; the scorer's lock guards them
	odds       atomic.Pointer[correction]
	drift      *Drift    // nil: the card does not say how its training data lay
	blind      float64   // share of what the model weighs from which a window is too strange
	buffers    sync.Pool // *buffers
}

// correction is what a model's odds are multiplied by, and what its predictions
// call it since.
type correction struct {
	factor  float64
	version string
}

// buffers are what one score needs besides the model.
type buffers struct{ vector, row, shares []float64 }

// New returns a scorer. Each model must be for the kind it is registered under,
// and each of its features must be in that kind's schema, by name; the error
// otherwise wraps [ErrModel] and names what does not fit. A kind without a model
// scores Unknown.
func New(models map[forestall.Kind]*model.Model, schemas map[forestall.Kind]*features.Schema, cfg Config) (*Scorer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Scorer{
		cfg:    cfg,
		judges: map[forestall.Kind]*judge{},
		latest: map[forestall.Component]forestall.Risk{},
		grades: map[forestall.Component]standing{},
	}
	for kind, m := range models {
		j, err := newJudge(kind, m, schemas[kind], cfg)
		if err != nil {
			return nil, fmt.Errorf("%w: %s model %q: %w", ErrModel, kind, m.Card.Name, err)
		}
		s.judges[kind] = j
	}
	return s, nil
}

func newJudge(kind forestall.Kind, m *model.Model, schema *features.Schema, cfg Config) (*judge, error) {
	if m.Card.Kind != kind.String() {
		return nil, fmt.Errorf("its card says it is for kind %q", m.Card.Kind)
	}
	if schema == nil {
		return nil, errors.New("there is no schema for its kind")
	}
	if schema.Kind() != kind {
		return nil, fmt.Errorf("schema %s is for kind %s", schema.Version(), schema.Kind())
	}
	j := &judge{model: m, schema: schema, thresholds: thresholds{cfg.SuspectAt, cfg.FailingAt, cfg.Hysteresis}}
	if t := m.Card.Thresholds; t != nil {
		j.thresholds.suspect, j.thresholds.failing = t.Suspect, t.Failing
	}
	j.fixed = j.thresholds
	j.odds.Store(&correction{1, m.Card.Version})
	j.drift, j.blind = newDrift(m, cfg.Drift), cfg.Drift.Blind
	for _, name := range m.Features() {
		i, ok := schema.Index(name)
		if !ok {
			return nil, fmt.Errorf("feature %q is not in schema %s; use the windows %v of its card", name, schema.Version(), m.Card.Windows)
		}
		at := func(stat string) int {
			if k, ok := schema.Index(schema.Describe(i).Metric + "_" + stat); ok {
				return k
			}
			return -1
		}
		j.place, j.last, j.since = append(j.place, i), append(j.last, at(features.StatLast)), append(j.since, at(features.StatSinceChange))
	}
	j.reported, j.vanished = ownFeatures(schema)
	n := m.NumFeatures()
	j.buffers.New = func() any {
		return &buffers{make([]float64, len(schema.Names())), make([]float64, n), make([]float64, n+1)}
	}
	return j, nil
}

// ownFeatures returns the positions of the two features that tell whether a
// window says anything at all.
func ownFeatures(schema *features.Schema) (reported, vanished int) {
	for i := range schema.Names() {
		switch d := schema.Describe(i); {
		case d.Metric == "series" && d.Stat == features.StatLast:
			reported = i
		case d.Stat == features.StatVanished: // the last one is of the longest window
			vanished = i
		}
	}
	return reported, vanished
}

// SchemaFor returns the schema that a model was made for: the metrics of its
// card's kind, with those of [features.Sets] and the extra ones of mapping tables
// that the schema has which the card names, over its card's windows. The error wraps [ErrModel] when the
// card's kind or windows are not usable, or a feature is not among them.
func SchemaFor(m *model.Model, extra ...features.Metric) (*features.Schema, error) {
	bad := func(err error) error { return fmt.Errorf("%w: model %q: %w", ErrModel, m.Card.Name, err) }
	kind, err := forestall.ParseKind(m.Card.Kind)
	if err != nil {
		return nil, bad(err)
	}
	var windows []time.Duration
	for _, w := range m.Card.Windows {
		windows = append(windows, time.Duration(w))
	}
	schema, err := features.NewSchema(kind, features.Metrics(kind), windows)
	if err != nil {
		return nil, bad(err)
	}
	if v := m.Card.Schema; v != "" && v != schema.Version() {
		found, err := features.FindSchema(kind, windows, v, extra)
		if err != nil {
			return nil, bad(err)
		}
		if found == nil {
			return nil, bad(fmt.Errorf("its card names schema %s; this version's is %s, and no set of metrics beside it gives that one; train it anew", v, schema.Version()))
		}
		schema = found
	}
	return schema, nil
}

// Score judges a component from its window at now. The risk is Unknown, with a
// note that says why, when no model judges its kind, when the window is of
// another schema, does not yet cover its shortest span, is older than
// Config.Stale or ahead of now by more than it (and more than a minute), or has been without any value for its longest span. It is also Unknown, blind,
// where it would be Healthy and too much of what the model weighs lies outside
// of the range that it was trained on.
func (s *Scorer) Score(c forestall.Component, now time.Time, w *features.Window) forestall.Risk {
	r := s.judge(c, now, w)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Grade != forestall.Unknown {
		now := s.judges[c.Kind].thresholds.next(r.Probability, s.grades[c])
		r.Grade, s.grades[c] = now.grade, now
	}
	if r.Grade == forestall.Healthy && r.Note != "" {
		// That nothing is wrong cannot be told from where the model has never
		// been. An alarm stands: what is extreme is often what is failing.
		r = forestall.UnknownRisk(c, r.Time, Blind+r.Note)
	}
	s.latest[c] = r
	return r
}

// ScoreAll judges every component of the store at now, in the store's order,
// and forgets what the store no longer has.
func (s *Scorer) ScoreAll(now time.Time, store *features.Store) []forestall.Risk {
	components := store.Components()
	risks := make([]forestall.Risk, 0, len(components))
	seen := make(map[forestall.Component]bool, len(components))
	for _, c := range components {
		store.With(c, func(w *features.Window) {
			risks = append(risks, s.Score(c, now, w))
			seen[c] = true
		})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.latest {
		if !seen[c] {
			delete(s.latest, c)
			delete(s.grades, c)
		}
	}
	return risks
}

// Thresholds returns the probabilities from which components of the kind are
// Suspect and Failing, as the model's card or the configuration has them;
// false where no model judges the kind.
func (s *Scorer) Thresholds(kind forestall.Kind) (suspect, failing float64, ok bool) {
	j := s.judges[kind]
	if j == nil {
		return 0, 0, false
	}
	return j.fixed.suspect, j.fixed.failing, true
}

// SetOdds has the odds of a kind's probabilities multiplied by a positive factor,
// from the next score on, and the factor added to the version that its risks name:
// they are judged as those of another model.
func (s *Scorer) SetOdds(kind forestall.Kind, factor float64) {
	j := s.judges[kind]
	if j == nil || j.odds.Load().factor == factor {
		return
	}
	version := j.model.Card.Version
	if factor != 1 {
		version = fmt.Sprintf("%s odds x %.3g", version, factor)
	}
	j.odds.Store(&correction{factor, version})
}

// Odds returns what the odds of a kind's probabilities are multiplied by, and the
// version that its risks name; 1 and none where no model judges the kind.
func (s *Scorer) Odds(kind forestall.Kind) (factor float64, version string) {
	j := s.judges[kind]
	if j == nil {
		return 1, ""
	}
	c := j.odds.Load()
	return c.factor, c.version
}

// Drift returns what a kind's telemetry is compared with, nil where no model
// judges the kind or its card does not say how its training data lay.
func (s *Scorer) Drift(kind forestall.Kind) *Drift {
	if j := s.judges[kind]; j != nil {
		return j.drift
	}
	return nil
}

// SetThresholds replaces those of a kind that a model judges, from the next
// score on: a grade that stands by a lower one stays. A value above 1 is never
// reached.
func (s *Scorer) SetThresholds(kind forestall.Kind, suspect, failing float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.judges[kind]; j != nil {
		j.thresholds.suspect, j.thresholds.failing = min(suspect, failing), failing
	}
}

// judge returns the risk without regard to what it was before: a known one is
// Healthy for the time being.
func (s *Scorer) judge(c forestall.Component, now time.Time, w *features.Window) forestall.Risk {
	unknown := func(format string, args ...any) forestall.Risk {
		return forestall.UnknownRisk(c, w.Last(), fmt.Sprintf(format, args...))
	}
	j := s.judges[c.Kind]
	if j == nil {
		return unknown("no model judges components of kind %s", c.Kind)
	}
	if v := w.Schema().Version(); v != j.schema.Version() {
		return unknown("its window has schema %s, the model needs %s", v, j.schema.Version())
	}
	if ok, note := w.Ready(); !ok {
		return unknown("%s", note)
	}
	switch gap := w.Gap(now); {
	case gap > s.cfg.Stale:
		return unknown("its newest sample is %s old; more than %s is stale", gap.Round(time.Second), s.cfg.Stale)
	case -gap > max(s.cfg.Stale, features.RestartAfter):
		return unknown("its newest sample is %s ahead of this engine's clock: one of the two clocks is wrong, or was set back", -gap.Round(time.Second))
	}
	r, err := j.score(w, s.cfg.Reasons)
	if errors.Is(err, errSilent) {
		return unknown("%v", err)
	}
	if err != nil {
		return unknown("model %s: %v", j.model.Card.Version, err)
	}
	r.Component, r.Time = c, w.Last()
	return r
}

// describe returns what a feature of the model is.
func (j *judge) describe(feature int) features.Feature { return j.schema.Describe(j.place[feature]) }

func (j *judge) score(w *features.Window, reasons int) (forestall.Risk, error) {
	b := j.buffers.Get().(*buffers)
	defer j.buffers.Put(b)
	b.vector = w.Vector(b.vector)
	if b.vector[j.reported] == 0 && b.vector[j.vanished] == 0 {
		return forestall.Risk{}, errSilent
	}
	for f, i := range j.place {
		b.row[f] = b.vector[i]
	}
	p, err := j.model.Probability(b.row)
	if err != nil {
		return forestall.Risk{}, err
	}
	odds := j.odds.Load()
	note := ""
	if j.drift != nil {
		j.drift.observe(b.row, w.Last())
		if share := j.drift.beyond(b.row); share >= j.blind {
			note = fmt.Sprintf("out of distribution: %.0f %% of what the model weighs lies outside of its training (%s)", 100*share, j.drift.strangest(b.row, j.describe))
		}
	}
	r := forestall.Risk{
		Note:        note,
		Horizon:     time.Duration(j.model.Card.Horizon),
		Probability: timesOdds(min(max(p, 0), 1), odds.factor),
		Grade:       forestall.Healthy,
		Model:       odds.version,
	}
	err = j.model.Contributions(b.row, b.shares)
	switch {
	case errors.Is(err, model.ErrNoCounts): // a score without an explanation is still one
	case err != nil:
		return forestall.Risk{}, err
	default:
		r.Reasons = j.reasons(b, reasons)
	}
	return r, nil
}
