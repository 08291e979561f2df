package engine

import (
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/predict"
)

// Models returns the models that judge components here, by kind.
func (v view) Models() []api.ModelStatus {
	var all []api.ModelStatus
	for _, kind := range []forestall.Kind{forestall.KindNode, forestall.KindGPU} {
		if m := v.telemetry.models[kind]; m != nil {
			all = append(all, v.modelStatus(kind, m))
		}
	}
	return all
}

func (v view) modelStatus(kind forestall.Kind, m *model.Model) api.ModelStatus {
	return api.ModelStatus{
		Kind: kind, Name: m.Card.Name, Version: m.Card.Version, Horizon: time.Duration(m.Card.Horizon).Seconds(),
		Thresholds: v.telemetry.judged.alarmThresholds(kind),
		Recent:     predictionScores(v.telemetry.judged.accuracy.RecentOf(kind, m.Card.Version)),
	}
}

// thresholds returns those of every kind that a model judges.
func (v view) thresholds() (all []api.AlarmThreshold) {
	for _, m := range v.Models() {
		all = append(all, m.Thresholds...)
	}
	return all
}

// alarmThresholds returns the thresholds of a kind that are in force.
func (j *judgement) alarmThresholds(kind forestall.Kind) (all []api.AlarmThreshold) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, grade := range []forestall.Grade{forestall.Suspect, forestall.Failing} {
		t := j.thresholds[kind][grade]
		all = append(all, api.AlarmThreshold{Kind: kind, Grade: grade, At: api.Number(t.At), Budget: j.budgets[grade], Reason: t.Reason})
	}
	return all
}

func predictionScores(s predict.Scores) api.PredictionScores {
	return api.PredictionScores{
		Matured: s.Matured, Positive: s.Positive, Expected: s.Expected,
		Balanced: api.Number(s.Balanced), Precision: api.Number(s.Precision), Recall: api.Number(s.Recall), Brier: api.Number(s.Brier),
		Failures: s.Failures, Caught: s.Caught, FalseAlarms: s.FalseAlarms,
	}
}
