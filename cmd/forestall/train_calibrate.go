package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
)

// calibrateFlags say what the probabilities are fitted to.
type calibrateFlags struct {
	Calibrate   string `group:"Calibration" placeholder:"FILE|SHARE|out-of-bag" help:"Fit the probabilities to rows that are used for nothing else: a table, or a share such as 10% of this one, its last rows by --time or whole components by --group. Of --members: out-of-bag, the rows trained on, each as judged by the member that left its component out; out-of-bag:20% takes the newest; none does without, which --telemetry does not unless told."`
	Calibration string `group:"Calibration" placeholder:"METHOD" default:"" enum:",auto,platt,isotonic" help:"How: platt, isotonic, or auto (the default): isotonic from 1,000 positive rows on, else platt."`

	CalibrateLabel string `group:"Calibration" placeholder:"COL" help:"Column that the probabilities are of where it is another than --label, such as a failure within 30 days while --label is within 14, whose outcome is known of newer rows. A row without a value is left out of the fit."`

	Recalibrate timeSpan `group:"Calibration" placeholder:"TIME" help:"Prequential: multiply the odds by the failures seen / expected in the highest hundredth of each test window, of the rows at most this time older than the newest, for rates drift."`
}

// calibrateNone says that --calibrate is to do nothing; with --telemetry it does
// something unless told.
const calibrateNone = "none"

// held is what a calibration is fitted to.
type held struct {
	share  share // of the table; 0: a file of its own
	rows   []int // of the table's file
	groups []int // component of each row; nil: not told
}

// slice returns the share of the table that is set apart, 0 for none.
func (f *calibrateFlags) slice() (share, error) {
	if !strings.HasSuffix(f.Calibrate, "%") || f.outOfBag() {
		return 0, nil
	}
	var s share
	if err := s.UnmarshalText([]byte(f.Calibrate)); err != nil {
		return 0, fmt.Errorf("--calibrate: %w", err)
	}
	return s, nil
}

// outcome returns the column that the probabilities are of.
func (c *trainCmd) outcome() string {
	if c.CalibrateLabel != "" {
		return c.CalibrateLabel
	}
	return c.Label
}

func (f *calibrateFlags) method() model.Method {
	if f.Calibration == "" {
		return train.AutoCalibration
	}
	return model.Method(f.Calibration)
}

// checkCalibrate finds out before the training, and before the table is read,
// what would be found after it.
func (c *trainCmd) checkCalibrate() error {
	switch s, err := c.slice(); {
	case err != nil:
		return err
	case c.Calibrate == "" && c.Calibration != "":
		return errors.New("--calibration needs --calibrate, the rows to fit to")
	case c.Calibrate == "" && c.CalibrateLabel != "":
		return errors.New("--calibrate-label needs --calibrate, the rows to fit to")
	case c.CalibrateLabel == c.Label && c.Label != "":
		return errors.New("--calibrate-label is --label; leave it out")
	case c.Calibrate == "":
		return nil
	case train.Objective(c.Objective) != train.Binary:
		return fmt.Errorf("--calibrate is for probabilities, which objective %s has not", c.Objective)
	case c.Weight != "":
		return fmt.Errorf("--calibrate counts each row once and does not know the weights of --weight %s: leave one of the two out", c.Weight)
	case c.outOfBag():
		return c.checkOutOfBag()
	case s != 0 && c.Time == "" && c.Group == "":
		return fmt.Errorf("--calibrate %s needs --time or --group: neighbouring rows are nearly the same, so none are set apart at random", c.Calibrate)
	}
	return nil
}

// hold sets the rows of the table apart that the probabilities are fitted to.
func (c *trainCmd) hold(in *trainInput) error {
	share, err := c.slice()
	if err != nil || share == 0 {
		return err
	}
	d, k := in.table, in.keys
	by := train.Split{Kind: train.ByTime, Embargo: c.Embargo.n, Seed: c.Seed}
	if in.wholeComponents(c) {
		by.Kind = train.ByGroup
	}
	rest, rows, err := by.Hold(k, d.AllRows(), float64(share))
	if err != nil {
		return fmt.Errorf("--calibrate %s: %w", c.Calibrate, err)
	}
	in.held = held{share: share, rows: rows, groups: k.Subset(rows).Group}
	wrong := func(positive, negative int, are, remedy string) error {
		if positive > 0 && negative > 0 {
			return nil
		}
		return fmt.Errorf("--calibrate %s sets %s apart: %d of the %d rows %s are positive; both classes are needed: %s",
			c.Calibrate, c.describeHeld(in), positive, positive+negative, are, remedy)
	}
	n := d.PositivesOf(rows)
	if k.Outcome == nil { // else the fit tells
		if err := wrong(n, len(rows)-n, "set apart", "set more apart"); err != nil {
			return err
		}
	}
	positive, negative := d.Classes(rest)
	if err := wrong(positive, negative, "that remain to train on", "set less apart, or give --calibrate a table of its own"); err != nil {
		return err
	}
	in.table, in.keys, in.place = in.take(rest), k.Subset(rest), rest
	return nil
}

// wholeComponents says that components are set apart, not the last rows.
func (in *trainInput) wholeComponents(c *trainCmd) bool {
	return c.Time == "" || in.split != nil && in.split.Kind == train.ByGroup
}

