package engine

import (
	"context"
	"errors"
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
	watch *anomaly.Watch
	grade forestall.Grade // that a healthy component which is unusual counts as; Healthy: no other
	stale time.Duration

	stands map[forestall.Component]bool // those that are unusual, scoreAll's
}

// openUnusual begins to watch, unless the configuration says otherwise.
func (e *Engine) openUnusual(t *telemetry) error {
	c := e.cfg.Anomaly
	if c.Alarms == 0 || !e.cfg.FaultTolerance.PredictionEnabled {
		return nil
	}
	w, err := anomaly.NewWatch(c.learn())
	if err != nil {
		return err
	}
	t.unusual = &unusual{watch: w, grade: c.grade(), stale: e.scoring.Stale, stands: map[forestall.Component]bool{}}
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

// apply adds to risks how unusual their components are. One that its model finds
// healthy counts as what the configuration says while it is unusual; whatever a
// model says worse stands. Unknown stays unknown: that something is unusual gives
// no probability. The predictions that are judged later are those without it.
func (t *telemetry) apply(risks []forestall.Risk, now time.Time) {
	u := t.unusual
	if u == nil {
		return
	}
	cfg := u.watch.Config()
	for i := range risks {
		r := &risks[i]
		s, ok := u.watch.Standing(r.Component)
		if !ok {
			continue
		}
		t.lanes.with(r.Component, func(w *features.Window) { // whose source may have had nothing new since
			if heard := now.Add(-w.Gap(now)); w.Last().Equal(s.Last) && heard.After(s.Last) {
				s.Last = heard
			}
		})
		a := predict.AnomalyOf(s, cfg, now, u.stale)
		r.Anomaly = &a
		u.tell(t, r.Component, a)
		if a.State == forestall.Unusual && r.Grade == forestall.Healthy && u.grade > forestall.Healthy {
			t.raise(r, a)
		}
	}
	for _, c := range u.watch.Components() {
		if s, ok := u.watch.Standing(c); ok && now.Sub(s.Last) > cfg.Memory {
			u.watch.Forget(c) // a device or target that is no more
			delete(u.stands, c)
		}
	}
}

// raise counts a healthy component as worse because it is unusual.
func (t *telemetry) raise(r *forestall.Risk, a forestall.Anomaly) {
	r.Grade = t.unusual.grade
	why := "unusual for itself since " + a.Since.Format("15:04") + ": " + strings.Join(a.Reasons, "; ")
	r.Reasons = append([]forestall.Reason{{Feature: "anomaly", Value: a.Score, Text: why}}, r.Reasons...)
	note := "its model finds it healthy; it counts as " + r.Grade.String() + " because it is unusual"
	if r.Grade == forestall.Failing {
		if champion, _ := t.lanes.of(r.Component.Kind); champion != nil {
			if _, failing, ok := champion.scorer.Thresholds(r.Component.Kind); ok {
				r.Probability = max(r.Probability, failing)
				note += ", with the probability from which components are failing (anomaly.counts_as)"
			}
		}
	}
	if r.Note != "" {
		note = r.Note + "; " + note
	}
	r.Note = note
}

// tell logs when a component becomes unusual and when it ceases to be, once each.
func (u *unusual) tell(t *telemetry, c forestall.Component, a forestall.Anomaly) {
	now := a.State == forestall.Unusual
	if u.stands[c] == now {
		return
	}
	if u.stands[c] = now; now {
		t.log.Warn("component is unusual for itself", "component", c, "score", a.Score, "threshold", a.Threshold, "why", strings.Join(a.Reasons, "; "))
		return
	}
	delete(u.stands, c)
	t.log.Info("component is unusual no more", "component", c, "state", a.State)
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
			earlier.Replay(scrape[0].Component, scrape[0].Time, scrape)
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
	var names []string
	for _, r := range v.telemetry.Risks() {
		if r.Anomaly != nil && r.Anomaly.State == forestall.Unusual {
			names = append(names, r.Component.String())
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	const most = 5
	more := ""
	if n := len(names) - most; n > 0 {
		names, more = names[:most], " and others"
	}
	return []string{"unusual for themselves: " + strings.Join(names, ", ") + more + "; `forestall risk COMPONENT` says why"}
}
