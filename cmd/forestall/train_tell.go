package main

import (
	"fmt"
	"math"
	"path/filepath"
	"time"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
)

// card says what a model is and where it comes from.
func (c *trainCmd) card(in *trainInput, f *fitted, text []byte) (model.Card, error) {
	name := c.Name
	if name == "" {
		abs, err := filepath.Abs(c.Out)
		if err != nil {
			return model.Card{}, err
		}
		name = filepath.Base(abs)
	}
	card := model.Card{
		Format: model.CardFormat, Name: name, Version: model.Digest(text)[:12], Features: f.Features,
		Horizon: model.Duration(c.Horizon), Monotone: f.Monotone, Trials: f.trials,
		Training: model.Training{
			DataSHA256: in.digest,
			Notes:      fmt.Sprintf("label %s; %d of %d rows; %d trees of at most %d leaves; seed %d", c.Label, f.rows, in.rows, len(f.Trees), f.leaves, c.Seed) + c.bagNote(f.Result) + in.from.note(),
		},
	}
	switch {
	case f.trials != nil:
		card.Metrics = map[string]float64{"valid_" + f.trials.Metric: f.trials.Mean}
	case f.Metric != "":
		card.Metrics = map[string]float64{"valid_" + string(f.Metric): f.Best}
	}
	if f.leftOut != nil {
		if card.Metrics == nil {
			card.Metrics = map[string]float64{}
		}
		for name, v := range f.leftOut.value {
			if !math.IsNaN(v) { // of the first members alone not all are known
				card.Metrics[name] = v
			}
		}
	}
	if train.Objective(c.Objective) == train.Binary {
		card.Calibration = model.Calibration{Method: model.Platt, Slope: 1, Intercept: f.Intercept}
	}
	c.made.describe(c, &card)
	return card, nil
}

// textTrees says how many trees were grown.
func (f *fitted) textTrees() string {
	text := textCount(len(f.Trees)-f.Base, "tree")
	if f.Bagged != nil {
		text += " of " + textCount(len(f.Bagged.Members), "member")
	}
	return text
}

// textEnd says why there are no more trees, if not for being told how many.
func (f *fitted) textEnd() string {
	switch {
	case f.Interrupted:
		return "; interrupted"
	case f.Full:
		return fmt.Sprintf("; no more, for their text would be larger than the %d MiB that a model may have", model.MaxBytes>>20)
	case f.Stopped:
		return "; stopped early"
	}
	return ""
}

// tell prints what was done.
func (c *trainCmd) tell(g *globals, in *trainInput, f *fitted, card *model.Card, reading time.Duration) {
	fmt.Fprintf(g.out, "Read %s of %s in %s", textCount(in.rows, "row"), textCount(len(f.Features), "feature"), textDuration(reading))
	if train.Objective(c.Objective) == train.Binary {
		fmt.Fprintf(g.out, ", %.3g %% positive", 100*float64(in.positives)/float64(in.rows))
	}
	fmt.Fprint(g.out, ".\n")
	if f.trials != nil {
		if f.search != nil {
			tellSearch(g, f.search, f.trials)
		}
		tellFolds(g, f.trials)
		if f.search == nil && f.trials.Ended != "" {
			fmt.Fprintf(g.out, "There are no more folds because %s.\n", f.trials.Ended)
		}
	}
	fmt.Fprintf(g.out, "Trained %s", f.textTrees())
	if f.rows != in.rows {
		fmt.Fprintf(g.out, " on %s", textCount(f.rows, "row"))
	}
	fmt.Fprintf(g.out, " in %s", textDuration(f.took))
	fmt.Fprint(g.out, f.textEnd())
	if f.trials == nil && f.Metric != "" {
		fmt.Fprintf(g.out, "; %s on %s: %.5f", f.Metric, c.Valid, f.Best)
	}
	fmt.Fprint(g.out, ".\n")
	f.leftOut.tell(g)
	in.from.tell(g, f)
	tellCalibration(g, card)
	f.came.tell(g, c, card)
	c.made.tell(g, card)
	if in.from != nil && in.from.card.Reliability != nil && c.Calibrate == "" {
		fmt.Fprintf(g.out, "The probabilities of %s were fitted to rows held out; those of the new model are not: give --calibrate.\n", in.from.card.Name)
	}
	fmt.Fprintf(g.out, "Wrote %s.\n", filepath.Join(c.Out, model.TreesFile))
}
