package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stratoswarm/forestall"
)

// CheckpointDetail is a checkpoint with what lies in it.
type CheckpointDetail struct {
	forestall.Checkpoint
	States []CheckpointState `json:"states" doc:"what lies at the top of its tree, by name"`
	Damage string            `json:"damage,omitempty" doc:"why its manifest or its tree cannot be read, where it was looked for; of a lost manifest the id alone is known"`
}

// CheckpointState is what lies under one name at the top of a checkpoint's tree.
type CheckpointState struct {
	Name  string `json:"name"`
	Files int    `json:"files"`
	Size  int64  `json:"size_bytes"`
}

// DamagedCheckpoint is one of which the manifest is lost or cannot be read.
type DamagedCheckpoint struct {
	ID    string `json:"id"`
	Error string `json:"error"`
}

func (s *Server) registerCheckpointDetail(api huma.API) {
	orders := operation(http.MethodGet, "/v1/checkpoints/orders", "list-checkpoint-orders", "Checkpoints that operators had dropped, pinned and unpinned, the newest first")
	huma.Register(api, orders, func(context.Context, *struct{}) (*list[forestall.CheckpointOrder], error) {
		return listOf(s.backend.Checkpoints.CheckpointOrders()), nil
	})
	op := operation(http.MethodGet, "/v1/checkpoints/{id}", "get-checkpoint", "A checkpoint and the states in it, from this node or one that holds it",
		http.StatusNotFound, http.StatusUnprocessableEntity)
	huma.Register(api, op, func(ctx context.Context, in *struct {
		ID string `path:"id" pattern:"^[0-9a-f]{64}$" doc:"of the checkpoint, 64 hex digits"`
	},
	) (*one[CheckpointDetail], error) {
		d, err := s.backend.Checkpoints.Checkpoint(ctx, in.ID)
		if err != nil {
			return nil, answer(err)
		}
		if d.States == nil {
			d.States = []CheckpointState{}
		}
		return &one[CheckpointDetail]{d}, nil
	})
}

// CheckpointOrders returns what operators had done with checkpoints, the newest
// first.
func (c *Client) CheckpointOrders(ctx context.Context) ([]forestall.CheckpointOrder, error) {
	return get[[]forestall.CheckpointOrder](ctx, c, "/v1/checkpoints/orders")
}

// Checkpoint returns a checkpoint and the states in it; ErrNotFound if no node
// that answers holds it.
func (c *Client) Checkpoint(ctx context.Context, id string) (CheckpointDetail, error) {
	return patient[CheckpointDetail](ctx, c, http.MethodGet, "/v1/checkpoints/"+id, nil)
}
