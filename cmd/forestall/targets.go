package main

import (
	"github.com/stratoswarm/forestall/api"
)

// targetsCmd lists what an engine scrapes.
type targetsCmd struct {
	clientFlags
}

func (c targetsCmd) Run(g *globals) error {
	all, err := c.client().Targets(g.ctx)
	return show(g, c.clientFlags, all, err, view.targets)
}

func (v view) targets(all []api.Target) {
	t := textTable{header: []string{"URL", "SECTION", "STATE", "LAST READ", ">DESCRIBES", "ERROR"}}
	for _, x := range all {
		state, color, read := "up", sgrGreen, "never"
		switch {
		case x.InPart():
			state, color = "in part", sgrYellow
		case x.Error != "":
			state, color = "down", sgrRed
		case !x.Up:
			state, color = "not read yet", sgrYellow
		}
		if !x.Read.IsZero() {
			read = v.ago(x.Read)
		}
		describes := textCount(x.Components, "component")
		if x.List {
			describes = textCount(x.Targets, "target")
		}
		t.add(cellOf(x.URL), cellOf(x.Section), textCell{state, color}, cellOf(read), cellOf(describes), cellOf(x.Error))
	}
	t.writeOr(v, "This engine scrapes no targets.")
}
