package main

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/stratoswarm/forestall/train"
)

// The bars: how far below XGBoost a data set's figure may be.
const (
	aucBar = -0.003
	apBar  = -0.05 // relative
)

// print writes a study's table.
func (r studyResult) print(peer bool) {
	fmt.Printf("\n### %s: %s\n", r.study.name, r.study.horizon)
	if !peer {
		fmt.Print("\n| test | rows | positive | start | AUC | AP |\n|---|---|---|---|---|---|\n")
		for _, x := range r.results {
			fmt.Printf("| %s | %d | %d | %s | %.4f | %.4f |\n", x.fold, x.rows, x.positives, x.start, x.paired.AUC.A, x.paired.AP.A)
		}
		return
	}
	fmt.Print("\n| test | rows | positive | start | AUC ours | XGBoost | difference [95 %] | better | AP ours | XGBoost | difference [95 %] | better |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, x := range r.results {
		fmt.Printf("| %s | %d | %d | %s | %s | %s |\n", x.fold, x.rows, x.positives, x.start, cells(x.paired.AUC), cells(x.paired.AP))
	}
	if begun := r.starts(); len(r.results) > len(begun) {
		for _, start := range begun {
			auc, ap := r.mean(start)
			fmt.Printf("| mean | | | %s | %s | %s |\n", start, cells(auc), cells(ap))
		}
	}
	if r.report != "" {
		fmt.Printf("\nReport about the last test: %s\n", r.report)
	}
}

func cells(d train.Difference) string {
	return fmt.Sprintf("%.4f | %.4f | %s | %.2f", d.A, d.B, difference(d), d.Better)
}

func difference(d train.Difference) string {
	return fmt.Sprintf("%+.4f [%+.4f, %+.4f]", d.Delta, d.CI.Low, d.CI.High)
}

// starts are those that were tried, and what was set beside them.
func (r studyResult) starts() (begun []string) {
	for _, x := range r.results {
		if !slices.Contains(begun, x.start) {
			begun = append(begun, x.start)
		}
	}
	return begun
}

// mean returns the means over the folds that began at a start.
func (r studyResult) mean(start string) (auc, ap train.Difference) {
	var aucs, aps []train.Difference
	for _, x := range r.results {
		if x.start == start {
			aucs, aps = append(aucs, x.paired.AUC), append(aps, x.paired.AP)
		}
	}
	return meanOf(aucs), meanOf(aps)
}

// meanOf returns the mean of differences on rows of different times or data. Its
// interval takes them for independent and normal, each with the width of its own
// interval.
func meanOf(all []train.Difference) (m train.Difference) {
	if len(all) == 1 {
		return all[0]
	}
	const z = 1.959964 // the 97.5 % quantile of the normal distribution
	variance := 0.0
	n := float64(len(all))
	for _, d := range all {
		m.A += d.A / n
		m.B += d.B / n
		se := (d.CI.High - d.CI.Low) / (2 * z)
		variance += se * se / (n * n)
	}
	se := math.Sqrt(variance)
	m.Delta = m.A - m.B
	m.CI.Low, m.CI.High = m.Delta-z*se, m.Delta+z*se
	m.Better = 0.5 * math.Erfc(-m.Delta/(se*math.Sqrt2))
	return m
}

// errBelow makes the command fail.
var errBelow = errors.New("a figure is below its bar")

// judge prints each data set against the bars, and the mean over them.
func judge(done []studyResult) error {
	var err error
	verdict := func(ok bool) string {
		if ok {
			return "PASS"
		}
		err = errBelow
		return "FAIL"
	}
	fmt.Printf("\n### Against the bars: AUC not below by more than %.3f, AP not by more than %.0f %%; neither below in the mean\n", -aucBar, -100*apBar)
	fmt.Print("\n| data | start | AUC ours | XGBoost | difference [95 %] | AP ours | XGBoost | difference [95 %] | relative | |\n|---|---|---|---|---|---|---|---|---|---|\n")
	row := func(name, start string, auc, ap train.Difference, aucBar, apBar float64, barred bool) {
		dAP := ap.A/ap.B - 1
		said := "no bar"
		if barred {
			said = verdict(auc.Delta >= aucBar && dAP >= apBar)
		}
		fmt.Printf("| %s | %s | %.4f | %.4f | %s | %.4f | %.4f | %s | %+.2f %% | %s |\n", name, start, auc.A, auc.B, difference(auc), ap.A, ap.B, difference(ap), 100*dAP, said)
	}
	for _, start := range done[0].starts() {
		barred := !slices.ContainsFunc(besides, func(b beside) bool { return b.name == start })
		var aucs, aps []train.Difference
		for _, r := range done {
			auc, ap := r.mean(start)
			row(r.study.name, start, auc, ap, aucBar, apBar, barred)
			aucs, aps = append(aucs, auc), append(aps, ap)
		}
		row("mean", start, meanOf(aucs), meanOf(aps), 0, 0, barred)
	}
	return err
}
