package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stratoswarm/forestall"
)

// riskSchema describes the JSON of a forestall.Risk.
type riskSchema struct {
	Component   string         `json:"component" example:"gpu/n3/0"`
	Time        time.Time      `json:"time" doc:"of the newest sample that it rests on"`
	Horizon     float64        `json:"horizon_seconds" doc:"how far ahead the probability speaks"`
	Probability *float64       `json:"probability" minimum:"0" maximum:"1" doc:"that the component fails within the horizon; null if and only if the grade is unknown"`
	Grade       string         `json:"grade" enum:"unknown,healthy,suspect,failing"`
	Reasons     []reasonSchema `json:"reasons,omitempty" doc:"the largest contribution first"`
	Model       string         `json:"model,omitempty" doc:"version of the model"`
	Note        string         `json:"note,omitempty" doc:"why the grade is unknown, or what a known one leaves out"`
	Bounds      *boundsSchema  `json:"bounds,omitempty" doc:"of jobs and nodes as a whole, whose probability takes the parts as independent: what it may be in truth"`
	Anomaly     *anomalySchema `json:"anomaly,omitempty" doc:"how unusual it is for what it has been itself, by no model; absent where that is not watched"`
	Unlike      *anomalySchema `json:"unlike,omitempty" doc:"how unlike it is to the ordinary operation that its model was trained on; absent where the model's card does not know that"`
}

// anomalySchema describes the JSON of a forestall.Anomaly.
type anomalySchema struct {
	State     string     `json:"state" enum:"unknown,usual,unusual" doc:"unknown while it is learnt what is usual"`
	Score     *float64   `json:"score" doc:"how unusual its newest minute was; null: not known. No probability"`
	Threshold *float64   `json:"threshold" doc:"score from which it is unusual; null: still learnt, or nothing is"`
	Since     *time.Time `json:"since,omitempty" doc:"when it became unusual"`
	Reasons   []string   `json:"reasons,omitempty" doc:"what is unusual, in words and units"`
	Note      string     `json:"note,omitempty" doc:"why the state is unknown"`
}

// reasonSchema describes the JSON of a forestall.Reason.
type reasonSchema struct {
	Feature      string   `json:"feature"`
	Value        *float64 `json:"value" doc:"in the feature's unit; null when it was missing"`
	Contribution float64  `json:"contribution" doc:"in log-odds; positive raises the risk"`
	Text         string   `json:"text"`
}

// boundsSchema describes the JSON of forestall.Bounds.
type boundsSchema struct {
	Low  float64 `json:"low" doc:"parts that share a node or a zone fail together or not at all"`
	High float64 `json:"high" doc:"the sum of the parts' probabilities, at most 1: whatever the dependence"`
}

// list is an answer that holds one array.
type list[T any] struct {
	Body []T
}

func listOf[T any](items []T) *list[T] {
	if items == nil {
		items = []T{} // [], not null
	}
	return &list[T]{items}
}

type one[T any] struct {
	Body T
}

func (s *Server) registerRisk(api huma.API) {
	op := operation(http.MethodGet, "/v1/risk", "list-risk", "Risk of every component this engine knows of, cluster-wide",
		http.StatusNotFound, http.StatusUnprocessableEntity)
	huma.Register(api, op, func(_ context.Context, in *struct {
		Node    string `query:"node" doc:"only the node and GPUs of this node"`
		Kind    string `query:"kind" enum:"node,gpu,agent,service" doc:"only components of this kind"`
		Horizon string `query:"horizon" doc:"refuse unless the risks are over this horizon, such as 1h: a model has one, and its probabilities say nothing of another"`
	},
	) (*list[forestall.Risk], error) {
		risks := s.sortedRisks()
		if in.Node != "" && !s.knowsNode(in.Node, risks) {
			return nil, huma.Error404NotFound(fmt.Sprintf("no node %.40q is known to this engine; GET /v1/members lists those of the cluster", in.Node))
		}
		risks = slices.DeleteFunc(risks, func(r forestall.Risk) bool {
			return in.Node != "" && r.Component.NodeName() != in.Node || in.Kind != "" && r.Component.Kind.String() != in.Kind
		})
		if err := checkHorizon(in.Horizon, risks...); err != nil {
			return nil, err
		}
		return listOf(risks), nil
	})

	op = operation(http.MethodGet, "/v1/risk/{component}", "get-risk", "Risk of one component, with its reasons", http.StatusNotFound, http.StatusUnprocessableEntity)
	huma.Register(api, op, func(_ context.Context, in *struct {
		Component string `path:"component" doc:"kind/name; a GPU is gpu/NODE/INDEX" example:"gpu/n3/0"`
		Horizon   string `query:"horizon" doc:"refuse unless the risks are over this horizon, such as 1h: a model has one, and its probabilities say nothing of another"`
	},
	) (*one[forestall.Risk], error) {
		c, err := forestall.ParseComponent(in.Component)
		if err != nil {
			return nil, huma.Error422UnprocessableEntity(err.Error())
		}
		r, ok := s.backend.Risks.Risk(c)
		if !ok {
			return nil, huma.Error404NotFound(fmt.Sprintf("no component %s is known to this engine; GET /v1/risk lists those that are", c))
		}
		if err := checkHorizon(in.Horizon, r); err != nil {
			return nil, err
		}
		return &one[forestall.Risk]{r}, nil
	})
}

// knowsNode reports whether a node is a member, or one of which only telemetry
// comes.
func (s *Server) knowsNode(name string, risks []forestall.Risk) bool {
	return slices.ContainsFunc(risks, func(r forestall.Risk) bool { return r.Component.NodeName() == name }) ||
		slices.ContainsFunc(s.backend.Cluster.Members(), func(m forestall.Member) bool { return m.Name == name })
}

// checkHorizon refuses another horizon than that of the risks; "" is none.
func checkHorizon(horizon string, risks ...forestall.Risk) error {
	if horizon == "" {
		return nil
	}
	want, err := time.ParseDuration(horizon)
	if err != nil || want <= 0 {
		return huma.Error422UnprocessableEntity(fmt.Sprintf("horizon %.40q is no length of time such as 5m or 1h", horizon))
	}
	for _, r := range risks {
		if r.Grade != forestall.Unknown && r.Horizon != want {
			return huma.Error422UnprocessableEntity(fmt.Sprintf("horizon %s: the risk of %s is over %s, and a model says nothing of another horizon", want, r.Component, r.Horizon))
		}
	}
	return nil
}

// sortedRisks returns the risks in the order of their components.
func (s *Server) sortedRisks() []forestall.Risk {
	risks := s.backend.Risks.Risks()
	slices.SortFunc(risks, func(a, b forestall.Risk) int { return a.Component.Compare(b.Component) })
	return risks
}

// answer turns a backend's error into the problem that the client sees.
func answer(err error) error {
	switch {
	case errors.Is(err, ErrNotFound):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, ErrInvalid), errors.Is(err, forestall.ErrBadName):
		return huma.Error422UnprocessableEntity(err.Error())
	case errors.Is(err, ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return huma.Error503ServiceUnavailable(err.Error())
	}
	return huma.Error500InternalServerError(err.Error())
}
