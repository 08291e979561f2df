package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/migrate"
)

// keeper takes and drops checkpoints for the API.
type keeper struct{ *Engine }

var _ api.Keeper = keeper{}

func (k keeper) CreateCheckpoint(ctx context.Context, name string, r api.CheckpointRequest) (cp forestall.Checkpoint, err error) {
	w, ok := k.workloadState(name)
	if !ok {
		return cp, fmt.Errorf("workload %q: %w; see `forestall workloads`", name, api.ErrNotFound)
	}
	if !w.Running {
		return cp, fmt.Errorf("workload %s does not run, its state cannot change: %w", name, api.ErrInvalid)
	}
	cp, err = order(ctx, k.Engine, w.Node, "/peer/order/checkpoint", checkpointOrder{name, w.Epoch, r.Label, r.Verify}, k.checkpointNow)
	if silent := (*url.Error)(nil); errors.As(err, &silent) && ctx.Err() == nil {
		return cp, fmt.Errorf("%w: node %s, which runs %s, does not answer (%w); "+
			"start its engine, or wait until the workload is recovered on another node (`forestall workloads`, `forestall members`), then repeat it",
			api.ErrUnavailable, w.Node, name, silent.Err)
	}
	return cp, err
}

func (k keeper) DeleteCheckpoint(ctx context.Context, id string, dry bool) (done api.Deleted, err error) {
	done = api.Deleted{From: []string{}, Failed: []string{}}
	c, err := k.knownCheckpoint(ctx, forestall.CheckpointDropped, id)
	if err != nil && (k.offsite == nil || !errors.Is(err, api.ErrNotFound)) {
		return done, err
	}
	if err := k.mayDrop(c); err != nil || dry {
		return done, err
	}
	if err := k.agreeOnCheckpoint(ctx, c); err != nil {
		return done, err
	}
	by := checkpoint.Claim{Workload: c.Workload}
	k.ledger.View(func(s *migrate.State) {
		if w := s.Workloads[c.Workload]; w != nil {
			by.Epoch = w.Epoch
		}
	})
	drop := func(where string, s checkpoint.Store) {
		switch err := s.Delete(ctx, id, by); {
		case err == nil:
			done.From = append(done.From, where)
		case !errors.Is(err, checkpoint.ErrNotFound):
			done.Failed = append(done.Failed, where+": "+err.Error())
		}
	}
	drop(k.name, checkpoint.Local(k.chunks))
	for _, p := range k.checkpointPeers() {
		drop(p.Name, checkpoint.Remote(p, k.client, checkpoint.DefaultReplicatorConfig().Timeout))
	}
	if k.offsite != nil {
		if s, err := k.offsite.Open(ctx); err != nil {
			done.Failed = append(done.Failed, "off-site: "+err.Error())
		} else {
			drop(s.String(), s)
		}
	}
	for _, m := range k.absent() {
		done.Failed = append(done.Failed, m+": it does not answer; it drops its copy when it is back")
	}
	if len(done.From) == 0 && len(done.Failed) == 0 {
		return done, fmt.Errorf("checkpoint %s: %w", short(id), api.ErrNotFound)
	}
	k.log.Info("checkpoint deleted", "checkpoint", id, "workload", c.Workload, "damage", c.Damage, "from", done.From, "failed", done.Failed)
	return done, nil
}

func (k keeper) CollectGarbage(ctx context.Context) (api.Collected, error) {
	freed, err := k.chunks.GC(ctx)
	return api.Collected{Freed: freed}, err
}

func (k keeper) StoreWork(ctx context.Context, name string) ([]api.StoreWork, error) {
	if name == "" {
		return k.storeWork(ctx, workOrder{})
	}
	w, ok := k.workloadState(name)
	if !ok {
		return nil, fmt.Errorf("workload %q: %w; see `forestall workloads`", name, api.ErrNotFound)
	}
	return order(ctx, k.Engine, w.Node, "/peer/order/work", workOrder{name}, k.storeWork)
}

// workOrder asks a node what its store is at.
type workOrder struct {
	Workload string `json:"workload,omitempty"` // only its checkpoint
}

func (e *Engine) storeWork(_ context.Context, o workOrder) ([]api.StoreWork, error) {
	out := []api.StoreWork{}
	for _, p := range e.chunks.Progress() {
		if o.Workload == "" || p.Workload == o.Workload {
			out = append(out, api.StoreWork{Step: string(p.Step), Workload: p.Workload, Done: p.Done, Total: p.Total})
		}
	}
	return out, nil
}

func (k keeper) StoreStats(context.Context) (api.StoreStats, error) {
	s, err := k.chunks.Stats()
	stats := api.StoreStats{
		Node: k.name, Path: s.Path, Checkpoints: s.Checkpoints, Workloads: s.Workloads, Chunks: s.Chunks, ChunkBytes: s.ChunkBytes,
		Packs: s.Packs, PackBytes: s.PackBytes, StateBytes: s.StateBytes, FreeBytes: s.FreeBytes,
	}
	damaged := k.chunks.Damaged()
	for _, id := range slices.Sorted(maps.Keys(damaged)) {
		stats.Damaged = append(stats.Damaged, api.DamagedCheckpoint{ID: id, Error: damaged[id].Error()})
	}
	return stats, err
}
