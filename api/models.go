package api

import (
	"context"
	"math"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stratoswarm/forestall"
)

// ModelStatus is the model that judges one kind of component on the engine that
// answers, which part it and others have in the cluster, and how good its
// predictions were.
type ModelStatus struct {
	Kind       forestall.Kind       `json:"kind" enum:"node,gpu,agent,service"`
	Name       string               `json:"name" doc:"from the model's card"`
	Version    string               `json:"version" doc:"likewise; as in the risks, with the factor of its odds where these are recalibrated"`
	Odds       float64              `json:"odds" doc:"what the odds of its probabilities are multiplied by, as the cluster has agreed; 1: nothing"`
	SHA256     string               `json:"sha256" doc:"of the card, which holds that of the trees"`
	Horizon    float64              `json:"horizon_seconds"`
	Lead       float64              `json:"lead_seconds,omitempty" doc:"what comes sooner is not predicted"`
	Windows    []string             `json:"windows,omitempty" doc:"of its features"`
	Sets       []string             `json:"sets,omitempty" doc:"of metrics that it was trained with, beside the kind's own"`
	HandMade   bool                 `json:"hand_made,omitempty" doc:"nothing was trained: it came with Forestall"`
	Roles      forestall.ModelRoles `json:"roles" doc:"as the ledger has them; a champion without sha256 is the model that forestall.toml names"`
	Trouble    string               `json:"trouble,omitempty" doc:"why this node does not run what the ledger says"`
	Thresholds []AlarmThreshold     `json:"thresholds" doc:"probabilities from which a grade applies"`
	Recent     PredictionScores     `json:"recent" doc:"of this version's predictions on this node that matured in the last 30 days"`
	Drift      ModelDrift           `json:"drift"`
	Unlike     *ModelUnlike         `json:"unlike,omitempty" doc:"from when a component is unlike the ordinary operation that the model was trained on; absent: its card does not know"`
	Trial      *ModelTrial          `json:"trial,omitempty" doc:"of the model in the champion's shadow; absent: there is none"`
}

// ModelUnlike says from when a component is unlike the ordinary operation that a
// model was trained on.
type ModelUnlike struct {
	Threshold float64 `json:"threshold" doc:"score above which it is"`
	Alarms    float64 `json:"alarms" doc:"for each 1,000 component-days of ordinary operation, that the threshold was chosen for"`
	Days      float64 `json:"component_days" doc:"of ordinary operation, that it was chosen by"`
	Features  int     `json:"features" doc:"that take part"`
}

// ModelDrift says how far this node's telemetry is from what the model was
// trained on.
type ModelDrift struct {
	Rows     int            `json:"rows" doc:"live rows that were compared"`
	Since    time.Time      `json:"since,omitzero"`
	Weight   *float64       `json:"weight" doc:"share of what the model weighs that has drifted; null: too little was compared, or the card does not say how the training data lay"`
	Largest  *float64       `json:"largest_psi" doc:"of a feature that the model weighs"`
	Note     string         `json:"note,omitempty" doc:"why it is not known"`
	Features []DriftFeature `json:"features,omitempty" doc:"those that have drifted, the weightiest first"`
}

// DriftFeature is a feature that has drifted.
type DriftFeature struct {
	Name   string  `json:"name"`
	PSI    float64 `json:"psi" doc:"population stability index"`
	Weight float64 `json:"weight" doc:"share in what the model weighs"`
}

