package engine

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/migrate"
	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/predict"
)

const (
	// ledgerLag is how long after a failure its incident may reach this node's
	// replica of the ledger: predictions mature no sooner.
	ledgerLag = time.Minute

	// memoryInterval is between two saves of what the engine knows of its
	// predictions.
	memoryInterval = 5 * time.Minute
)

// judgement follows what came of the predictions, and sets the thresholds that
// the alarm budget asks for. What it knows is kept in a file.
type judgement struct {
	file     string
	log      *slog.Logger
	now      func() time.Time
	budgets  map[forestall.Grade]float64 // alarms for each 1,000 component-days; 0: fixed thresholds
	accuracy *predict.Accuracy
	tallies  map[forestall.Kind]*predict.Tally

	mu         sync.Mutex
	cluster    map[forestall.Kind]predict.AlarmCounts // as the leader last added them up
	clusterAt  time.Time
	thresholds map[forestall.Kind]map[forestall.Grade]predict.Threshold
}

func newJudgement(p PolicyConfig, horizon time.Duration, now func() time.Time, log *slog.Logger) *judgement {
	j := &judgement{
		log: log, now: now,
		budgets:    map[forestall.Grade]float64{forestall.Suspect: p.SuspectBudget, forestall.Failing: p.AlarmBudget},
		accuracy:   predict.NewAccuracy(horizon),
		tallies:    map[forestall.Kind]*predict.Tally{},
		cluster:    map[forestall.Kind]predict.AlarmCounts{},
		thresholds: map[forestall.Kind]map[forestall.Grade]predict.Threshold{},
	}
	for _, kind := range []forestall.Kind{forestall.KindGPU, forestall.KindNode} {
		j.tallies[kind] = predict.NewTally(p.Hysteresis)
	}
	return j
}

// openJudgement takes up what the engine knew before it was started. A file that
// cannot be read is put aside: the engine begins anew, and says so.
func (e *Engine) openJudgement(horizon time.Duration) (*judgement, error) {
	j := newJudgement(e.cfg.Policy, horizon, e.now, e.log)
	j.file = filepath.Join(e.cfg.Engine.DataDir, "predictions")
	f, err := os.Open(j.file)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := j.memory().Read(f); err != nil {
		aside := j.file + ".unreadable"
		if err := os.Rename(j.file, aside); err != nil {
			return nil, err
		}
		j.log.Error("what came of earlier predictions is not known: accuracy and the alarm budget begin anew", "file", aside, "error", err)
	}
	return j, nil
}

func (j *judgement) memory() predict.Memory {
	return predict.Memory{Accuracy: j.accuracy, Tallies: j.tallies}
}

// Run saves what is known now and then, and at the end.
func (j *judgement) Run(ctx context.Context) error {
	tick := time.NewTicker(memoryInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			j.save()
			return nil
		case <-tick.C:
			j.save()
		}
	}
}

func (j *judgement) save() {
	b, err := j.memory().Encode()
	if err == nil {
		err = model.ReplaceFile(j.file, b)
	}
	if err != nil {
		j.log.Error("what came of the predictions is not saved", "file", j.file, "error", err)
	}
}

// take judges earlier predictions by the incidents that the ledger has, and
// takes the new ones. Those about what has failed are none: there is nothing
// left to predict. Without a ledger that is up to date nothing matures, because
// a failure may be missing.
func (j *judgement) take(now time.Time, risks []forestall.Risk, incidents []forestall.Incident, current bool) {
	slices.SortStableFunc(incidents, func(a, b forestall.Incident) int { return a.Start.Compare(b.Start) })
	down := map[forestall.Component]bool{}
	for _, in := range incidents {
		if in.Kind == forestall.NetworkPartition {
			continue
		}
		j.accuracy.Fail(forestall.Failure{Component: in.Component, Kind: in.Kind, Time: in.Start})
		if in.End.IsZero() {
			down[in.Component] = true
		}
	}
	for _, r := range risks {
		if down[r.Component] {
			continue
		}
		j.accuracy.Predict(r)
		if t := j.tallies[r.Component.Kind]; t != nil {
			t.Observe(r)
		}
	}
	if current {
		j.accuracy.Mature(now.Add(-ledgerLag))
	}
}

