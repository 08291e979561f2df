package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/migrate"
)

// Checkpoints returns what this node's store holds, with the replicas that the
// ledger knows of the newest.
func (v view) Checkpoints(_ context.Context, name string) ([]forestall.Checkpoint, error) {
	heads := map[string]forestall.Checkpoint{}
	known := name == ""
	v.ledger.View(func(s *migrate.State) {
		known = known || s.Workloads[name] != nil
		for n, w := range s.Workloads {
			if w.Head != nil && (name == "" || n == name) {
				heads[n] = *w.Head
			}
		}
	})
	list, err := v.chunks.List(name)
	if err != nil {
		return nil, err
	}
	if !known && len(list) == 0 { // what was imported nobody has declared
		return nil, fmt.Errorf("workload %q: %w; see `forestall workloads`", name, api.ErrNotFound)
	}
	for i, c := range list {
		if h := heads[c.Workload]; h.ID == c.ID {
			list[i] = h
			delete(heads, c.Workload)
		}
	}
	list = slices.AppendSeq(list, maps.Values(heads)) // newest ones that only other nodes hold
	for i := range list {
		list[i].Pinned = v.isPinned(list[i].ID)
	}
	slices.SortFunc(list, func(a, b forestall.Checkpoint) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.ID, b.ID))
	})
	return list, nil
}

// detailOrder asks a node for what its store has of a checkpoint.
type detailOrder struct {
	ID string `json:"id"`
}

// Checkpoint returns a checkpoint with its states as this node's store has it,
// or else another node's. Of one that is damaged wherever it was found it says
// what is known and why that is not more.
func (v view) Checkpoint(ctx context.Context, id string) (api.CheckpointDetail, error) {
	d, err := v.detail(ctx, detailOrder{id})
	found := err == nil
	if err != nil && !errors.Is(err, checkpoint.ErrNotFound) {
		return d, err
	}
	for _, p := range v.checkpointPeers() {
		if found && d.Damage == "" {
			break
		}
		there, perr := order(ctx, v.Engine, p.Name, "/peer/order/detail", detailOrder{id}, v.detail)
		if perr != nil {
			if !errors.Is(perr, checkpoint.ErrNotFound) {
				v.log.Warn("a node does not tell what it has of a checkpoint", "node", p.Name, "checkpoint", short(id), "error", perr)
			}
			continue
		}
		if !found || there.Damage == "" {
			d, found = there, true
		}
	}
	head, isHead := v.headOf(id)
	switch {
	case !found && !isHead:
		return d, fmt.Errorf("checkpoint %s: %w: neither this node nor another that answers holds it", short(id), api.ErrNotFound)
	case !found:
		d.Checkpoint, d.Damage = head, "no node that answers holds it"
	case isHead:
		left := d.LeftOut
		if d.Checkpoint = head; left.Count > 0 { // head has its replicas, and no names of what was left out
			d.LeftOut = left
		}
	}
	d.Pinned = v.isPinned(id) || d.Pinned
	return d, nil
}

// detail is Checkpoint for this node's store alone.
func (e *Engine) detail(_ context.Context, o detailOrder) (d api.CheckpointDetail, err error) {
	cp, err := e.chunks.Get(o.ID)
	switch {
	case errors.Is(err, checkpoint.ErrCorrupt):
		return api.CheckpointDetail{Checkpoint: forestall.Checkpoint{ID: o.ID}, Damage: e.name + ": " + err.Error()}, nil
	case err != nil:
		return d, err
	}
	d.Checkpoint = cp
	states, err := e.chunks.States(o.ID)
	if err != nil && !errors.Is(err, checkpoint.ErrCorrupt) {
		return d, err
	}
	if err != nil {
		d.Damage = e.name + ": " + err.Error()
	}
	if left, err := e.chunks.LeftOut(o.ID); err == nil {
		d.LeftOut = left
	}
	for _, s := range states {
		d.States = append(d.States, api.CheckpointState(s))
	}
	return d, nil
}

// headOf returns the checkpoint with that ID if it is the newest that counts of
// its workload.
func (e *Engine) headOf(id string) (head forestall.Checkpoint, ok bool) {
	e.ledger.View(func(s *migrate.State) {
		for _, w := range s.Workloads {
			if w.Head != nil && w.Head.ID == id {
				head, ok = *w.Head, true
			}
		}
	})
	return head, ok
}
