package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/migrate"
)

// orderPatience is how long an order about a checkpoint waits for the cluster to
// agree.
const orderPatience = 5 * time.Second

// maxDamage bounds what the ledger keeps of why a checkpoint could not be read.
const maxDamage = 1000

// knownCheckpoint returns an order about a checkpoint with what the nodes that
// answer know of it. Also after an error that wraps [api.ErrNotFound] the order
// can be given: its ID is all that is known.
func (k keeper) knownCheckpoint(ctx context.Context, step forestall.CheckpointStep, id string) (*migrate.CheckpointOrder, error) {
	c := &migrate.CheckpointOrder{Step: step, ID: id, By: k.name + ", asked for"}
	d, err := view(k).Checkpoint(ctx, id)
	c.Workload, c.Epoch, c.Sequence = d.Workload, d.Epoch, d.Sequence
	c.Damage = d.Damage[:min(len(d.Damage), maxDamage)]
	return c, err
}

// agreeOnCheckpoint has an order written into the ledger, or refused by it.
func (k keeper) agreeOnCheckpoint(ctx context.Context, c *migrate.CheckpointOrder) error {
	limit, cancel := context.WithTimeout(ctx, orderPatience)
	defer cancel()
	err := k.propose(limit, fmt.Sprintf("checkpoint %s %s %d", c.Step, c.ID, k.now().UnixNano()), c)
	switch {
	case err == nil:
		return nil
	case limit.Err() != nil:
		return fmt.Errorf("checkpoint %s is not %s: %w: not agreed on within %s; look at `forestall status`, then repeat it: %w",
			short(c.ID), c.Step, api.ErrUnavailable, orderPatience, err)
	}
	return refused{err}
}

// refused is an error about what was asked, in its own words.
type refused struct{ error }

func (r refused) Unwrap() error        { return r.error }
func (r refused) Is(target error) bool { return target == api.ErrInvalid }

// mayDrop reports beforehand, as far as this node knows, what would be refused.
func (k keeper) mayDrop(c *migrate.CheckpointOrder) error {
	var err error
	k.ledger.View(func(s *migrate.State) { err = s.MayDrop(c) })
	if err == nil && k.chunks.Pinned(c.ID) {
		err = fmt.Errorf("%s %w: it is pinned in the store of node %s; unpin it first", short(c.ID), migrate.ErrNeeded, k.name)
	}
	if err != nil {
		return refused{fmt.Errorf("checkpoint %w", err)}
	}
	return nil
}

// CheckpointOrders returns the orders that the cluster agreed on.
func (v view) CheckpointOrders() (all []forestall.CheckpointOrder) {
	v.ledger.View(func(s *migrate.State) { all = slices.Clone(s.CheckpointOrders) })
	slices.Reverse(all)
	return all
}

// PinCheckpoint has a pin agreed on, which every node's retention then heeds,
// and writes it into the stores that hold the checkpoint.
func (k keeper) PinCheckpoint(ctx context.Context, id string, on bool) (done api.Pinned, err error) {
	done = api.Pinned{On: []string{}, Failed: []string{}}
	step := forestall.CheckpointPinned
	if !on {
		step = forestall.CheckpointUnpinned
	}
	c, err := k.knownCheckpoint(ctx, step, id)
	if err != nil {
		return done, err
	}
	if err := k.agreeOnCheckpoint(ctx, c); err != nil {
		return done, err
	}
	p := checkpoint.Pin{ID: id, On: on, At: k.now()}
	told := func(where string, holds bool, err error) {
		switch {
		case err != nil:
			done.Failed = append(done.Failed, fmt.Sprintf("%s: %v", where, err))
		case holds:
			done.On = append(done.On, where)
		}
	}
	holds, err := k.pin(ctx, p)
	told(k.name, holds, err)
	for _, peer := range k.checkpointPeers() {
		holds, err := order(ctx, k.Engine, peer.Name, "/peer/order/pin", p, k.pin)
		told(peer.Name, holds, err)
	}
	if k.offsite != nil {
		s, err := k.offsite.Open(ctx)
		if err == nil {
			err = s.Pin(ctx, p, checkpoint.Claim{})
			told(s.String(), err == nil, notHeld(err))
		} else {
			told("off-site", false, err)
		}
	}
	slices.Sort(done.On)
	k.log.Info("checkpoint "+string(step), "checkpoint", id, "workload", c.Workload, "on", done.On, "failed", done.Failed)
	return done, nil
}

// pin writes a pin into this node's store, and reports whether it holds the
// checkpoint.
func (e *Engine) pin(ctx context.Context, p checkpoint.Pin) (holds bool, err error) {
	err = e.chunks.SetPin(ctx, p, checkpoint.Claim{})
	return err == nil, notHeld(err)
}

// notHeld takes it for no error that a store does not hold the checkpoint.
func notHeld(err error) error {
	if errors.Is(err, checkpoint.ErrNotFound) {
		return nil
	}
	return err
}

