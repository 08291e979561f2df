package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stratoswarm/forestall"
)

// FleetStatus says in one number whether the fleet is good, and where it goes, as
// the engine that answers sees the cluster.
type FleetStatus struct {
	Health     *float64          `json:"health" doc:"share of the components, of those that are known or have failed, that is expected to work through the horizon; null: nothing is known"`
	Horizon    float64           `json:"horizon_seconds" doc:"the shortest of the models'"`
	Components int               `json:"components" doc:"nodes and GPUs"`
	Known      int               `json:"known" doc:"that were judged"`
	Failed     int               `json:"failed" doc:"that have an open incident"`
	Suspect    int               `json:"suspect"`
	Failing    int               `json:"failing"`
	Expected   *float64          `json:"expected_failures" doc:"within the horizon, among the known"`
	Any        *float64          `json:"any" doc:"probability that at least one of the known fails within the horizon, taken as independent"`
	Bounds     *forestall.Bounds `json:"bounds,omitempty" doc:"of any"`
	Trend      string            `json:"trend" enum:"unknown,steady,better,worse" doc:"of the hour under way against the day before"`
	Change     *float64          `json:"change" doc:"of the health, to the mean of the day before"`
	Why        string            `json:"why" doc:"what the trend rests on"`
	Hours      []FleetHour       `json:"hours" doc:"the health by the hour, at most a week, the newest last"`
	Nodes      []forestall.Risk  `json:"nodes" doc:"by node: that it or one of its GPUs fails"`
}

// FleetHour is the mean of the fleet's health over an hour.
type FleetHour struct {
	Start  time.Time `json:"start"`
	Health float64   `json:"health"`
}

func (s *Server) registerFleet(api huma.API) {
	op := operation(http.MethodGet, "/v1/fleet", "get-fleet", "Is the fleet good? One number, its trend, and the risk of each node as a whole")
	huma.Register(api, op, func(context.Context, *struct{}) (*one[FleetStatus], error) {
		return &one[FleetStatus]{s.backend.Risks.Fleet()}, nil
	})
}
