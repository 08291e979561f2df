package main

import (
	"fmt"

	"github.com/stratoswarm/forestall/engine"
	"github.com/stratoswarm/forestall/features"
)

type configCmd struct {
	Show    configShowCmd    `cmd:"" default:"withargs" help:"Print the effective configuration: the defaults, overridden by FILE (the default command)."`
	Check   configCheckCmd   `cmd:"" help:"Verify FILE: every key, type and value, and that the files and models that it names are there."`
	Presets configPresetsCmd `cmd:"" help:"List the built-in mappings of series to metrics, or print the table of one."`
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
	File  string `arg:"" type:"path" help:"forestall.toml"`
	Files bool   `default:"true" negatable:"" help:"Also that the files and models that it names can be read here; --no-files on another machine than the engine's."`
}

func (c configCheckCmd) Run(g *globals) error {
	config, err := engine.LoadConfig(c.File)
	if err != nil {
		return err
	}
	if c.Files {
		if err := config.CheckFiles(); err != nil {
			return fmt.Errorf("%s: %w", c.File, err)
		}
	}
	fmt.Fprintf(g.out, "%s: ok (%d workloads, %d nodes)\n", c.File, len(config.Workloads), len(config.Cluster.Nodes))
	return nil
}

type configPresetsCmd struct {
	Name string `arg:"" optional:"" help:"Print this preset's table; its rows have the form of [[features.map]]."`
}

func (c configPresetsCmd) Run(g *globals) error {
	if c.Name != "" {
		text, err := features.PresetTable(c.Name)
		if err != nil {
			return err
		}
		fmt.Fprint(g.out, text)
		return nil
	}
	for _, name := range features.Presets() {
		m, err := features.Preset(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(g.out, "%-6s %s, from %d series\n", name, m.Kind(), len(m.Series()))
	}
	return nil
}
