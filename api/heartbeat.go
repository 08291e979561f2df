package api

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stratoswarm/forestall"
)

// Heartbeat is the body of a sign of life. What is left out is not reported,
// which is not the same as zero.
type Heartbeat struct {
	ErrorRate       *float64           `json:"error_rate,omitempty" minimum:"0" maximum:"1" doc:"share of work that failed since the last heartbeat"`
	ResponseSeconds *float64           `json:"response_seconds,omitempty" minimum:"0" doc:"time that the component takes to answer"`
	Metrics         map[string]float64 `json:"metrics,omitempty" maxProperties:"64" doc:"further readings; snake case names that end in their unit"`
}

// Injection is the body of a request to let a simulated GPU fail.
type Injection struct {
	Index       int     `json:"index" minimum:"0" doc:"of the GPU on this engine's node"`
	Mode        string  `json:"mode" minLength:"1" maxLength:"64" doc:"name of the simulator's failure mode" example:"thermal_runaway"`
	OverSeconds float64 `json:"over_seconds,omitempty" minimum:"0" maximum:"86400" doc:"time in which it takes hold; 0 is at once"`
}

// heartbeats is the path under which they are sent.
const heartbeats = "/v1/heartbeats/"

var metricName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,127}$`)

func (s *Server) registerHeartbeats(api huma.API) {
	op := operation(http.MethodPost, heartbeats+"{component}", "post-heartbeat", "Sign of life of an agent or a service",
		http.StatusNotFound, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity)
	op.DefaultStatus = http.StatusNoContent
	huma.Register(api, op, func(_ context.Context, in *struct {
		Component string `path:"component" doc:"agent/NAME or service/NAME" example:"agent/train-7"`
		Body      Heartbeat
	},
	) (*struct{}, error) {
		c, err := forestall.ParseComponent(in.Component)
		if err != nil {
			return nil, answer(err)
		}
		if c.Kind != forestall.KindAgent && c.Kind != forestall.KindService {
			return nil, huma.Error422UnprocessableEntity(fmt.Sprintf("%s sends no heartbeats; agents and services do: agent/NAME, service/NAME", c))
		}
		for name := range in.Body.Metrics {
			if !metricName.MatchString(name) {
				return nil, huma.Error422UnprocessableEntity(fmt.Sprintf("metrics: %.40q is not a name in snake case such as queue_depth_requests", name))
			}
		}
		if err := s.backend.Heartbeats.Beat(c, orNaN(in.Body.ErrorRate), orNaN(in.Body.ResponseSeconds), in.Body.Metrics); err != nil {
			return nil, answer(err)
		}
		s.metrics.beats.Inc()
		return nil, nil
	})
}

func (s *Server) registerInject(api huma.API) {
	op := operation(http.MethodPost, "/v1/sim/inject", "inject-failure", "Let a simulated GPU of this engine fail",
		http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity)
	op.DefaultStatus = http.StatusNoContent
	huma.Register(api, op, func(_ context.Context, in *one[Injection]) (*struct{}, error) {
		over := time.Duration(in.Body.OverSeconds * float64(time.Second))
		if err := s.backend.Injector.Inject(in.Body.Index, in.Body.Mode, over); err != nil {
			return nil, huma.Error422UnprocessableEntity(err.Error())
		}
		return nil, nil
	})
}

func orNaN(v *float64) float64 {
	if v == nil {
		return math.NaN()
	}
	return *v
}
