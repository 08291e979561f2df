package main

import (
	"errors"
	"fmt"
)

// pinFlags say what to pin.
type pinFlags struct {
	apiFlag
	storeFlag
	ID string `arg:"" help:"The ID, or its beginning."`
}

type checkpointsPinCmd struct{ pinFlags }

func (c checkpointsPinCmd) Run(g *globals) error { return c.set(g, true) }

type checkpointsUnpinCmd struct{ pinFlags }

func (c checkpointsUnpinCmd) Run(g *globals) error { return c.set(g, false) }

func (c pinFlags) set(g *globals, on bool) error {
	word := "pinned: retention leaves it"
	if !on {
		word = "not pinned any more"
	}
	if c.Store == "" {
		cp, err := c.resolve(g.ctx, c.ID)
		if err != nil {
			return err
		}
		if err := c.client().PinCheckpoint(g.ctx, cp.ID, on); err != nil {
			return err
		}
		fmt.Fprintf(g.out, "checkpoint %s of %s is %s\n", shortID(cp.ID), cp.Workload, word)
		return nil
	}
	s, err := c.open(g, changing)
	if err != nil {
		return err
	}
	defer s.close()
	if s.dir == nil {
		return errors.New("checkpoints are pinned in a node's store, whose engine then keeps the copy in the bucket")
	}
	cp, err := s.resolve(g.ctx, c.ID)
	if err != nil {
		return err
	}
	set := s.dir.Pin
	if !on {
		set = s.dir.Unpin
	}
	if err := set(cp.ID); err != nil {
		return err
	}
	fmt.Fprintf(g.out, "checkpoint %s of %s is %s\n", shortID(cp.ID), cp.Workload, word)
	return nil
}
