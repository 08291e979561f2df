package engine

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/predict"
	"github.com/stratoswarm/forestall/predict/anomaly"
	"github.com/stratoswarm/forestall/recording"
)

// unusual watches nodes and GPUs for what is unlike their own past: the path that
// needs neither labels nor a model. A nil unusual watches nothing.
type unusual struct {
	watch  *anomaly.Watch
	stale  time.Duration
	stands standings // scoreAll's
}

// openUnusual begins to watch, unless the configuration says otherwise.
func (e *Engine) openUnusual(t *telemetry) error {
	c := e.cfg.Anomaly
	t.counts, t.unlike = c.Grade(), standings{}
	if c.Alarms == 0 || !e.cfg.FaultTolerance.PredictionEnabled {
		return nil
	}
	w, err := anomaly.NewWatch(c.learn())
	if err != nil {
		return err
	}
	t.unusual = &unusual{watch: w, stale: e.scoring.Stale, stands: standings{}}
	e.registry.MustRegister(anomalyStanding{e})
	return nil
}

// scrape takes what was scraped of a component.
func (u *unusual) scrape(c forestall.Component, at time.Time, samples []forestall.Sample) {
	if u != nil && (c.Kind == forestall.KindNode || c.Kind == forestall.KindGPU) {
		u.watch.Scrape(c, at, samples)
	}
}

func (u *unusual) forget(c forestall.Component) {
	if u != nil {
		u.watch.Forget(c)
	}
}

// apply adds to risks how unusual their components are: for themselves, and for what
// their model was trained on. One that its model finds healthy counts as what the
// configuration says while it is either. The predictions that are judged later are
// those without it.
func (t *telemetry) apply(risks []forestall.Risk, now time.Time) {
	for i := range risks {
		r := &risks[i]
		champion, _ := t.lanes.of(r.Component.Kind)
		failing := math.NaN()
		if champion != nil {
			r.Unlike = champion.scorer.Unlike(r.Component)
			if _, at, ok := champion.scorer.Thresholds(r.Component.Kind); ok {
				failing = at
			}
		}
		t.applyOwn(r, now)
		if r.Unlike != nil {
			t.unlike.tell(t.log, r.Component, "unlike what its model was trained on", *r.Unlike)
		}
		predict.Raise(r, t.counts, failing)
	}
	if u := t.unusual; u != nil {
		for _, c := range u.watch.Components() {
			if s, ok := u.watch.Standing(c); ok && now.Sub(s.Last) > u.watch.Config().Memory {
				u.watch.Forget(c) // a device or target that is no more
				delete(u.stands, c)
			}
		}
	}
}

// applyOwn adds how unusual a component is for itself.
func (t *telemetry) applyOwn(r *forestall.Risk, now time.Time) {
	u := t.unusual
	if u == nil {
		return
	}
	s, ok := u.watch.Standing(r.Component)
	if !ok {
		return
	}
	stale := u.stale
	t.lanes.with(r.Component, func(w *features.Window) { // whose source may have had nothing new since
		stale = max(stale, w.Patience())
		if heard := now.Add(-w.Gap(now)); w.Last().Equal(s.Last) && heard.After(s.Last) {
			s.Last = heard
		}
	})
	a := predict.AnomalyOf(s, u.watch.Config(), now, stale)
	r.Anomaly = &a
	u.stands.tell(t.log, r.Component, "unusual for itself", a)
}

// standings are the components that are unusual.
type standings map[forestall.Component]bool

// tell logs when a component becomes unusual and when it ceases to be, once each.
func (s standings) tell(log *slog.Logger, c forestall.Component, how string, a forestall.Anomaly) {
	now := a.State == forestall.Unusual
	if s[c] == now {
		return
	}
	if s[c] = now; now {
		log.Warn("component is "+how, "component", c, "score", a.Score, "threshold", a.Threshold, "why", strings.Join(a.Reasons, "; "))
		return
	}
	delete(s, c)
	log.Info("component is "+how+" no more", "component", c, "state", a.State)
}

// learnPast learns what is usual from the recording, where nothing of it is
// remembered: after an upgrade, or when the record of predictions was lost. It
// takes a while and is done beside the scraping.
func (t *telemetry) learnPast(ctx context.Context, dir string) {
	u, start := t.unusual, t.now()
	cfg := u.watch.Config()
	earlier, err := anomaly.NewWatch(cfg)
	if err == nil {
		err = replay(ctx, dir, start.Add(-cfg.Memory-cfg.Needs()), start, t.refillLimit, func(scrape []forestall.Sample) {
			if !t.takenOut(scrape) {
				earlier.Replay(scrape[0].Component, scrape[0].Time, scrape)
			}
		})
	}
	switch {
	case ctx.Err() != nil || errors.Is(err, recording.ErrEmpty):
		return
	case err != nil:
		t.log.Warn("what is usual could not be learnt from the recording; it is learnt from now on", "dir", dir, "error", err)
	}
	if n := u.watch.Prefer(earlier); n > 0 {
		t.log.Info("learnt from the recording what is usual", "components", n, "took", t.now().Sub(start).Round(time.Millisecond))
	}
}

