package main

import (
	"fmt"
	"strings"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/checkpoint"
)

// pinFlags choose what is pinned or unpinned.
type pinFlags struct {
	clientFlags
	storeFlag
	ID string `arg:"" help:"The ID, or its beginning."`
}

type checkpointsPinCmd struct{ pinFlags }

// Help adds to the command's help.
func (checkpointsPinCmd) Help() string {
	return "Without --store the cluster agrees on it, and the pin holds on every node that keeps the checkpoint, now or later, and off-site. With --store it holds in that store alone."
}

func (c checkpointsPinCmd) Run(g *globals) error { return c.set(g, true) }

type checkpointsUnpinCmd struct{ pinFlags }

func (c checkpointsUnpinCmd) Run(g *globals) error { return c.set(g, false) }

// pinned is what became of a checkpoint that was to be pinned or unpinned.
type pinned struct {
	forestall.Checkpoint
	api.Pinned
	Engine bool `json:"-"` // the cluster agreed on it
}

func (c pinFlags) set(g *globals, on bool) error {
	p, err := c.change(g, on)
	p.Checkpoint.Pinned = on
	return show(g, c.clientFlags, p, err, view.pinned)
}

func (c pinFlags) change(g *globals, on bool) (p pinned, err error) {
	p.Pinned = api.Pinned{On: []string{}, Failed: []string{}}
	if c.Store == "" {
		if p.Checkpoint, err = c.resolve(g.ctx, c.ID); err != nil {
			return p, err
		}
		p.Engine = true
		p.Pinned, err = c.client().PinCheckpoint(g.ctx, p.ID, on)
		return p, err
	}
	s, err := c.open(g, changing)
	if err != nil {
		return p, err
	}
	defer s.close()
	if p.Checkpoint, err = s.resolve(g.ctx, c.ID); err != nil {
		return p, err
	}
	p.On = append(p.On, s.name)
	return p, s.Pin(g.ctx, checkpoint.Pin{ID: p.ID, On: on}, checkpoint.Claim{})
}

func (v view) pinned(p pinned) {
	where := strings.Join(p.On, ", ")
	what := "pinned: retention leaves it"
	switch {
	case !p.Checkpoint.Pinned && p.Engine:
		what = "not pinned any more, on any node"
	case !p.Checkpoint.Pinned:
		what = "not pinned any more in " + where
	case !p.Engine:
		what += " in " + where + ", and in no other store"
	default:
		what += " on every node that keeps it"
		if where != "" {
			what += ": now " + where
		}
	}
	fmt.Fprintf(v.out, "checkpoint %s is %s\n", textClean(named(p.Checkpoint)), textClean(what))
	for _, f := range p.Failed {
		fmt.Fprintf(v.out, "%s\n", v.paint(textClean("not yet written down: "+f), sgrYellow))
	}
}

type checkpointsHistoryCmd struct {
	clientFlags
}

// Help adds to the command's help.
func (checkpointsHistoryCmd) Help() string {
	return "The orders that went through an engine, any node's: the cluster's ledger keeps the newest 500. What was changed with --store is not among them."
}

func (c checkpointsHistoryCmd) Run(g *globals) error {
	all, err := c.client().CheckpointOrders(g.ctx)
	return show(g, c.clientFlags, all, err, view.checkpointOrders)
}

func (v view) checkpointOrders(all []forestall.CheckpointOrder) {
	t := textTable{header: []string{"WHEN", "WHAT", "ID", "WORKLOAD", ">EPOCH", ">SEQUENCE", "BY", "DAMAGE"}}
	for _, o := range all {
		epoch, sequence := "-", "-"
		if o.Workload != "" {
			epoch, sequence = o.Epoch.String(), fmt.Sprint(o.Sequence)
		}
		t.add(cellOf(v.ago(o.Time)), cellOf(string(o.Step)), cellOf(shortID(o.ID)), cellOf(orDash(o.Workload)), cellOf(epoch), cellOf(sequence), cellOf(o.By), cellOf(orDash(o.Damage)))
	}
	t.writeOr(v, "Nobody has had a checkpoint dropped, pinned or unpinned.")
}