// forget drops components that are no more.
func (j *judgement) forget(components []forestall.Component) {
	for _, c := range components {
		j.accuracy.Forget(c)
		if t := j.tallies[c.Kind]; t != nil {
			t.Forget(c)
		}
	}
}

// counts returns what this engine has counted.
func (j *judgement) counts() map[forestall.Kind]predict.AlarmCounts {
	all := map[forestall.Kind]predict.AlarmCounts{}
	for kind, t := range j.tallies {
		if c := t.Counts(j.now()); c.ComponentDays > 0 {
			all[kind] = c
		}
	}
	return all
}

// hear takes what the leader has added up. A leader that is new has not heard
// from every node yet: for an hour what covers less than before is passed over.
func (j *judgement) hear(all map[forestall.Kind]predict.AlarmCounts, now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for kind, c := range all {
		if c.ComponentDays < 0.9*j.cluster[kind].ComponentDays && now.Sub(j.clusterAt) < time.Hour {
			return
		}
	}
	if len(all) > 0 {
		j.cluster, j.clusterAt = all, now
	}
}

// threshold returns the thresholds of a kind that the budget asks for in place
// of the fixed ones, from what the cluster has counted, or this engine while it
// has heard of no more.
func (j *judgement) threshold(kind forestall.Kind, suspect, failing float64) (atSuspect, atFailing float64) {
	own := j.tallies[kind].Counts(j.now())
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.cluster[kind]
	if c.ComponentDays < own.ComponentDays {
		c = own
	}
	at := map[forestall.Grade]predict.Threshold{}
	for grade, fixed := range map[forestall.Grade]float64{forestall.Suspect: suspect, forestall.Failing: failing} {
		at[grade] = predict.Threshold{At: fixed, Reason: "as configured"}
		if budget := j.budgets[grade]; budget > 0 {
			at[grade] = predict.BudgetThreshold(c, budget, fixed)
		}
		if before, said := j.thresholds[kind][grade]; said && before.At != at[grade].At {
			j.log.Info("threshold of alarms changed", "kind", kind, "grade", grade, "from", before.At, "to", at[grade].At, "why", at[grade].Reason)
		}
	}
	if f := at[forestall.Failing]; at[forestall.Suspect].At > f.At {
		at[forestall.Suspect] = predict.Threshold{At: f.At, Reason: "that of failing, which is lower"}
	}
	j.thresholds[kind] = at
	return at[forestall.Suspect].At, at[forestall.Failing].At
}

// checkAlarms reports what cannot work of the policy's alarms.
func (p PolicyConfig) checkAlarms(bad func(key, format string, args ...any)) {
	for key, v := range map[string]float64{"policy.alarm_budget": p.AlarmBudget, "policy.suspect_budget": p.SuspectBudget} {
		if !(v >= 0) || math.IsInf(v, 0) {
			bad(key, "%g is not a number of alarms for each 1,000 component-days; 0: fixed thresholds", v)
		}
	}
	if p.AlarmBudget > 0 && p.SuspectBudget > 0 && p.SuspectBudget < p.AlarmBudget {
		bad("policy.suspect_budget", "%g is smaller than policy.alarm_budget, %g: what alarms is suspect too", p.SuspectBudget, p.AlarmBudget)
	}
	if !(p.Hysteresis >= 0 && p.Hysteresis < 1) {
		bad("policy.hysteresis", "%g is not a share of the threshold, at least 0 and less than 1", p.Hysteresis)
	}
}

// knownIncidents returns the ledger's incidents and whether this node's replica
// of it is up to date.
func (e *Engine) knownIncidents() (incidents []forestall.Incident, current bool) {
	e.ledger.View(func(s *migrate.State) { incidents = s.AllIncidents() })
	return incidents, e.node.LastContact() < e.timing.fresh
}
