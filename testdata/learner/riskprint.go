package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/stratoswarm/forestall/train"
)

// verdict words a bar that is kept or not.
func verdict(ok bool) string {
	if ok {
		return "PASS"
	}
	return "FAIL"
}

// print writes a study's tables and reports whether every bar is kept.
func (s riskStudy) print(tested []*riskScores) (ok bool, err error) {
	ok = true
	fmt.Printf("\n### %s: %s\n\n", s.name, s.horizon)
	fmt.Printf("| test | rows | positive | AUC ours | XGBoost, plain | difference [95 %%] | AP ours | XGBoost, plain | difference [95 %%] | caught at 1 %% alarmed: in time (ever) | XGBoost | observed / expected in the top 1 %% |\n%s\n", rule(12))
	var aucs, aps []train.Difference
	var caught [4]float64
	add := func(i int, v float64) { caught[i] += v / float64(len(tested)) }
	for _, r := range tested {
		other := r.plain
		if other == nil {
			other = r.score
		}
		p, err := train.PairedBootstrap(r.score, other, r.label, r.component, resamples, 1)
		if err != nil {
			return false, err
		}
		aucs, aps = append(aucs, p.AUC), append(aps, p.AP)
		inTime, ever := caughtAt(r.score, r.label, r.component, 0.01)
		theirsInTime, theirsEver := caughtAt(other, r.label, r.component, 0.01)
		for i, v := range []float64{inTime, ever, theirsInTime, theirsEver} {
			add(i, v)
		}
		positive := 0
		for _, y := range r.label {
			if y {
				positive++
			}
		}
		o, e := top(r)
		fmt.Printf("| %s | %d | %d | %s | %s | %s | %s | %.2f |\n", r.fold, len(r.label), positive, pairCells(p.AUC, r.plain != nil), pairCells(p.AP, r.plain != nil),
			caughtCell(inTime, ever, true), caughtCell(theirsInTime, theirsEver, r.plain != nil), o/e)
	}
	auc, ap := meanOf(aucs), meanOf(aps)
	if len(tested) > 1 {
		beside := tested[0].plain != nil
		fmt.Printf("| mean | | | %s | %s | %s | %s | |\n", pairCells(auc, beside), pairCells(ap, beside), caughtCell(caught[0], caught[1], true), caughtCell(caught[2], caught[3], beside))
	}
	if s.leads {
		if err := printLeads(tested[0].unseen); err != nil {
			return false, err
		}
	}
	t, err := newTrust(tested)
	if err != nil {
		return false, err
	}
	fmt.Print("\n| bar | figure | |\n|---|---|---|\n")
	bar := func(what, figure string, kept bool) {
		fmt.Printf("| %s | %s | %s |\n", what, figure, verdict(kept))
		ok = ok && kept
	}
	for i, r := range tested {
		if least, asked := s.bars.auc[r.fold]; asked {
			bar(fmt.Sprintf("AUC of %s at least %v", r.fold, least), fmt.Sprintf("%.4f", aucs[i].A), aucs[i].A >= least)
		}
	}
	if s.bars.above && !slices.ContainsFunc(tested, func(r *riskScores) bool { return r.plain == nil }) {
		bar("mean AUC above the baseline's", fmt.Sprintf("%+.4f [%+.4f, %+.4f]", auc.Delta, auc.CI.Low, auc.CI.High), auc.CI.Low > 0)
		bar("mean AP above the baseline's", fmt.Sprintf("%+.4f [%+.4f, %+.4f]", ap.Delta, ap.CI.Low, ap.CI.High), ap.Delta > 0)
	}
	ratio := t.observed / t.expected
	bar("observed / expected in the top 1 % within 0.8 to 1.25", fmt.Sprintf("%.2f (%.0f / %.1f)", ratio, t.observed, t.expected), ratio >= 0.8 && ratio <= 1.25)
	bar("Brier skill above 0", fmt.Sprintf("%.4f [%.4f, %.4f]", t.skill.Value, t.skill.Low, t.skill.High), t.skill.Low > 0)
	fmt.Printf("\nExpected calibration error %.5f; base rate %.5f.\n", t.ece, t.baseRate)
	return ok, nil
}

func rule(columns int) string {
	b := []byte("|")
	for range columns {
		b = append(b, "---|"...)
	}
	return string(b)
}

// pairCells are a measure of ours, of the baseline and their difference; without a
// baseline only the first is filled.
func pairCells(d train.Difference, beside bool) string {
	if !beside {
		return fmt.Sprintf("%.4f | | ", d.A)
	}
	return fmt.Sprintf("%.4f | %.4f | %+.4f [%+.4f, %+.4f]", d.A, d.B, d.Delta, d.CI.Low, d.CI.High)
}

func caughtCell(inTime, ever float64, known bool) string {
	if !known {
		return ""
	}
	return fmt.Sprintf("%.1f %% (%.1f %%)", 100*inTime, 100*ever)
}

// printLeads prints how much notice there is before an engine fails, from whole
// lives: the engines of the training, each judged by a member that had not seen
// it.
func printLeads(u *unseenRows) error {
	last := map[int]float64{}
	for i, c := range u.Group {
		last[c] = max(last[c], u.time[i])
	}
	scores := train.Scores{Probability: u.Before, Positive: u.Label, Time: u.time}
	number := map[int]int32{}
	for i, c := range u.Group {
		n, ok := number[c]
		if !ok {
			n = int32(len(number))
			number[c] = n
			scores.Groups = append(scores.Groups, fmt.Sprint(c))
		}
		scores.Group = append(scores.Group, n)
		event := math.NaN()
		if u.Label[i] {
			event = last[c]
		}
		scores.Event = append(scores.Event, event)
	}
	e, err := train.Evaluate(&scores, train.EvaluateOptions{Budgets: []float64{0.1, 1, 5}, Unit: train.ParseTimeUnit("cycles"), Detail: 1})
	if err != nil {
		return err
	}
	left := []float64{1, 5, 10, 15, 20, 25, 29}
	fmt.Printf("\nLead times on %d whole lives of engines that the judging member had not seen; share caught with at least so many cycles left:\n\n| false alarms per 1,000 cycles | median |", e.Incidents)
	for _, n := range left {
		fmt.Printf(" %v |", n)
	}
	fmt.Printf("\n%s\n", rule(2+len(left)))
	for i, a := range e.Alarms {
		fmt.Printf("| %v | %v |", a.Budget, a.LeadMedian.Value)
		for _, n := range left {
			share := 0.0
			for _, p := range e.Detail.Leads[i] {
				if p.X >= n {
					share = max(share, p.Y)
				}
			}
			fmt.Printf(" %.2f |", share)
		}
		fmt.Println()
	}
	return nil
}
