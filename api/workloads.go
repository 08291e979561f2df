package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stratoswarm/forestall"
)

func (s *Server) registerWorkloads(api huma.API) {
	op := operation(http.MethodPost, "/v1/workloads/{name}/retire", "retire-workload", "Stop a workload for good",
		http.StatusNotFound, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusServiceUnavailable)
	op.DefaultStatus = http.StatusNoContent
	huma.Register(api, op, func(ctx context.Context, in *struct {
		Name string `path:"name" doc:"of the workload, without its kind" example:"train-7"`
	},
	) (*struct{}, error) {
		if err := forestall.CheckName(in.Name); err != nil {
			return nil, answer(err)
		}
		if err := s.backend.Workloads.Retire(ctx, in.Name); err != nil {
			return nil, answer(err)
		}
		return nil, nil
	})
}
