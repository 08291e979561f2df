package main

import (
	"fmt"

	"github.com/stratoswarm/forestall/train"
)

// foldTree is called after each tree of a fold; early says that a fold may end
// before its last tree.
func (t *trainProgress) foldTree(fold, folds int, early bool, p train.Progress) {
	if !early {
		t.pace.reach((float64(fold-1)+shareOf(p))/float64(folds), t.now())
	}
	switch {
	case !t.due():
	case t.json:
		line := t.treeLine(p)
		line["fold"] = fold
		t.line(line)
	default:
		t.draw(fmt.Sprintf("fold %d of %d, %stree %d of %d", fold, folds, memberOf(p), p.Tree, p.Trees), metricOf(p))
	}
}

// fold is called after each fold, with those before it.
func (t *trainProgress) fold(done []train.FoldResult, folds int) {
	t.pace.reach(float64(len(done))/float64(folds), t.now())
	if t.json {
		t.line(t.foldLine(done))
	}
}

func (t *trainProgress) foldLine(done []train.FoldResult) map[string]any {
	f := done[len(done)-1]
	return map[string]any{
		"fold": len(done), "name": f.Name, "train_rows": f.TrainRows, "train_positives": f.TrainPositives,
		"rows": f.Rows, "positives": f.Positives, "trees": f.Trees, string(f.Metric): f.Value, "seconds": t.took().Seconds(),
	}
}

// watch is told how a search goes.
func (t *trainProgress) watch(folds int) train.SearchWatch {
	return train.SearchWatch{
		Tree:  t.trialTree,
		Fold:  func(trial int, done []train.FoldResult) { t.trialFold(trial, done, folds) },
		Trial: t.trial,
	}
}

// searched notes how much of a search is done. How long a trial takes, its first
// fold tells until a trial is over; where only the time bounds the search, the
// time does.
func (t *trainProgress) searched(trials float64) {
	if n := t.search.trials; n > 0 {
		t.pace.reach(trials/float64(n), t.now())
	} else {
		t.pace.reach(float64(t.took())/float64(t.pace.most), t.now())
	}
}

func (t *trainProgress) trialTree(p train.SearchProgress) {
	if t.search.trials == 0 {
		t.searched(0)
	}
	switch {
	case !t.due():
	case t.json:
		line := t.treeLine(p.Progress)
		line["fold"], line["trial"] = p.Fold, p.Trial
		t.line(line)
	default:
		of := ""
		if t.search.trials > 0 {
			of = fmt.Sprintf(" of %d", t.search.trials)
		}
		more := fmt.Sprintf(", %s %.5f", p.Metric, p.Valid)
		if t.search.best != "" {
			more += ", best " + t.search.best
		}
		t.draw(fmt.Sprintf("trial %d%s, fold %d of %d, tree %d", p.Trial, of, p.Fold, p.Folds, p.Tree), more)
	}
}

func (t *trainProgress) trialFold(trial int, done []train.FoldResult, folds int) {
	if t.search.done == 0 {
		t.searched(float64(len(done)) / float64(folds))
	}
	if t.json {
		line := t.foldLine(done)
		line["trial"] = trial
		t.line(line)
	}
}

func (t *trainProgress) trial(trial *train.Trial) {
	t.search.done++
	t.searched(float64(t.search.done))
	metric := trial.Folds[0].Metric
	if !trial.Abandoned && (t.search.best == "" || metric.Better(trial.Mean, t.search.bestMean)) {
		t.search.best, t.search.bestMean = fmt.Sprintf("%.5f (trial %d)", trial.Mean, trial.Number), trial.Mean
	}
	if !t.json {
		return
	}
	line := map[string]any{
		"trial": trial.Number, "abandoned": trial.Abandoned, string(metric): trial.Mean, "spread": trial.Spread, "seconds": t.took().Seconds(),
	}
	for name, v := range paramsOf(trial.Params) {
		line[name] = v
	}
	var trees []int
	for _, f := range trial.Folds {
		trees = append(trees, f.Trees)
	}
	line["trees"] = trees
	t.line(line)
}
