package api

import (
	"context"
	"math"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stratoswarm/forestall"
)

// ModelStatus is the model that judges one kind of component on the engine that
// answers, and how good its predictions there were.
type ModelStatus struct {
	Kind       forestall.Kind   `json:"kind" enum:"node,gpu,agent,service"`
	Name       string           `json:"name" doc:"from the model's card"`
	Version    string           `json:"version" doc:"likewise; as in the risks"`
	Horizon    float64          `json:"horizon_seconds"`
	Thresholds []AlarmThreshold `json:"thresholds" doc:"probabilities from which a grade applies"`
	Recent     PredictionScores `json:"recent" doc:"of this version's predictions on this node that matured in the last 30 days"`
}

// AlarmThreshold is the probability from which a grade applies, and why.
type AlarmThreshold struct {
	Kind   forestall.Kind  `json:"kind" enum:"node,gpu,agent,service"`
	Grade  forestall.Grade `json:"grade" enum:"suspect,failing"`
	At     *float64        `json:"at" doc:"null: nothing has the grade at the moment"`
	Budget float64         `json:"budget,omitempty" doc:"alarms for each 1,000 component-days that it keeps to; absent: a fixed threshold"`
	Reason string          `json:"reason" doc:"in words"`
}

// PredictionScores says what came of predictions. null: the evidence that it
// needs is lacking.
type PredictionScores struct {
	Matured     int      `json:"matured" doc:"predictions whose outcome is known"`
	Positive    int      `json:"positive" doc:"those of them that a failure followed within the horizon"`
	Expected    float64  `json:"expected" doc:"what their probabilities add up to"`
	Balanced    *float64 `json:"balanced_accuracy" doc:"always saying no scores 0.5"`
	Precision   *float64 `json:"precision"`
	Recall      *float64 `json:"recall"`
	Brier       *float64 `json:"brier"`
	Failures    int      `json:"failures"`
	Caught      int      `json:"caught" doc:"failures that an alarm preceded"`
	FalseAlarms int      `json:"false_alarms"`
}

// Number returns v as JSON has it: nil where it is not finite.
func Number(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

func (s *Server) registerModels(api huma.API) {
	op := operation(http.MethodGet, "/v1/models", "list-models", "Models that judge components on this node, their thresholds and what came of their predictions, by kind")
	huma.Register(api, op, func(context.Context, *struct{}) (*list[ModelStatus], error) {
		return listOf(s.backend.Models.Models()), nil
	})
}
