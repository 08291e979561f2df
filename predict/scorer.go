package predict

import (
	"errors"
	"fmt"
	"math"
	"strings"
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
// what the model was trained on, or lacks most of it.
const Blind = "blind: "

// Silent is the note of a risk that is Unknown because all scrapes of the
// component have been empty.
const Silent = "none of its metrics has been reported for as long as the longest window reaches"

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
	at         *layout    // of its schema
	weight     []float64  // of the schema's metrics in what the model looks at; see sights
	fixed      thresholds // the card's or the configuration's
	thresholds thresholds // in force; the scorer's lock guards them
	odds       atomic.Pointer[correction]
	drift      *Drift    // nil: the card does not say how its training data lay
	unlike     *unlike   // nil: the card does not say what ordinary operation is
	blind      float64   // share of what the model weighs from which a window is too strange
	unseenFrom float64   // and from which too much of it is missing
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
	var err error
	if j.unlike, err = newUnlike(m, cfg.Hysteresis); err != nil {
		return nil, err
	}
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
	j.at = newLayout(schema)
	j.weight, j.unseenFrom = j.sights(), blindFrom(&m.Card, cfg.Drift)
	n := m.NumFeatures()
	j.buffers.New = func() any {
		return &buffers{make([]float64, len(schema.Names())), make([]float64, n), make([]float64, n+1)}
	}
	return j, nil
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

// ScoreAll judges every component of the store at now, in the store's order,
// and forgets what the store no longer has.
//
// A risk is Unknown, with a note that says why, when no model judges its kind, when
// the window is of another schema, does not yet cover its shortest span, is older
// than Config.Stale and than its source is slow ([features.Window.Expect]) or ahead of now by more than it (and more than a minute), or has
// been without any value for its longest span. It is also Unknown, [Blind], where it
// would be Healthy and too much of what the model weighs is missing or lies outside
// of the range that it was trained on.
//
// What a GPU reports no more counts only where a sibling on its node reports it
// still; see [Collapse].
func (s *Scorer) ScoreAll(now time.Time, store *features.Store) []forestall.Risk {
	components := store.Components()
	risks := make([]forestall.Risk, 0, len(components))
	seen := make(map[forestall.Component]bool, len(components))
	for begin, end := 0, 0; begin < len(components); begin = end {
		for end = begin + 1; end < len(components) && areSiblings(components[begin], components[end]); {
			end++
		}
		risks = append(risks, s.score(now, store, components[begin:end], nil)...)
	}
	for _, c := range components {
		seen[c] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.latest {
		if !seen[c] {
			delete(s.latest, c)
			delete(s.grades, c)
			s.judges[c.Kind].forget(c)
		}
	}
	return risks
}

// areSiblings reports whether two components are GPUs of one node.
func areSiblings(a, b forestall.Component) bool {
	return a.Kind == forestall.KindGPU && b.Kind == forestall.KindGPU && a.NodeName() == b.NodeName()
}

// score judges those of some siblings, or of one component, that are due, nil for
// all. Those without a window have no risk.
func (s *Scorer) score(now time.Time, store *features.Store, siblings []forestall.Component, due map[forestall.Component]bool) (risks []forestall.Risk) {
	round := make([]*seen, 0, len(siblings))
	j := s.judges[siblings[0].Kind]
	for _, c := range siblings {
		store.With(c, func(w *features.Window) { round = append(round, s.look(j, c, now, w)) })
	}
	for _, one := range round {
		if due == nil || due[one.component] {
			risks = append(risks, s.grade(s.judge(j, one, round)))
		}
	}
	for _, one := range round {
		if one.buffers != nil {
			j.buffers.Put(one.buffers)
		}
	}
	return risks
}

// grade gives a risk the grade that follows from the one before.
func (s *Scorer) grade(r forestall.Risk, blind string) forestall.Risk {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := r.Component
	if r.Grade == forestall.Unknown {
		s.judges[c.Kind].forget(c)
	} else {
		now := s.judges[c.Kind].thresholds.next(r.Probability, s.grades[c])
		r.Grade, s.grades[c] = now.grade, now
	}
	switch {
	case blind == "":
	case r.Grade == forestall.Healthy:
		// That nothing is wrong cannot be told from where the model has never been,
		// or what it does not see. An alarm stands: what is extreme is often what is
		// failing.
		r = forestall.UnknownRisk(c, r.Time, blind)
	case r.Grade != forestall.Unknown:
		r.Note = strings.TrimPrefix(blind, Blind)
	}
	s.latest[c] = r
	return r
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

// look takes a component's window as it is.
func (s *Scorer) look(j *judge, c forestall.Component, now time.Time, w *features.Window) *seen {
	one := &seen{component: c, last: w.Last()}
	unknown := func(format string, args ...any) *seen {
		one.unknown = fmt.Sprintf(format, args...)
		return one
	}
	if j == nil {
		return unknown("no model judges components of kind %s", c.Kind)
	}
	if v := w.Schema().Version(); v != j.schema.Version() {
		return unknown("its window has schema %s, the model needs %s", v, j.schema.Version())
	}
	if ok, note := w.Ready(); !ok {
		return unknown("%s", note)
	}
	switch gap, stale := w.Gap(now), max(s.cfg.Stale, w.Patience()); {
	case gap > stale:
		return unknown("its newest sample is %s old; more than %s is stale", gap.Round(time.Second), stale)
	case -gap > max(s.cfg.Stale, features.RestartAfter):
		return unknown("its newest sample is %s ahead of this engine's clock: one of the two clocks is wrong, or was set back", -gap.Round(time.Second))
	}
	one.buffers = j.buffers.Get().(*buffers)
	one.buffers.vector = w.Vector(one.buffers.vector)
	for m, i := range j.at.newest {
		if j.weight[m] > 0 && math.IsNaN(one.buffers.vector[i]) && !math.IsNaN(w.Newest(j.schema.Metrics()[m].Name)) {
			one.had = append(one.had, m)
		}
	}
	one.silent = one.buffers.vector[j.at.reported] == 0 && one.buffers.vector[j.at.vanished[len(j.at.vanished)-1]] == 0
	return one
}

// judge returns the risk without regard to what it was before: a known one is
// Healthy for the time being. blind says why that could not be said of it.
func (s *Scorer) judge(j *judge, one *seen, siblings []*seen) (r forestall.Risk, blind string) {
	unknown := func(note string) (forestall.Risk, string) {
		return forestall.UnknownRisk(one.component, one.last, note), ""
	}
	if one.buffers == nil {
		return unknown(one.unknown)
	}
	var witnesses [][]float64
	if one.component.Kind == forestall.KindGPU {
		witnesses = j.witnesses(one, siblings)
	}
	if one.silent && len(witnesses) > 0 {
		return unknown(nothing(len(witnesses)))
	}
	if one.silent {
		return unknown(Silent)
	}
	r, blind, err := j.score(one, witnesses, s.cfg.Reasons)
	if err != nil {
		return unknown(fmt.Sprintf("model %s: %v", j.model.Card.Version, err))
	}
	r.Component, r.Time = one.component, one.last
	return r, blind
}

// forget drops how a component stands that is not known any more.
func (j *judge) forget(c forestall.Component) {
	if j != nil && j.unlike != nil {
		j.unlike.forget(c)
	}
}

// describe returns what a feature of the model is.
func (j *judge) describe(feature int) features.Feature { return j.schema.Describe(j.place[feature]) }

func (j *judge) score(one *seen, witnesses [][]float64, reasons int) (r forestall.Risk, blind string, err error) {
	b := one.buffers
	for f, i := range j.place {
		b.row[f] = b.vector[i]
	}
	odds := j.odds.Load()
	if j.unlike != nil {
		if err := j.unlike.take(one.component, one.last, b.row, j.describe); err != nil {
			return r, "", err
		}
	}
	if j.drift != nil {
		j.drift.observe(b.row, one.last)
		if share := j.drift.beyond(b.row); share >= j.blind {
			blind = fmt.Sprintf("%sout of distribution: %.0f %% of what the model weighs lies outside of its training (%s)", Blind, 100*share, j.drift.strangest(b.row, j.describe))
		}
	}
	var source sourced
	if one.component.Kind == forestall.KindGPU {
		source = j.source(one, witnesses)
	}
	r = forestall.Risk{
		Note:    source.note(j, len(witnesses)),
		Horizon: time.Duration(j.model.Card.Horizon),
		Grade:   forestall.Healthy,
		Model:   odds.version,
	}
	if unseen := j.unseen(one, source.own, len(witnesses)); unseen != "" {
		if blind = unseen; r.Note != "" {
			blind += "; " + r.Note
		}
	}
	raw, err := j.model.Raw(b.row)
	if err != nil {
		return r, "", err
	}
	err = j.model.Contributions(b.row, b.shares)
	switch {
	case errors.Is(err, model.ErrNoCounts): // a score without an explanation is still one
		if len(source.lost) > 0 {
			return r, "", fmt.Errorf("%s; without the counts of its leaves it cannot leave that out", r.Note)
		}
	case err != nil:
		return r, "", err
	default:
		for _, f := range source.masked {
			if b.shares[f] > 0 {
				raw -= b.shares[f]
				b.shares[f] = 0
			}
		}
		r.Reasons = j.reasons(b, reasons)
	}
	p, err := j.model.ProbabilityOf(raw)
	r.Probability = timesOdds(min(max(p, 0), 1), odds.factor)
	return r, blind, err
}
