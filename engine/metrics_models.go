package engine

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/predict"
)

// modelStanding collects what is to be known of the models that judge.
type modelStanding struct{ *Engine }

func modelDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("fault_tolerance_"+name, help, append([]string{"kind"}, labels...), nil)
}

var (
	modelInfoDesc    = modelDesc("model_info", "Always 1: a model at work on this node, in the role of champion or shadow.", "role", "version", "sha256")
	modelTroubleDesc = modelDesc("model_trouble", "1 while this node cannot run a model that the ledger names; the one before goes on.")
	driftWeightDesc  = modelDesc("drift_weight_ratio", "Share of what the champion weighs that has drifted from its training; NaN while too little was compared.")
	driftPSIDesc     = modelDesc("drift_psi", "Population stability index of a feature that has drifted; the weightiest 50.", "feature")
	blindDesc        = modelDesc("blind_components", "Components that are unknown because their windows are out of the model's distribution, or lack most of what it weighs.")
	oddsDesc         = modelDesc("model_odds_factor", "What the odds of the champion's probabilities are multiplied by, as the cluster has agreed; 1: as its card has them.")
	trialZDesc       = modelDesc("model_trial_z", "Standard errors by which the model in the shadow is better than the champion, on this node.")
	trialFailedDesc  = modelDesc("model_trial_failures", "Failures that the trial of champion and shadow has seen on this node.")
)

// maxDriftSeries bounds the features that have a series.
const maxDriftSeries = 50

// Describe implements [prometheus.Collector].
func (modelStanding) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{modelInfoDesc, modelTroubleDesc, driftWeightDesc, driftPSIDesc, blindDesc, oddsDesc, trialZDesc, trialFailedDesc} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (s modelStanding) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	blind := map[forestall.Kind]float64{}
	for _, r := range s.telemetry.Risks() {
		if r.Grade == forestall.Unknown && strings.HasPrefix(r.Note, predict.Blind) {
			blind[r.Component.Kind]++
		}
	}
	for _, kind := range []forestall.Kind{forestall.KindGPU, forestall.KindNode} {
		champion, shadow := s.telemetry.lanes.of(kind)
		if champion == nil || champion.model == nil {
			continue
		}
		gauge(modelInfoDesc, 1, kind.String(), "champion", champion.model.Card.Version, champion.digest)
		if shadow != nil {
			gauge(modelInfoDesc, 1, kind.String(), "shadow", shadow.model.Card.Version, shadow.digest)
		}
		trouble := 0.0
		if s.models.trouble(kind) != "" {
			trouble = 1
		}
		gauge(modelTroubleDesc, trouble, kind.String())
		odds, _ := champion.scorer.Odds(kind)
		gauge(oddsDesc, odds, kind.String())
		gauge(blindDesc, blind[kind], kind.String())
		r := s.driftOf(champion)
		gauge(driftWeightDesc, r.Weight, kind.String())
		for _, f := range r.Drifted[:min(len(r.Drifted), maxDriftSeries)] {
			gauge(driftPSIDesc, f.PSI, kind.String(), f.Name)
		}
		if t, ok := s.telemetry.judged.trial(kind); ok {
			gauge(trialZDesc, t.Z(), kind.String())
			gauge(trialFailedDesc, float64(t.Failures), kind.String())
		}
	}
}