// replay calls take with the recorded scrapes of nodes and GPUs from a time on and
// before another, in their order.
func replay(ctx context.Context, dir string, since, before time.Time, limit int64, take func([]forestall.Sample)) error {
	part := recording.Part{Since: map[forestall.Kind]time.Time{forestall.KindNode: since, forestall.KindGPU: since}, Limit: limit}
	recent, from, err := recording.Recent(dir, part)
	if err != nil {
		return err
	}
	for scrape, err := range recent.Scrapes(ctx) {
		if err != nil {
			return err
		}
		if at := scrape[0].Time; !at.Before(from) && !at.Before(since) && at.Before(before) {
			take(scrape)
		}
	}
	return nil
}

// anomalyStanding collects how usual this node's components are.
type anomalyStanding struct{ *Engine }

var (
	anomalyScoreDesc = prometheus.NewDesc("fault_tolerance_anomaly_score",
		"How unusual the component's newest minute was for itself; NaN when unknown.", []string{"component", "kind"}, nil)
	anomalyThresholdDesc = prometheus.NewDesc("fault_tolerance_anomaly_threshold",
		"Score from which the component is unusual; NaN while it is learnt, +Inf while nothing is.", []string{"component", "kind"}, nil)
	anomalyStateDesc = prometheus.NewDesc("fault_tolerance_anomaly_components",
		"Components of this engine by whether they are usual for themselves.", []string{"kind", "state"}, nil)
	anomaliesDesc = prometheus.NewDesc("fault_tolerance_anomalies_total",
		"Times that a component became unusual.", []string{"kind"}, nil)
)

// Describe implements [prometheus.Collector].
func (anomalyStanding) Describe(ch chan<- *prometheus.Desc) {
	ch <- anomalyScoreDesc
	ch <- anomalyThresholdDesc
	ch <- anomalyStateDesc
	ch <- anomaliesDesc
}

// Collect implements [prometheus.Collector].
func (s anomalyStanding) Collect(ch chan<- prometheus.Metric) {
	count := map[forestall.Kind]map[forestall.Usualness]int{forestall.KindNode: {}, forestall.KindGPU: {}}
	for _, r := range s.telemetry.Risks() {
		a := r.Anomaly
		if a == nil {
			continue
		}
		labels := []string{r.Component.String(), r.Component.Kind.String()}
		ch <- prometheus.MustNewConstMetric(anomalyScoreDesc, prometheus.GaugeValue, a.Score, labels...)
		ch <- prometheus.MustNewConstMetric(anomalyThresholdDesc, prometheus.GaugeValue, a.Threshold, labels...)
		count[r.Component.Kind][a.State]++
	}
	begins := s.telemetry.unusual.watch.Begins()
	for kind, states := range count {
		for _, state := range []forestall.Usualness{forestall.UsualUnknown, forestall.Usual, forestall.Unusual} {
			ch <- prometheus.MustNewConstMetric(anomalyStateDesc, prometheus.GaugeValue, float64(states[state]), kind.String(), state.String())
		}
		ch <- prometheus.MustNewConstMetric(anomaliesDesc, prometheus.CounterValue, float64(begins[kind]), kind.String())
	}
}

// unusualNotes says what of this engine's components is unusual.
func (v view) unusualNotes() (notes []string) {
	risks := v.telemetry.Risks()
	note := func(how string, of func(*forestall.Risk) *forestall.Anomaly) {
		var names []string
		for i := range risks {
			if a := of(&risks[i]); a != nil && a.State == forestall.Unusual {
				names = append(names, risks[i].Component.String())
			}
		}
		if len(names) == 0 {
			return
		}
		slices.Sort(names)
		const most = 5
		more := ""
		if n := len(names) - most; n > 0 {
			names, more = names[:most], " and others"
		}
		notes = append(notes, how+": "+strings.Join(names, ", ")+more+"; `forestall risk COMPONENT` says why")
	}
	note("unusual for themselves", func(r *forestall.Risk) *forestall.Anomaly { return r.Anomaly })
	note("unlike what their model was trained on", func(r *forestall.Risk) *forestall.Anomaly { return r.Unlike })
	return notes
}
