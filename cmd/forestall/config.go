package main

import (
	"fmt"

	"github.com/stratoswarm/forestall/engine"
)

type configCmd struct {
	Show  configShowCmd  `cmd:"" default:"withargs" help:"Print the effective configuration: the defaults, overridden by FILE (the default command)."`
	Check configCheckCmd `cmd:"" help:"Verify FILE: every key, type and value."`
}

type configShowCmd struct {
	File string `arg:"" optional:"" type:"path" help:"forestall.toml"`
}

func (c configShowCmd) Run(g *globals) error {
	config, err := loadConfig(c.File, "")
	if err != nil {
		return err
	}
	return config.Write(g.out)
}

type configCheckCmd struct {
	File string `arg:"" type:"path" help:"forestall.toml"`
}

func (c configCheckCmd) Run(g *globals) error {
	config, err := engine.LoadConfig(c.File)
	if err != nil {
		return err
	}
	fmt.Fprintf(g.out, "%s: ok (%d workloads, %d nodes)\n", c.File, len(config.Workloads), len(config.Cluster.Nodes))
	return nil
}
