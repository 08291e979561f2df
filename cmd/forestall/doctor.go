package main

import (
	"fmt"
	"slices"

	"github.com/stratoswarm/forestall/engine"
	"github.com/stratoswarm/forestall/internal/certs"
)

// doctorCmd looks for what is wrong on this node.
type doctorCmd struct {
	Config string `short:"c" type:"path" placeholder:"FILE" help:"forestall.toml; without it ${default_config} if that exists, else the defaults."`
	Peers  bool   `default:"true" negatable:"" help:"Also call the other nodes' engines; --no-peers does not."`
	JSON   bool   `name:"json" help:"Print what was found as JSON."`
}

// Help adds to the command's help.
func (doctorCmd) Help() string {
	return "Looks at the configuration, the files and models that it names, certificates (expired or soon, of another name or CA, with a key that does not match, open to every user), tokens, and whether the other nodes' engines answer this one. It changes nothing and may run beside the engine; run it as the engine's user. The exit status is 3 when something is wrong; warnings alone leave it 0."
}

func (c doctorCmd) Run(g *globals) error {
	config, err := loadConfig(c.Config, "")
	if err != nil {
		return err
	}
	found := config.Examine(g.ctx, g.now(), c.Peers)
	if len(found) == 0 {
		found = append(found, engine.Finding{Level: certs.OK, About: "configuration", Text: "nothing in it needs a look: no certificates, no other nodes"})
	}
	err = show(g, clientFlags{JSON: c.JSON}, found, nil, view.findings)
	if err == nil && slices.ContainsFunc(found, func(f engine.Finding) bool { return f.Level == certs.Bad }) {
		return exitDegraded
	}
	return err
}

func (v view) findings(all []engine.Finding) {
	for _, f := range all {
		color := map[certs.Level]sgr{certs.OK: sgrGreen, certs.Warning: sgrYellow, certs.Bad: sgrRed}[f.Level]
		fmt.Fprintf(v.out, "%s  %s: %s\n", v.paint(fmt.Sprintf("%-7s", f.Level), color), textClean(f.About), textClean(f.Text))
	}
}
