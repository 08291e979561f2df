package engine

import (
	"math"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/predict"
)

func defaultModel() ModelConfig {
	r := predict.DefaultTrialRule()
	return ModelConfig{
		GPU: "builtin", Node: "builtin", Promote: forestall.Observe,
		TrialMin: Duration{r.MinTime}, TrialFailures: r.MinFailures, TrialMax: Duration{r.MaxTime},
		Recalibrate: forestall.Act, RecalibrateMax: 2,
	}
}

// rule says when a candidate has shown enough.
func (c ModelConfig) rule() predict.TrialRule {
	return predict.TrialRule{MinTime: c.TrialMin.Duration, MinFailures: c.TrialFailures, MaxTime: c.TrialMax.Duration}
}

func (c ModelConfig) check(bad func(key, format string, args ...any)) {
	if c.Promote != forestall.Observe && c.Promote != forestall.Act {
		bad("model.promote", "%q is not one of observe, act", c.Promote)
	}
	if c.Recalibrate != forestall.Observe && c.Recalibrate != forestall.Act {
		bad("model.recalibrate", "%q is not one of observe, act", c.Recalibrate)
	}
	if !(c.RecalibrateMax > 1 && c.RecalibrateMax <= 1000) {
		bad("model.recalibrate_max", "%g is not a factor above 1, at most 1000", c.RecalibrateMax)
	}
	if c.TrialMin.Duration < 0 {
		bad("model.trial_min", "%s is negative", c.TrialMin)
	}
	if c.TrialFailures < 1 {
		bad("model.trial_failures", "%d must be at least 1: without a failure nothing tells two models apart", c.TrialFailures)
	}
	if c.TrialMax.Duration <= c.TrialMin.Duration {
		bad("model.trial_max", "%s must be longer than model.trial_min, %s", c.TrialMax, c.TrialMin)
	}
}

func defaultDrift() DriftConfig {
	d := predict.DefaultDriftConfig()
	return DriftConfig{Window: Duration{d.Window}, PSI: d.PSI, Blind: d.Blind}
}

func (c DriftConfig) check(bad func(key, format string, args ...any)) {
	if c.Window.Duration <= 0 {
		bad("drift.window", "must be longer than 0")
	}
	if !(c.PSI > 0) || math.IsInf(c.PSI, 0) {
		bad("drift.psi", "%g is not a population stability index; 0.25 is usual", c.PSI)
	}
	if !(c.Blind > 0) || math.IsInf(c.Blind, 0) {
		bad("drift.blind", "%g is not a share above 0; with more than 1 no window is ever out of distribution", c.Blind)
	}
}