// ModelTrial is what the comparison of the champion with the model in its shadow
// has shown: of the whole cluster on the leader, of this node on another.
type ModelTrial struct {
	Model      forestall.ModelRef `json:"model" doc:"in the shadow: the candidate, or the champion before; without sha256 the one that forestall.toml names"`
	Nodes      int                `json:"nodes" doc:"whose predictions are counted"`
	From       time.Time          `json:"from,omitzero"`
	Components int                `json:"components"`
	Rows       int                `json:"rows" doc:"predictions of both that matured"`
	Failures   int                `json:"failures"`
	Champion   *float64           `json:"champion_log_loss" doc:"nats for each prediction"`
	Shadow     *float64           `json:"shadow_log_loss"`
	Z          float64            `json:"z" doc:"standard errors by which the shadow is better; they vary by component"`
	Verdict    string             `json:"verdict" enum:"undecided,better,worse,spent" doc:"of the model in the shadow"`
	Reasons    []string           `json:"reasons"`
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

// Intervention is what was done about a component without moving it, or left
// undone on purpose.
type Intervention struct {
	forestall.Intervention
	HeldOut bool `json:"held_out" doc:"left undone, so that what follows can be seen without it"`
}

// ModelFiles is a model to propose.
type ModelFiles struct {
	Card           string   `json:"card" doc:"the text of card.json"`
	Trees          string   `json:"trees" doc:"the text of model.txt"`
	Reasons        []string `json:"reasons,omitempty" maxItems:"20" doc:"in words, for the audit"`
	AnotherHorizon bool     `json:"another_horizon,omitempty" doc:"it may predict over another lead and horizon than a trained champion"`
}

// ModelChange asks for a step in the life of a kind's models.
type ModelChange struct {
	SHA256 string `json:"sha256,omitempty" doc:"of the model that it is about; absent: the candidate, or the champion to roll back"`
	Reason string `json:"reason,omitempty" maxLength:"1000" doc:"in words, for the audit"`
}

// maxModelBytes bounds the body that proposes a model.
const maxModelBytes = 64 << 20

func (s *Server) registerModels(api huma.API) {
	op := operation(http.MethodGet, "/v1/models", "list-models", "Models that judge components on this node, their thresholds and what came of their predictions, by kind")
	huma.Register(api, op, func(context.Context, *struct{}) (*list[ModelStatus], error) {
		return listOf(s.backend.Models.Models()), nil
	})

	op = operation(http.MethodGet, "/v1/models/events", "list-model-events", "Steps in the lives of the models that the cluster agreed on, the newest first")
	huma.Register(api, op, func(context.Context, *struct{}) (*list[forestall.ModelEvent], error) {
		return listOf(s.backend.Models.ModelEvents()), nil
	})

	refusals := []int{http.StatusNotFound, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusServiceUnavailable}
	op = operation(http.MethodPost, "/v1/models", "propose-model", "Propose a model: it is checked, kept, and runs in the champion's shadow once enough engines have it", refusals...)
	op.MaxBodyBytes, op.DefaultStatus = maxModelBytes, http.StatusCreated
	huma.Register(api, op, func(ctx context.Context, in *struct{ Body ModelFiles }) (*one[forestall.ModelRef], error) {
		ref, err := s.backend.Models.ProposeModel(ctx, in.Body)
		if err != nil {
			return nil, answer(err)
		}
		return &one[forestall.ModelRef]{ref}, nil
	})

	for _, change := range []struct {
		word, summary string
		step          forestall.ModelStep
	}{
		{"promote", "Make the candidate of a kind the champion, whatever its trial has shown", forestall.ModelPromoted},
		{"reject", "Drop the candidate of a kind", forestall.ModelRejected},
		{"rollback", "Put the champion before in the place of a kind's champion", forestall.ModelRolledBack},
	} {
		op = operation(http.MethodPost, "/v1/models/{kind}/"+change.word, change.word+"-model", change.summary, refusals...)
		op.DefaultStatus = http.StatusNoContent
		huma.Register(api, op, func(ctx context.Context, in *struct {
			Kind string `path:"kind" enum:"node,gpu"`
			Body ModelChange
		},
		) (*struct{}, error) {
			kind, err := forestall.ParseKind(in.Kind)
			if err != nil {
				return nil, answer(err)
			}
			if err := s.backend.Models.ChangeModel(ctx, kind, change.step, in.Body); err != nil {
				return nil, answer(err)
			}
			return nil, nil
		})
	}
}
