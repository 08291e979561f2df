package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
	"github.com/stratoswarm/forestall/train/table"
)

// reportFlags ask for a page about the model that is trained.
type reportFlags struct {
	Report   string `placeholder:"FILE" help:"Write a page about the model as evaluate does, on the --valid table or the rows of --holdout, with alarms where --group and --time are there."`
	TimeUnit string `default:"units" placeholder:"UNIT" help:"Unit of --time, as evaluate knows it."`
}

// checkReport finds out before the training what would be found after it.
func (c *trainCmd) checkReport(split *train.Split) error {
	switch {
	case c.Report == "":
		return nil
	case train.Objective(c.Objective) != train.Binary:
		return fmt.Errorf("--report is for probabilities, which objective %s has not", c.Objective)
	case c.CalibrateLabel != "":
		return fmt.Errorf("--report judges by --label, and the probabilities are of %s: train without it, then evaluate --label %s --report", c.CalibrateLabel, c.CalibrateLabel)
	case c.Valid != "" || c.judgedByHoldout(split):
		return checkFile("--report", c.Report)
	case split != nil:
		return errors.New("--report needs rows that the model has not seen, and after folds or a search it is trained on all of them: " +
			"give --valid FILE instead of the split, or train without --report and evaluate --report on another table")
	}
	return errors.New("--report needs rows that the model has not seen: give --valid FILE, or --time COL --holdout 20%")
}

// judgedByHoldout reports whether the model that is written is one that the last
// rows of the table judge.
func (c *trainCmd) judgedByHoldout(split *train.Split) bool {
	return split != nil && split.Kind == train.ByTime && !c.searching()
}

// report judges the model that was written.
func (c *trainCmd) report(g *globals, in *trainInput, text []byte, card model.Card) error {
	if c.Report == "" {
		return nil
	}
	ctx, stop := goOn(g.ctx)
	defer stop()
	after := *g
	after.ctx = ctx
	e, err := c.evaluation(in)
	if err != nil {
		return err
	}
	m, err := model.New(text, card) // not from --out, where another training may have written since
	if err != nil {
		return err
	}
	r, err := e.measure(&after, m)
	if err != nil {
		return err
	}
	if in.from.trainedOn(r.digest) {
		e.notes = append(e.notes, fmt.Sprintf("The trees that it goes on from, those of %s, were trained on rows of this table, perhaps on these: the figures may flatter it.", in.from.card.Name))
	}
	if err := r.report(&after); err != nil {
		return err
	}
	fmt.Fprintf(g.out, "Wrote %s.\n", c.Report)
	return nil
}

// evaluation says what the page is about: which rows judge, and what they were
// used for before.
func (c *trainCmd) evaluation(in *trainInput) (*evaluateCmd, error) {
	e := &evaluateCmd{
		Model: c.Out, Table: c.Valid, Label: c.Label, TimeUnit: c.TimeUnit, Bootstrap: 200, Seed: c.Seed, Threads: c.Threads, Report: c.Report,
	}
	rows := "this table"
	if c.judgedByHoldout(in.split) {
		e.Table, e.only = c.Table, in.unseen
		rows = "these rows"
		e.notes = append(e.notes, fmt.Sprintf("The figures are of %s, on which it was not trained.", c.describeSplit(in.split)))
	}
	switch {
	case c.searching():
		e.notes = append(e.notes, "The parameters and the number of trees were chosen on "+rows+" (--search), which flatters the figures.")
	case c.EarlyStopping > 0:
		e.notes = append(e.notes, "The number of trees was chosen on "+rows+" (--early-stopping), which flatters the figures a little.")
	}
	if c.Weight != "" {
		e.notes = append(e.notes, "Each row counts once here; it was trained with the weights of "+c.Weight+".")
	}
	if sameFile(c.Calibrate, c.Valid) {
		e.notes = append(e.notes, "The probabilities were calibrated on this table, which flatters what is said of them.")
	}
	t, err := table.Open(e.Table)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	has := func(column string) bool { return column != "" && slices.Contains(t.Columns(), column) }
	if has(c.Group) {
		e.Group = c.Group
		if has(c.Time) {
			e.Time = c.Time
		}
	}
	return e, e.check()
}