// isPinned reports whether a pin holds for the checkpoint, by the ledger or by
// this node's store alone.
func (e *Engine) isPinned(id string) (pinned bool) {
	e.ledger.View(func(s *migrate.State) { _, pinned = s.Pins[id] })
	return pinned || e.chunks.Pinned(id)
}

// mirrorEvery is how soon a checkpoint that came to this node after it was pinned
// is pinned in this node's store too; retention asks the ledger and does not wait
// for that.
const mirrorEvery = time.Minute

// mirrorPins writes the ledger's pins into this node's store until ctx ends, so
// that they hold while no engine runs, and carries out what was dropped while this
// node was away.
func (e *Engine) mirrorPins(ctx context.Context) error {
	tick := time.NewTicker(mirrorEvery)
	defer tick.Stop()
	var seen uint64
	for {
		changed := e.ledger.Changed()
		var newest uint64
		e.ledger.View(func(s *migrate.State) {
			if n := len(s.CheckpointOrders); n > 0 {
				newest = s.CheckpointOrders[n-1].Index
			}
		})
		if newest != seen {
			seen = newest
			e.mirrorPinsOnce(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-tick.C:
			e.mirrorPinsOnce(ctx)
			e.mirrorDropsInto(ctx, e.chunks, e.chunks.Since, e.now())
		}
	}
}

func (e *Engine) mirrorPinsOnce(ctx context.Context) { e.mirrorPinsInto(ctx, e.chunks) }

// A node that was away when a checkpoint was dropped drops its copy when it is
// back: no sooner than dropAfter the order, which those who gave it have carried
// out by then, and only if it was there dropBefore the order: one that came later
// somebody has brought back on purpose, whatever the clocks of nodes differ by.
const (
	dropAfter  = time.Minute
	dropBefore = 5 * time.Minute
)

// mirrorDropsInto drops from this node's store what the cluster agreed to drop.
// since says when the store got its copy.
func (e *Engine) mirrorDropsInto(ctx context.Context, d *checkpoint.Dir, since func(id string) (time.Time, error), now time.Time) {
	type drop struct {
		order forestall.CheckpointOrder
		by    checkpoint.Claim
	}
	var drops []drop
	e.ledger.View(func(s *migrate.State) {
		last := map[string]forestall.CheckpointOrder{}
		for _, o := range s.CheckpointOrders {
			last[o.ID] = o
		}
		for _, o := range last {
			again := migrate.CheckpointOrder{Step: o.Step, ID: o.ID, Workload: o.Workload, Epoch: o.Epoch, Sequence: o.Sequence}
			if o.Step != forestall.CheckpointDropped || now.Sub(o.Time) < dropAfter || s.MayDrop(&again) != nil {
				continue
			}
			by := checkpoint.Claim{Workload: o.Workload}
			if w := s.Workloads[o.Workload]; w != nil {
				by.Epoch = w.Epoch
			}
			drops = append(drops, drop{o, by})
		}
	})
	for _, c := range drops {
		at, err := since(c.order.ID)
		if err != nil || !at.Before(c.order.Time.Add(-dropBefore)) || d.Pinned(c.order.ID) {
			continue // most are not here any more
		}
		err = d.Drop(ctx, c.order.ID, c.by)
		switch {
		case err == nil:
			e.log.Info("checkpoint deleted, as was agreed while this node was away", "checkpoint", c.order.ID, "workload", c.order.Workload, "agreed", c.order.Time, "by", c.order.By)
		case notHeld(err) != nil && ctx.Err() == nil:
			e.log.Warn("a checkpoint that was dropped while this node was away is still here", "checkpoint", c.order.ID, "error", err)
		}
	}
}

func (e *Engine) mirrorPinsInto(ctx context.Context, d *checkpoint.Dir) {
	last := map[string]checkpoint.Pin{}
	take := func(o forestall.CheckpointOrder) {
		if o.Step != forestall.CheckpointDropped {
			last[o.ID] = checkpoint.Pin{ID: o.ID, On: o.Step == forestall.CheckpointPinned, At: o.Time}
		}
	}
	e.ledger.View(func(s *migrate.State) {
		for _, o := range s.Pins {
			take(o)
		}
		for _, o := range s.CheckpointOrders {
			take(o)
		}
	})
	for id, p := range last {
		if err := notHeld(d.SetPin(ctx, p, checkpoint.Claim{})); err != nil && ctx.Err() == nil {
			e.log.Warn("a pin is not written into this node's store", "checkpoint", short(id), "pinned", p.On, "error", err)
		}
	}
}

// absent lists the nodes that may hold checkpoints and do not answer.
func (e *Engine) absent() (names []string) {
	alive := map[string]bool{e.name: true}
	for _, p := range e.checkpointPeers() {
		alive[p.Name] = true
	}
	for _, m := range e.nodes {
		if !alive[m.name] {
			names = append(names, m.name)
		}
	}
	return names
}
