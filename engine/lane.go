package engine

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/predict"
)

// lane is a model at work on one kind of component: its windows and what scores
// them.
type lane struct {
	kind   forestall.Kind
	digest string       // of the model's card; "" without a model
	model  *model.Model // nil: nothing judges the kind; its windows are kept for later
	schema *features.Schema
	store  *features.Store // of this kind alone; lanes of the same schema share it
	scorer *predict.Scorer
}

// laneKinds are the kinds that telemetry can be of, in the order of risks.
var laneKinds = []forestall.Kind{forestall.KindNode, forestall.KindGPU, forestall.KindAgent, forestall.KindService}

// laneConfig is how components are judged, and the windows of those that no model
// judges.
type laneConfig struct {
	predict.Config
	windows []time.Duration
}

// newLane puts a model to work, nil for none. It takes over the windows of the
// others, where theirs are the same.
func newLane(kind forestall.Kind, m *model.Model, cfg laneConfig, extra []features.Metric, others ...*lane) (l *lane, err error) {
	l = &lane{kind: kind, model: m}
	models := map[forestall.Kind]*model.Model{}
	if m == nil {
		l.schema, err = features.NewSchema(kind, append(features.Metrics(kind), extra...), cfg.windows)
	} else {
		models[kind] = m
		l.schema, err = predict.SchemaFor(m, extra...)
		if err == nil {
			l.digest, err = m.Card.Digest()
		}
	}
	if err != nil {
		return nil, err
	}
	schemas := map[forestall.Kind]*features.Schema{kind: l.schema}
	if l.scorer, err = predict.New(models, schemas, cfg.Config); err != nil {
		return nil, err
	}
	for _, o := range others {
		if o != nil && o.schema.Version() == l.schema.Version() && slices.Equal(o.schema.Names(), l.schema.Names()) {
			l.store = o.store
			return l, nil
		}
	}
	l.store = features.NewStore(schemas)
	return l, nil
}

// lanes are the champions, whose risks count, and what runs in their shadow.
type lanes struct {
	mu       sync.RWMutex
	champion map[forestall.Kind]*lane
	shadow   map[forestall.Kind]*lane
}

func newLanes() *lanes {
	return &lanes{champion: map[forestall.Kind]*lane{}, shadow: map[forestall.Kind]*lane{}}
}

// of returns the lanes of a kind; nil where there is none.
func (l *lanes) of(kind forestall.Kind) (champion, shadow *lane) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.champion[kind], l.shadow[kind]
}

// judged reports whether a model judges a kind.
func (l *lanes) judged(kind forestall.Kind) bool {
	champion, _ := l.of(kind)
	return champion != nil && champion.model != nil
}

func (l *lanes) set(champion, shadow *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.champion[champion.kind] = champion
	if delete(l.shadow, champion.kind); shadow != nil {
		l.shadow[champion.kind] = shadow
	}
}

// stores returns the windows of a kind, the champion's first.
func (l *lanes) stores(kind forestall.Kind) (all []*features.Store) {
	champion, shadow := l.of(kind)
	if champion != nil {
		all = append(all, champion.store)
	}
	if shadow != nil && (champion == nil || shadow.store != champion.store) {
		all = append(all, shadow.store)
	}
	return all
}

// all returns every lane, the champions first.
func (l *lanes) all() (all []*lane) {
	for _, kind := range laneKinds {
		champion, shadow := l.of(kind)
		all = append(all, champion, shadow)
	}
	return slices.DeleteFunc(all, func(l *lane) bool { return l == nil })
}

// longest returns the longest window of a kind in any lane; 0: nothing keeps it.
func (l *lanes) longest(kind forestall.Kind) (longest time.Duration) {
	champion, shadow := l.of(kind)
	for _, lane := range []*lane{champion, shadow} {
		if lane != nil {
			windows := lane.schema.Windows()
			longest = max(longest, windows[len(windows)-1])
		}
	}
	return longest
}

// push gives a scrape to every lane of its kind. The champion's windows tell
// whether it was taken; one that a shadow alone refuses is older than that shadow.
func (l *lanes) push(samples []forestall.Sample, latency time.Duration) error {
	err := features.ErrNoSchema
	for i, store := range l.stores(samples[0].Component.Kind) {
		if e := store.Push(samples, latency); i == 0 {
			err = e
		}
	}
	return err
}

// pushMissing says that a component was asked and reported nothing.
func (l *lanes) pushMissing(c forestall.Component, at time.Time, latency time.Duration) error {
	err := features.ErrNoSchema
	for i, store := range l.stores(c.Kind) {
		if e := store.PushMissing(c, at, latency); i == 0 {
			err = e
		}
	}
	return err
}

// hear says that a component's source answered and had nothing new.
func (l *lanes) hear(c forestall.Component, at time.Time) {
	for _, store := range l.stores(c.Kind) {
		store.Hear(c, at)
	}
}

// expect says how old the newest scrape of a component may become.
func (l *lanes) expect(c forestall.Component, patience time.Duration) {
	for _, store := range l.stores(c.Kind) {
		store.Expect(c, patience)
	}
}

func (l *lanes) forget(c forestall.Component) {
	for _, store := range l.stores(c.Kind) {
		store.Forget(c)
	}
}

// with calls fn with a component's window in the champion's lane.
func (l *lanes) with(c forestall.Component, fn func(*features.Window)) bool {
	champion, _ := l.of(c.Kind)
	return champion != nil && champion.store.With(c, fn)
}

// components returns all that have windows.
func (l *lanes) components() (all []forestall.Component) {
	for _, kind := range laneKinds {
		if champion, _ := l.of(kind); champion != nil {
			all = append(all, champion.store.Components()...)
		}
	}
	return all
}

// score returns the risks of all components, and by component what the shadows
// say.
func (l *lanes) score(now time.Time) (risks []forestall.Risk, shadows map[forestall.Component]forestall.Risk) {
	shadows = map[forestall.Component]forestall.Risk{}
	for _, kind := range laneKinds {
		champion, shadow := l.of(kind)
		if champion == nil {
			continue
		}
		risks = append(risks, champion.scorer.ScoreAll(now, champion.store)...)
		if shadow == nil {
			continue
		}
		for _, r := range shadow.scorer.ScoreAll(now, shadow.store) {
			shadows[r.Component] = r
		}
	}
	return risks, shadows
}

var _ prometheus.Collector = (*lanes)(nil)

// Describe implements [prometheus.Collector].
func (l *lanes) Describe(ch chan<- *prometheus.Desc) { (*predict.Scorer)(nil).Describe(ch) }

// Collect implements [prometheus.Collector] with what the champions say.
func (l *lanes) Collect(ch chan<- prometheus.Metric) {
	for _, kind := range laneKinds {
		if champion, _ := l.of(kind); champion != nil {
			champion.scorer.Collect(ch)
		}
	}
}
