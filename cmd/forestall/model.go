package main

import (
	"encoding/json"
	"fmt"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/model"
)

// modelCmd is about the models that judge a cluster.
type modelCmd struct {
	Show     modelShowCmd     `cmd:"" default:"withargs" help:"Show the model of each kind: its part, thresholds and why, drift, and what came of its predictions."`
	List     modelListCmd     `cmd:"" help:"List the models of each kind: champion, candidate and earlier champions."`
	History  modelHistoryCmd  `cmd:"" help:"List the steps in the lives of models that the cluster agreed on."`
	Propose  modelProposeCmd  `cmd:"" help:"Propose a model; it runs in the champion's shadow once more than half of the nodes have it."`
	Promote  modelPromoteCmd  `cmd:"" help:"Make the candidate the champion, whatever its trial has shown."`
	Reject   modelRejectCmd   `cmd:"" help:"Drop the candidate."`
	Rollback modelRollbackCmd `cmd:"" help:"Put the champion before in the place of the champion."`
}

// Help adds to the command's help.
func (modelCmd) Help() string {
	return "A candidate is proposed, runs in shadow beside the champion on every node, and is compared on the same predictions. With model.promote = \"act\" it is promoted when it is better, rejected when it is not, and a champion that loses its calibration or drifts is rolled back; with \"observe\" the operator decides. With model.recalibrate = \"act\" the champion's odds are corrected by what came of its predictions. Each step is an entry in the ledger."
}

type modelShowCmd struct {
	clientFlags
}

func (c modelShowCmd) Run(g *globals) error {
	all, err := c.client().Models(g.ctx)
	return show(g, c.clientFlags, all, err, view.models)
}

type modelListCmd struct {
	clientFlags
}

func (c modelListCmd) Run(g *globals) error {
	all, err := c.client().Models(g.ctx)
	return show(g, c.clientFlags, all, err, view.modelList)
}

type modelHistoryCmd struct {
	clientFlags
}

func (c modelHistoryCmd) Run(g *globals) error {
	all, err := c.client().ModelEvents(g.ctx)
	return show(g, c.clientFlags, all, err, view.modelHistory)
}

type modelProposeCmd struct {
	apiFlag
	Dir            string   `arg:"" type:"existingdir" help:"Directory of the model, with model.txt and card.json."`
	Reason         []string `placeholder:"TEXT" help:"Why, for the audit."`
	AnotherHorizon bool     `help:"It may predict over another lead and horizon than the trained model that judges now."`
}

func (c modelProposeCmd) Run(g *globals) error {
	return proposeModel(g, c.apiFlag, c.Dir, api.ModelFiles{Reasons: c.Reason, AnotherHorizon: c.AnotherHorizon})
}

// proposeModel adds a model's files to what is said of it and sends all to an
// engine.
func proposeModel(g *globals, f apiFlag, dir string, files api.ModelFiles) error {
	text, card, err := model.ReadPair(dir)
	if err != nil {
		return err
	}
	about, err := json.Marshal(card)
	if err != nil {
		return err
	}
	files.Trees, files.Card = string(text), string(about)
	ref, err := f.client().ProposeModel(g.ctx, files)
	if err != nil {
		return err
	}
	fmt.Fprintf(g.out, "Proposed %s %s, SHA-256 %s. `forestall model` shows how it does.\n", textClean(ref.Name), textClean(ref.Version), ref.SHA256)
	return nil
}

// modelChangeFlags name a step in the life of a kind's models.
type modelChangeFlags struct {
	apiFlag
	Kind   string `arg:"" help:"Kind of component: gpu or node."`
	SHA256 string `name:"sha256" placeholder:"HEX" help:"Of the model that is meant, or how it begins; another one is refused."`
	Reason string `placeholder:"TEXT" help:"Why, for the audit."`
}

func (c modelChangeFlags) change(g *globals, step forestall.ModelStep, done string) error {
	kind, err := forestall.ParseKind(c.Kind)
	if err != nil {
		return err
	}
	if err := c.client().ChangeModel(g.ctx, kind, step, api.ModelChange{SHA256: c.SHA256, Reason: c.Reason}); err != nil {
		return err
	}
	fmt.Fprintf(g.out, "%s; every engine follows the ledger.\n", fmt.Sprintf(done, kind))
	return nil
}

type modelPromoteCmd struct{ modelChangeFlags }

func (c modelPromoteCmd) Run(g *globals) error {
	return c.change(g, forestall.ModelPromoted, "The candidate for %s is the champion")
}

type modelRejectCmd struct{ modelChangeFlags }

func (c modelRejectCmd) Run(g *globals) error {
	return c.change(g, forestall.ModelRejected, "The candidate for %s is dropped")
}

type modelRollbackCmd struct{ modelChangeFlags }

func (c modelRollbackCmd) Run(g *globals) error {
	return c.change(g, forestall.ModelRolledBack, "The champion before is the champion for %s again")
}
