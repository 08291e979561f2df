package main

import (
	"errors"
	"fmt"
	"math"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
)

// recalibration collects what came of the probabilities of a prequential split's
// windows.
type recalibration struct {
	peaks     []train.Peak // of the windows so far, before they were corrected
	corrected float64      // failures expected among them, each window corrected by those before it
	now       float64      // time of the newest row
}

// checkRecalibrate finds out before anything is read what the flag lacks.
func (c *trainCmd) checkRecalibrate(split *train.Split) error {
	switch {
	case c.Recalibrate.n == 0:
		return nil
	case !(c.Recalibrate.n > 0) || math.IsInf(c.Recalibrate.n, 0):
		return fmt.Errorf("--recalibrate is %s; it must be finite and above 0", c.Recalibrate.given)
	case train.Objective(c.Objective) != train.Binary:
		return fmt.Errorf("--recalibrate is for probabilities, which objective %s has not", c.Objective)
	case split == nil || split.Kind != train.Prequential:
		return errors.New("--recalibrate needs windows to learn from: --time with --train-window and --test-window")
	case c.searching():
		return errors.New("--recalibrate and --search: search first, then train with the parameters that were found")
	case c.Calibrate != "" && !c.outOfBag():
		return fmt.Errorf("--recalibrate corrects what is fitted to rows trained on, and the rows of --calibrate %s are newer than its windows: leave one of the two out", c.Calibrate)
	}
	return nil
}

// recalibrates has the folds tell what came of their probabilities, as the model
// that is written would have given them; nil where that is not asked for.
func (c *trainCmd) recalibrates(in *trainInput, cv *train.CrossValidation) *recalibration {
	if c.Recalibrate.n == 0 {
		return nil
	}
	r := &recalibration{now: math.Inf(-1)}
	for _, t := range in.keys.Time {
		r.now = max(r.now, t)
	}
	cv.Judged = func(fold int, d, valid *train.Dataset, result *train.Result) error {
		calibration := model.Calibration{Method: model.Platt, Slope: 1, Intercept: result.Intercept}
		if c.outOfBag() {
			left, err := c.judgeOutOfBag(d, cv.Keys(fold), result)
			if err != nil {
				return err
			}
			for _, raw := range left.newest.Raw {
				left.newest.Before = append(left.newest.Before, calibration.Probability(raw))
			}
			if calibration, _, err = train.Calibrate(left.newest, c.method()); err != nil {
				return err
			}
		}
		keys := cv.JudgeKeys(fold)
		var probability, times []float64
		var label []bool
		begin := math.Inf(1)
		for i, raw := range result.Valid {
			begin = min(begin, keys.Time[i])
			y := valid.Labels()[i]
			if keys.Outcome != nil {
				y = keys.Outcome[i]
			}
			if !math.IsNaN(y) {
				probability, label, times = append(probability, calibration.Probability(raw)), append(label, y == 1), append(times, keys.Time[i])
			}
		}
		// When the window began, no more was known than this.
		factor := train.Recalibrate(r.peaks, begin-c.Recalibrate.n, begin-in.split.Embargo).Factor()
		peaks := train.Peaks(probability, label, times)
		for _, p := range peaks {
			r.corrected += model.TimesOdds(p.Probability, factor)
		}
		r.peaks = append(r.peaks, peaks...)
		return nil
	}
	return r
}

// correct corrects a card's calibration by what came of the newest windows.
func (r *recalibration) correct(c *trainCmd, card *model.Card) {
	if r == nil {
		return
	}
	newest := train.Recalibrate(r.peaks, r.now-c.Recalibrate.n, r.now)
	card.Calibration = card.Calibration.TimesOdds(newest.Factor())
	card.Recalibrated = &newest
}

// tell prints what came, and by how much the odds were corrected.
func (r *recalibration) tell(g *globals, c *trainCmd, card *model.Card) {
	if r == nil || card.Recalibrated == nil {
		return
	}
	all := train.Recalibrate(r.peaks, math.Inf(-1), math.Inf(1))
	newest := card.Recalibrated
	fmt.Fprintf(g.out, "Of the highest hundredth of each window's probabilities %.0f failed; %.1f were expected, %.1f with each window corrected by those before it.\n", all.Observed, all.Expected, r.corrected)
	fmt.Fprintf(g.out, "The odds are multiplied by %.3f: in the last %s %.0f failed, %.1f were expected, and %.0f as expected are added to both.\n",
		newest.Factor(), c.textSpan(c.Recalibrate.n), newest.Observed, newest.Expected, newest.Prior)
}
