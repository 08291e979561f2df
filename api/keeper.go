package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/stratoswarm/forestall"
)

// Keeper takes and drops checkpoints.
type Keeper interface {
	// CreateCheckpoint has the node that runs the workload take a checkpoint and
	// returns it once it counts.
	CreateCheckpoint(ctx context.Context, workload string, r CheckpointRequest) (forestall.Checkpoint, error)
	// DeleteCheckpoint drops a checkpoint, also a damaged one, from this node, its
	// live peers and the off-site store, once the cluster has agreed. One that is
	// pinned or that a recovery would need is refused: ErrInvalid. A dry run only
	// finds out, as far as this node knows, whether it would be.
	DeleteCheckpoint(ctx context.Context, id string, dry bool) (Deleted, error)
	// PinCheckpoint keeps a checkpoint from retention on every node that keeps it,
	// and off-site, or lets it go again. It returns once the cluster has agreed.
	PinCheckpoint(ctx context.Context, id string, on bool) (Pinned, error)
	// CollectGarbage removes what no checkpoint of this node's store needs.
	CollectGarbage(ctx context.Context) (Collected, error)
	// StoreStats counts what this node's store holds.
	StoreStats(ctx context.Context) (StoreStats, error)
	// StoreWork says how far the work is that this node's store is at or, of a
	// workload's checkpoint, that of the node on which the workload runs.
	StoreWork(ctx context.Context, workload string) ([]StoreWork, error)
}

// Deleted says where a checkpoint was dropped, and where it could not be.
type Deleted struct {
	From   []string `json:"from" doc:"nodes, and the URL of the off-site store"`
	Failed []string `json:"failed" doc:"where it may be still, and why"`
}

// Pinned says which nodes' stores have a pin, or its end, written down. The pin
// itself is the cluster's: it also holds on nodes that could not be told, and on
// those that the checkpoint comes to later.
type Pinned struct {
	On     []string `json:"on" doc:"nodes that hold the checkpoint"`
	Failed []string `json:"failed" doc:"nodes that did not answer, or could not write it down yet, and why"`
}

// Collected is what a garbage collection did.
type Collected struct {
	Freed int64 `json:"freed_bytes"`
}

// StoreWork is a step of work on a store.
type StoreWork struct {
	Step     string `json:"step" enum:"read,mark,repack,scrub" doc:"read: bytes of files for a checkpoint; mark, repack: checkpoints and bytes of packs, of a GC; scrub: bytes of packs"`
	Workload string `json:"workload,omitempty" doc:"whose checkpoint is read"`
	Done     int64  `json:"done"`
	Total    int64  `json:"total"`
}

// StoreStats is what a node's store holds.
type StoreStats struct {
	Node        string `json:"node"`
	Path        string `json:"path"`
	Checkpoints int    `json:"checkpoints"`
	Workloads   int    `json:"workloads"`
	Chunks      int    `json:"chunks"`
	ChunkBytes  int64  `json:"chunk_bytes" doc:"of the chunks as they are stored, compressed"`
	Packs       int    `json:"packs"`
	PackBytes   int64  `json:"pack_bytes" doc:"of the pack files, with what GC has not reclaimed yet"`
	StateBytes  int64  `json:"state_bytes" doc:"of all states that could be restored"`
	FreeBytes   int64  `json:"free_bytes" doc:"of the file system; -1: unknown"`

	Damaged []DamagedCheckpoint `json:"damaged,omitempty" doc:"checkpoints whose manifest is lost or cannot be read: they are not listed, and the garbage collection waits until each is deleted or fetched from a replica"`
}

// CheckpointRequest says what checkpoint is wanted.
type CheckpointRequest struct {
	Label  string `json:"label,omitempty" maxLength:"1024" doc:"free text, shown in lists"`
	Verify bool   `json:"verify,omitempty" doc:"have every chunk that the checkpoint shares with earlier ones read and verified in the store of the workload's node; what is damaged is written anew"`
}

