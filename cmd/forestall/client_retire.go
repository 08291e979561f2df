package main

import (
	"fmt"

	"github.com/stratoswarm/forestall"
)

// redeclared is what whoever retires a workload has to know.
const redeclared = "Take its [[workload]] out of the engines' files: an engine that still has it declares it again when it starts."

type retireCmd struct {
	apiFlag
	Name string `arg:"" help:"The workload's name, without its kind: train-7."`
}

// Help adds to the command's help.
func (retireCmd) Help() string {
	return "Its processes get SIGTERM, then SIGKILL after its stop_timeout; no last checkpoint is taken. " + redeclared
}

func (c retireCmd) Run(g *globals) error {
	if err := forestall.CheckName(c.Name); err != nil {
		return fmt.Errorf("%w; give the workload's name without its kind", err)
	}
	if err := c.client().Retire(g.ctx, c.Name); err != nil {
		return err
	}
	fmt.Fprintf(g.out, "%s is retired: its run is being stopped and nothing recovers it; its newest checkpoint is kept.\n%s\n", c.Name, redeclared)
	return nil
}
