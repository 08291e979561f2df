package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
)

// trainCmd trains a model on a plain table.
type trainCmd struct {
	Table string `xor:"rows" required:"" placeholder:"FILE" help:"Table to train on: CSV, plain or compressed with gzip or zstd, or Parquet."`
	Label string `placeholder:"COL" help:"Column of --table to predict."`
	Out   string `required:"" placeholder:"DIR" help:"Directory for model.txt and card.json."`

	Drop        []string `placeholder:"COL,.." help:"Columns that are no features."`
	Weight      string   `placeholder:"COL" help:"Column with the weight of each row."`
	Categorical []string `placeholder:"COL,.." help:"Features whose values are codes without an order."`
	Monotone    []string `placeholder:"COL=+1,.." help:"Features that never lower (+1) or never raise (-1) the risk as they grow."`
	ZeroMissing bool     `help:"A value of 0 is missing."`
	Objective   string   `default:"binary" enum:"binary,regression" help:"binary for a label 0 or 1, regression for a number (${enum})."`

	Trees          *int      `placeholder:"N" help:"Trees, at most; 100 unless told."`
	Leaves         int       `default:"31" help:"Leaves of a tree, at most."`
	LearningRate   float64   `default:"0.1" help:"Each tree's share of its best values."`
	MaxDepth       int       `default:"0" help:"Depth of a tree, at most; 0: not bounded."`
	MaxBin         int       `default:"255" help:"Bins of a feature, at most 255."`
	MinLeaf        int       `default:"20" help:"Rows of a leaf, at least, of those that choose the splits."`
	MinHessian     float64   `default:"1" help:"Sum of second derivatives of a leaf, at least, over the rows that choose the splits."`
	MinGain        float64   `default:"0" help:"Gain of a split, at least."`
	L1             float64   `name:"l1" default:"0" help:"L1 penalty on the leaves' values."`
	L2             float64   `name:"l2" default:"1" help:"L2 penalty on the leaves' values."`
	MaxStep        float64   `default:"0" help:"Bound of a leaf's value before the learning rate, 0 for none; 0.5 to 2 helps where failures are rare."`
	PathSmooth     float64   `default:"0" help:"Pulls a leaf's value towards those of the nodes above it: each counts as its sum of second derivatives, the one above as this; 0: not at all."`
	Start          float64   `default:"0" help:"Where the score begins, as a share of the base rate's log-odds: 1 at the base rate, 0 at even odds."`
	SampleRows     *float64  `placeholder:"SHARE" help:"Share of the rows that choose each tree's splits, while the values of its leaves follow from all rows; 0.5 unless told, 0.9 with --start above 0, 1 with --goss, and all rows of a table so small that the share is less than four times --min-leaf."`
	SampleFeatures float64   `default:"1" help:"Share of the features that each tree may use."`
	GOSS           []float64 `name:"goss" placeholder:"TOP,REST" help:"Gradient-based one-side sampling, instead of --sample-rows: the share of the rows with the largest gradients that each tree sees, and the random share of all rows from the others; 0.2,0.1 is usual."`
	ScalePosWeight float64   `default:"1" help:"Weight of positive rows; the probabilities are corrected for it."`

	bagFlags `embed:""`

	Valid         string `placeholder:"FILE" help:"Table to validate on."`
	EarlyStopping int    `placeholder:"N" help:"Stop after N trees without a better validation; needs --valid or rows held out."`
	Metric        string `placeholder:"NAME" help:"What the validation is judged by: logloss, ap, auc; rmse for a regression. By default logloss, of a search ap."`

	splitFlags     `embed:""`
	searchFlags    `embed:""`
	calibrateFlags `embed:""`
	reportFlags    `embed:""`

	continueFlag

	telemetryTraining `embed:""`

	Name    string        `placeholder:"NAME" help:"Name of the model in its card; by default that of the directory."`
	Horizon time.Duration `placeholder:"DURATION" help:"The label means a failure within this time; kept in the card. Of --telemetry: an incident that starts between the lead and the lead and this."`
	Seed    uint64        `default:"1" help:"Seed of the samples."`
	Threads int           `default:"0" help:"Threads; 0: one per processor. The model does not depend on it."`
	JSON    bool          `name:"json" help:"Report on standard error in lines of JSON: each tree of the model, each fold, each trial and, once a second, how far the reading or the fold under way is."`
}

// Help adds to the command's help.
func (trainCmd) Help() string {
	return "Every column but the label, the weight and those dropped is a feature; --time and --group are dropped too. An empty cell, NA and nan are missing. Ctrl-C ends the training after the tree at hand and keeps what there is; while rows held out judge, it goes on to the training with what is known by then."
}

const defaultTrees = 100

func (c *trainCmd) spec() train.Spec {
	return train.Spec{
		Label: c.Label, Drop: c.notFeatures(), Weight: c.Weight, Categorical: c.Categorical,
		Objective: train.Objective(c.Objective), ZeroMissing: c.ZeroMissing,
		MaxBin: c.MaxBin, Seed: c.Seed, Threads: c.Threads,
	}
}

// notFeatures returns the columns that are no features, beside label and weight.
func (c *trainCmd) notFeatures() []string {
	not := append(slices.Clone(c.Drop), c.drop()...)
	if c.CalibrateLabel != "" && !slices.Contains(not, c.CalibrateLabel) {
		not = append(not, c.CalibrateLabel)
	}
	return not
}

