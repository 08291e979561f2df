package api

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stratoswarm/forestall"
)

// IncidentEnd asks for the end of an incident.
type IncidentEnd struct {
	Component string `json:"component" example:"gpu/n3/0"`
	Reason    string `json:"reason" minLength:"1" maxLength:"1000" doc:"in words, for the audit: what was done about it"`
}

func (s *Server) registerCluster(api huma.API) {
	op := operation(http.MethodGet, "/v1/status", "get-status", "This engine and its cluster in short")
	huma.Register(api, op, func(context.Context, *struct{}) (*one[Status], error) {
		return &one[Status]{s.status()}, nil
	})

	op = operation(http.MethodGet, "/v1/members", "list-members", "Nodes of the cluster, by name")
	huma.Register(api, op, func(context.Context, *struct{}) (*list[forestall.Member], error) {
		return listOf(s.members()), nil
	})

	op = operation(http.MethodGet, "/v1/workloads", "list-workloads", "Workloads, where they run and their newest checkpoint, by name")
	huma.Register(api, op, func(context.Context, *struct{}) (*list[WorkloadStatus], error) {
		return listOf(s.workloads()), nil
	})

	op = operation(http.MethodGet, "/v1/migrations", "list-migrations", "Moves, recoveries and first starts, the newest first")
	huma.Register(api, op, func(context.Context, *struct{}) (*list[forestall.Migration], error) {
		return listOf(s.migrations()), nil
	})

	op = operation(http.MethodGet, "/v1/incidents", "list-incidents", "Failures that were established, the newest first; those without an end last")
	huma.Register(api, op, func(context.Context, *struct{}) (*list[forestall.Incident], error) {
		return listOf(s.incidents()), nil
	})

	op = operation(http.MethodPost, "/v1/incidents/close", "close-incident", "End the open incident of a GPU that works again, without waiting for policy.probation", http.StatusNotFound, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusServiceUnavailable)
	op.DefaultStatus = http.StatusNoContent
	huma.Register(api, op, func(ctx context.Context, in *struct{ Body IncidentEnd }) (*struct{}, error) {
		c, err := forestall.ParseComponent(in.Body.Component)
		if err != nil {
			return nil, huma.Error422UnprocessableEntity(err.Error())
		}
		if err := s.backend.Cluster.CloseIncident(ctx, c, in.Body.Reason); err != nil {
			return nil, answer(err)
		}
		return nil, nil
	})

	op = operation(http.MethodGet, "/v1/targets", "list-targets", "Exposition pages that this engine scrapes, and what came of the last reading")
	huma.Register(api, op, func(context.Context, *struct{}) (*list[Target], error) {
		return listOf(s.backend.Cluster.Targets()), nil
	})

	op = operation(http.MethodGet, "/v1/interventions", "list-interventions", "What was done about components without moving them, and what was held out, the newest first")
	huma.Register(api, op, func(context.Context, *struct{}) (*list[Intervention], error) {
		all := s.backend.Cluster.Interventions()
		slices.SortStableFunc(all, func(a, b Intervention) int { return b.Time.Compare(a.Time) })
		return listOf(all), nil
	})

	op = operation(http.MethodGet, "/v1/observed", "list-observed", "Decisions that the policy would have carried out in mode act, and only observed, the newest first")
	huma.Register(api, op, func(context.Context, *struct{}) (*list[forestall.Decision], error) {
		return listOf(s.observed()), nil
	})

	op = operation(http.MethodGet, "/v1/checkpoints", "list-checkpoints", "Checkpoints that this node holds, and the newest that counts of each workload; the newest first",
		http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusServiceUnavailable)
	huma.Register(api, op, func(ctx context.Context, in *struct {
		Workload string `query:"workload" doc:"only those of this workload"`
	},
	) (*list[forestall.Checkpoint], error) {
		if in.Workload != "" {
			if err := forestall.CheckName(in.Workload); err != nil {
				return nil, answer(err)
			}
		}
		all, err := s.backend.Checkpoints.Checkpoints(ctx, in.Workload)
		if err != nil {
			return nil, answer(err)
		}
		slices.SortStableFunc(all, func(a, b forestall.Checkpoint) int { return b.Time.Compare(a.Time) })
		return listOf(all), nil
	})
}

func (s *Server) status() Status {
	st := s.backend.Cluster.Status()
	if st.Time.IsZero() {
		st.Time = s.cfg.Now().UTC()
	}
	if st.Mode == nil {
		st.Mode = map[string]forestall.Mode{}
	}
	return st
}

func (s *Server) members() []forestall.Member {
	all := s.backend.Cluster.Members()
	slices.SortFunc(all, func(a, b forestall.Member) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func (s *Server) workloads() []WorkloadStatus {
	all := s.backend.Cluster.Workloads()
	slices.SortFunc(all, func(a, b WorkloadStatus) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func (s *Server) migrations() []forestall.Migration {
	all := s.backend.Cluster.Migrations()
	slices.SortStableFunc(all, func(a, b forestall.Migration) int { return b.Time.Compare(a.Time) })
	return all
}

func (s *Server) observed() []forestall.Decision {
	all := s.backend.Cluster.Observed()
	slices.SortStableFunc(all, func(a, b forestall.Decision) int { return b.Time.Compare(a.Time) })
	return all
}

func (s *Server) incidents() []forestall.Incident {
	all := s.backend.Cluster.Incidents()
	slices.SortStableFunc(all, func(a, b forestall.Incident) int { return b.Start.Compare(a.Start) })
	return all
}