func (s *Server) registerKeeper(api huma.API) {
	long := func(op huma.Operation) huma.Operation {
		op.Middlewares = huma.Middlewares{func(c huma.Context, next func(huma.Context)) {
			_, w := humago.Unwrap(c)
			_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // it takes as long as it takes
			next(c)
		}}
		return op
	}
	op := operation(http.MethodPost, "/v1/workloads/{name}/checkpoint", "create-checkpoint", "Take a checkpoint of a workload now; answers once it counts",
		http.StatusNotFound, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusServiceUnavailable)
	huma.Register(api, long(op), func(ctx context.Context, in *struct {
		Name string `path:"name" doc:"of the workload, without its kind" example:"train-7"`
		Body CheckpointRequest
	},
	) (*one[forestall.Checkpoint], error) {
		if err := forestall.CheckName(in.Name); err != nil {
			return nil, answer(err)
		}
		cp, err := s.backend.Keeper.CreateCheckpoint(ctx, in.Name, in.Body)
		if err != nil {
			return nil, answer(err)
		}
		return &one[forestall.Checkpoint]{cp}, nil
	})

	op = operation(http.MethodDelete, "/v1/checkpoints/{id}", "delete-checkpoint", "Drop a checkpoint wherever it is held; the newest that counts of a workload is refused",
		http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusServiceUnavailable)
	huma.Register(api, long(op), func(ctx context.Context, in *struct {
		ID  string `path:"id" pattern:"^[0-9a-f]{64}$" doc:"of the checkpoint, 64 hex digits"`
		Dry bool   `query:"dry_run" doc:"drop nothing; only answer whether it would be refused"`
	},
	) (*one[Deleted], error) {
		d, err := s.backend.Keeper.DeleteCheckpoint(ctx, in.ID, in.Dry)
		if err != nil {
			return nil, answer(err)
		}
		return &one[Deleted]{d}, nil
	})

	for _, on := range []bool{true, false} {
		verb, what := "pin", "Keep a checkpoint from retention, on every node that keeps it and off-site"
		if !on {
			verb, what = "unpin", "Let retention have a checkpoint again"
		}
		op = operation(http.MethodPost, "/v1/checkpoints/{id}/"+verb, verb+"-checkpoint", what,
			http.StatusNotFound, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusServiceUnavailable)
		huma.Register(api, long(op), func(ctx context.Context, in *struct {
			ID string `path:"id" pattern:"^[0-9a-f]{64}$" doc:"of the checkpoint, 64 hex digits"`
		},
		) (*one[Pinned], error) {
			p, err := s.backend.Keeper.PinCheckpoint(ctx, in.ID, on)
			if err != nil {
				return nil, answer(err)
			}
			return &one[Pinned]{p}, nil
		})
	}

	op = operation(http.MethodPost, "/v1/store/gc", "collect-garbage", "Remove what no checkpoint of this node's store needs", http.StatusUnsupportedMediaType)
	huma.Register(api, long(op), func(ctx context.Context, _ *struct{ Body struct{} }) (*one[Collected], error) {
		c, err := s.backend.Keeper.CollectGarbage(ctx)
		if err != nil {
			return nil, answer(err)
		}
		return &one[Collected]{c}, nil
	})

	op = operation(http.MethodGet, "/v1/store/work", "get-store-work", "What this node's store is doing, or how far a workload's checkpoint is on its node", http.StatusNotFound)
	huma.Register(api, op, func(ctx context.Context, in *struct {
		Workload string `query:"workload" doc:"only this one's checkpoint, wherever it runs" example:"train-7"`
	},
	) (*list[StoreWork], error) {
		work, err := s.backend.Keeper.StoreWork(ctx, in.Workload)
		if err != nil {
			return nil, answer(err)
		}
		return listOf(work), nil
	})

	op = operation(http.MethodGet, "/v1/store", "get-store", "What this node's store of checkpoints holds")
	huma.Register(api, op, func(ctx context.Context, _ *struct{}) (*one[StoreStats], error) {
		stats, err := s.backend.Keeper.StoreStats(ctx)
		if err != nil {
			return nil, answer(err)
		}
		return &one[StoreStats]{stats}, nil
	})
}

// StoreWork says what the engine's own store is at or, of a workload's checkpoint,
// that of its node.
func (c *Client) StoreWork(ctx context.Context, workload string) ([]StoreWork, error) {
	path := "/v1/store/work"
	if workload != "" {
		path += "?workload=" + url.QueryEscape(workload)
	}
	return get[[]StoreWork](ctx, c, path)
}

// CreateCheckpoint has a workload's node take a checkpoint and returns it once
// it counts; the context alone limits the time.
func (c *Client) CreateCheckpoint(ctx context.Context, workload string, r CheckpointRequest) (forestall.Checkpoint, error) {
	if err := forestall.CheckName(workload); err != nil {
		return forestall.Checkpoint{}, err
	}
	return patient[forestall.Checkpoint](ctx, c, http.MethodPost, "/v1/workloads/"+workload+"/checkpoint", r)
}

// DeleteCheckpoint drops a checkpoint wherever it is held.
func (c *Client) DeleteCheckpoint(ctx context.Context, id string) (Deleted, error) {
	return patient[Deleted](ctx, c, http.MethodDelete, "/v1/checkpoints/"+id, nil)
}

// MayDeleteCheckpoint drops nothing and returns the error that DeleteCheckpoint
// would.
func (c *Client) MayDeleteCheckpoint(ctx context.Context, id string) error {
	_, err := patient[Deleted](ctx, c, http.MethodDelete, "/v1/checkpoints/"+id+"?dry_run=true", nil)
	return err
}

// PinCheckpoint keeps a checkpoint from retention, or lets it go again.
func (c *Client) PinCheckpoint(ctx context.Context, id string, on bool) (Pinned, error) {
	verb := "pin"
	if !on {
		verb = "unpin"
	}
	return patient[Pinned](ctx, c, http.MethodPost, "/v1/checkpoints/"+id+"/"+verb, struct{}{})
}

// CollectGarbage removes what no checkpoint of the engine's own store needs.
func (c *Client) CollectGarbage(ctx context.Context) (Collected, error) {
	return patient[Collected](ctx, c, http.MethodPost, "/v1/store/gc", struct{}{})
}

// StoreStats counts what the engine's own store holds.
func (c *Client) StoreStats(ctx context.Context) (StoreStats, error) {
	return patient[StoreStats](ctx, c, http.MethodGet, "/v1/store", nil)
}

// patient asks without a limit of time but the context's.
func patient[T any](ctx context.Context, c *Client, method, path string, body any) (v T, err error) {
	b, err := json.Marshal(body)
	if err != nil {
		return v, fmt.Errorf("encode the body for %s: %w", path, err)
	}
	if body == nil {
		b = nil
	}
	slow := c.within(0)
	answer, err := slow.do(ctx, method, path, b)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(answer, &v); err != nil {
		return v, fmt.Errorf("read the answer of %s%s, which may be of another version: %w", c.base, path, err)
	}
	return v, nil
}