func (c *trainCmd) params() (train.Params, error) {
	p := train.Params{
		Trees: defaultTrees, Leaves: c.Leaves, LearningRate: c.LearningRate, MaxDepth: c.MaxDepth,
		MinLeaf: c.MinLeaf, MinHessian: c.MinHessian, MinGain: c.MinGain, L1: c.L1, L2: c.L2,
		MaxStep: c.MaxStep, PathSmooth: c.PathSmooth, Start: c.Start,
		SampleRows: train.DefaultSampleRows(c.Start), SampleFeatures: c.SampleFeatures, PosWeight: c.ScalePosWeight,
		EarlyStopping: c.EarlyStopping, Metric: train.Metric(c.Metric), Seed: c.Seed, Threads: c.Threads,
	}
	if c.Trees != nil {
		p.Trees = *c.Trees
	}
	switch len(c.GOSS) {
	case 0:
	case 2:
		if p.GOSSTop, p.GOSSRest = c.GOSS[0], c.GOSS[1]; p.GOSSTop > 0 {
			p.SampleRows = 1
		}
	default:
		return p, fmt.Errorf("--goss has %d values: write two shares, as in 0.2,0.1", len(c.GOSS))
	}
	if c.SampleRows != nil {
		p.SampleRows = *c.SampleRows
	}
	for _, m := range c.Monotone {
		at := max(0, strings.LastIndexByte(m, '=')) // a name may hold one
		name := m[:at]
		n, err := strconv.Atoi(strings.TrimPrefix(m[at:], "="))
		if name == "" || err != nil {
			return p, fmt.Errorf("--monotone %s: write it as COL=+1 or COL=-1", m)
		}
		if p.Monotone == nil {
			p.Monotone = map[string]int{}
		}
		if _, twice := p.Monotone[name]; twice {
			return p, fmt.Errorf("--monotone names %s twice", name)
		}
		p.Monotone[name] = n
	}
	return p, flagError(p.Validate())
}

func (c *trainCmd) Run(g *globals) error {
	p, err := c.params()
	if err != nil {
		return err
	}
	if c.Telemetry != "" || c.Prometheus != "" {
		done, err := c.prepareTelemetry()
		if err != nil {
			return err
		}
		defer done()
	} else if c.Config != "" || c.TelemetryOut != "" {
		return errors.New("--config and --telemetry-out are for --telemetry and --prometheus; a --table has its own columns")
	}
	if c.Calibrate == calibrateNone {
		c.Calibrate = ""
	}
	split, err := c.check()
	if err != nil {
		return err
	}
	from, err := c.base()
	if err != nil {
		return err
	}
	if from != nil {
		if err := from.constrain(&p); err != nil {
			return err
		}
	}
	// What a training holds is few and large: to collect often costs little and
	// keeps memory near what is in use.
	debug.SetGCPercent(25)
	progress := newTrainProgress(g, c.JSON)
	defer progress.end()
	if c.made != nil {
		if err := c.makeTable(g); err != nil {
			return unlessInterrupted(g.ctx, err)
		}
	}
	started := g.now()
	in, err := c.read(g, progress, split, from)
	if err != nil {
		return unlessInterrupted(g.ctx, err)
	}
	read := g.now()
	f, err := c.fit(g, progress, in, p)
	progress.end()
	if err != nil {
		return unlessInterrupted(g.ctx, err)
	}
	if f.Splits() == 0 && len(f.Trees) > f.Base {
		return fmt.Errorf("nothing was learned, and nothing is written: no tree has a split. Either no feature tells the labels apart, or %s are too few for --min-leaf %d, --min-hessian %v (rows of small weight count for less) and --min-gain %v",
			textCount(f.rows, "row"), c.MinLeaf, c.MinHessian, c.MinGain)
	}
	text, err := f.Text()
	if err != nil {
		return err
	}
	card, err := c.card(in, f, text)
	if err != nil {
		return err
	}
	// A model is kept whatever becomes of its calibration.
	uncalibrated := c.calibrate(g, text, in, f, &card)
	if uncalibrated == nil {
		f.came.correct(c, &card)
	}
	if err := model.Save(c.Out, text, card); err != nil {
		return err
	}
	c.tell(g, in, f, &card, read.Sub(started))
	if uncalibrated != nil {
		return fmt.Errorf("the model is written, but --calibrate could not be done, and its probabilities are those of the trees: %s", reason(g.ctx, uncalibrated).Error())
	}
	return c.report(g, in, text, card)
}

// unlessInterrupted returns an error, in plain words where it is only that the
// context has ended.
func unlessInterrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))) {
		return errors.New("interrupted before there was a model; nothing is written")
	}
	return err
}

// loadModel reads a model's directory, or the bare text of one, which has no
// calibration.
func loadModel(path string) (*model.Model, error) {
	if info, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no model %s: name the directory that 'forestall train --out' wrote, or a bare model.txt", path)
	} else if err != nil {
		return nil, err
	} else if info.IsDir() {
		m, err := model.Load(path)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: a model is a directory with %s and %s, or a bare %s", err, model.TreesFile, model.CardFile, model.TreesFile)
		}
		return m, err
	}
	text, err := model.ReadFile(os.DirFS(filepath.Dir(path)), filepath.Base(path))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	e, err := model.ReadEnsemble(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m, err := model.New(text, model.Card{Format: model.CardFormat, Name: path, Version: model.Digest(text)[:12], Features: e.Features()})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}