// describeHeld says in words what rows those are.
func (c *trainCmd) describeHeld(in *trainInput) string {
	switch s, _ := c.outOfBagShare(); {
	case s != 0:
		return fmt.Sprintf("the last %s of the rows trained on by %s, each judged by the member that left its component out", s, c.Time)
	case c.outOfBag():
		return "the rows trained on, each judged by the member that left its component out"
	case in.held.share == 0:
		return filepath.Base(c.Calibrate)
	case in.wholeComponents(c):
		return fmt.Sprintf("components with %s of the rows by %s", in.held.share, c.Group)
	}
	return fmt.Sprintf("the last %s of the rows by %s", in.held.share, c.Time)
}

// calibrate fits the probabilities to the rows set apart and judges them. What
// the card has for a calibration is the one before, and stays where that fails.
// It is done after Ctrl-C has ended the training too; another Ctrl-C ends it.
func (c *trainCmd) calibrate(g *globals, text []byte, in *trainInput, f *fitted, card *model.Card) error {
	if c.Calibrate == "" {
		return nil
	}
	if c.outOfBag() {
		return c.calibrateBy(f.leftOut.newest, c.Table, in, card)
	}
	ctx, stop := goOn(g.ctx)
	defer stop()
	e, err := model.ReadEnsemble(bytes.NewReader(text))
	if err != nil {
		return err
	}
	path := c.Table
	if in.held.share == 0 {
		path = c.Calibrate
	}
	rows, err := c.score(ctx, e, path, in.held)
	if err != nil {
		return err
	}
	return c.calibrateBy(rows, path, in, card)
}

// calibrateBy fits the probabilities to rows that have their scores.
func (c *trainCmd) calibrateBy(rows train.Held, path string, in *trainInput, card *model.Card) error {
	for _, raw := range rows.Raw {
		rows.Before = append(rows.Before, card.Calibration.Probability(raw))
	}
	calibration, reliability, err := train.Calibrate(rows, c.method())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	reliability.Of = c.describeHeld(in)
	if c.CalibrateLabel != "" {
		reliability.Of += ", by " + c.CalibrateLabel
	}
	card.Calibration, card.Reliability = calibration, &reliability
	return nil
}

// score reads rows and what a model makes of them, in the order in which they
// are held, without those whose outcome is not known.
func (c *trainCmd) score(ctx context.Context, e *model.Ensemble, path string, h held) (rows train.Held, err error) {
	at := map[int]int{}
	if h.share != 0 {
		rows.Raw, rows.Label = make([]float64, len(h.rows)), make([]bool, len(h.rows))
		for i, row := range h.rows {
			at[row] = i
		}
	}
	n, row := e.NumFeatures(), -1
	err = train.ScanTable(ctx, path, append(e.Features(), c.outcome()), func(cells []float64) error {
		row++
		i, wanted := at[row]
		if h.share != 0 && !wanted {
			return nil
		}
		y := cells[n]
		raw, err := e.Raw(cells[:n])
		switch {
		case math.IsNaN(y) && c.CalibrateLabel != "":
			raw = math.NaN()
		default:
			if err := checkOutcome(c.outcome(), y); err != nil {
				return err
			}
		}
		if h.share == 0 {
			rows.Raw, rows.Label = append(rows.Raw, raw), append(rows.Label, y == 1)
		} else {
			rows.Raw[i], rows.Label[i] = raw, y == 1
		}
		return err
	})
	if err == nil && h.share != 0 && row < slices.Max(h.rows) {
		err = fmt.Errorf("%s: the file changed while it was used: it has %s now", path, textCount(row+1, "row"))
	}
	rows.Group = h.groups
	return withScores(rows), err
}

// withScores returns the rows that have a score.
func withScores(rows train.Held) (known train.Held) {
	if !slices.ContainsFunc(rows.Raw, math.IsNaN) {
		return rows
	}
	for i, raw := range rows.Raw {
		if math.IsNaN(raw) {
			continue
		}
		known.Raw, known.Label = append(known.Raw, raw), append(known.Label, rows.Label[i])
		if rows.Group != nil {
			known.Group = append(known.Group, rows.Group[i])
		}
	}
	return known
}

// tellCalibration prints how true the probabilities are.
func tellCalibration(g *globals, card *model.Card) {
	r := card.Reliability
	if r == nil {
		return
	}
	fmt.Fprintf(g.out, "Calibrated with %s on %s: %s, %d positive.\n", card.Calibration.Method, r.Of, textCount(r.Rows, "row"), r.Positives)
	how := "Each half of the rows is judged by a calibration fitted on the other"
	if !r.Unseen {
		how = "Judged on the rows that it was fitted on, for they are too few to halve, so that nothing tells whether it helps"
	}
	fmt.Fprintf(g.out, "%s: calibration error %.5f, %.5f before; Brier skill %.4f, %.4f before.\n", how, r.After.ECE, r.Before.ECE, r.After.BrierSkill, r.Before.BrierSkill)
	if r.Unseen && r.After.LogLoss > r.Before.LogLoss {
		fmt.Fprintf(g.out, "It does not help here: the log loss is %.5f, %.5f before. Set more rows apart, or take --calibrate none.\n", r.After.LogLoss, r.Before.LogLoss)
	}
}
