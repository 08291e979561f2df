package engine

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
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

// judgement follows what came of the predictions, of the champions' and of what
// runs in their shadow, and sets the thresholds that the alarm budget asks for.
// What it knows is kept in a file.
type judgement struct {
	file       string
	log        *slog.Logger
	now        func() time.Time
	hysteresis float64
	interval   time.Duration               // between two scores
	lag        time.Duration               // ledgerLag, but in tests that wait for predictions to mature
	budgets    map[forestall.Grade]float64 // alarms for each 1,000 component-days; 0: fixed thresholds
	accuracy   *predict.Accuracy
	fleet      *predict.Fleet

	mu         sync.Mutex
	memory     predict.Memory
	atWork     map[forestall.Kind]workers
	odds       map[forestall.Kind]float64     // what the champions' odds are multiplied by
	cluster    map[string]predict.AlarmCounts // by digest, as the leader last added them up
	clusterAt  time.Time
	thresholds map[forestall.Kind]map[forestall.Grade]predict.Threshold
}

// workers are the digests of the models that judge a kind: "" for none.
type workers struct{ champion, shadow string }

func newJudgement(p PolicyConfig, horizon time.Duration, now func() time.Time, log *slog.Logger) *judgement {
	j := &judgement{
		log: log, now: now, hysteresis: p.Hysteresis, lag: ledgerLag,
		budgets:    map[forestall.Grade]float64{forestall.Suspect: p.SuspectBudget, forestall.Failing: p.AlarmBudget},
		accuracy:   predict.NewAccuracy(horizon),
		fleet:      predict.NewFleet(),
		atWork:     map[forestall.Kind]workers{},
		odds:       map[forestall.Kind]float64{},
		cluster:    map[string]predict.AlarmCounts{},
		thresholds: map[forestall.Kind]map[forestall.Grade]predict.Threshold{},
	}
	j.memory = predict.Memory{
		Accuracy: j.accuracy, Tallies: map[string]*predict.Tally{}, Drifts: map[string]*predict.Drift{}, Trials: map[forestall.Kind]*predict.Trial{}, Fleet: j.fleet,
	}
	return j
}

// work says which models judge a kind from now on, and which of the two is the
// newer one, over whose lead and horizon both are compared. What was known of them
// before a restart is taken up.
func (j *judgement) work(champion, shadow, newer *lane) {
	j.mu.Lock()
	defer j.mu.Unlock()
	kind := champion.kind
	w := workers{champion: champion.digest}
	if shadow != nil {
		w.shadow = shadow.digest
	}
	j.atWork[kind] = w
	if champion.model != nil {
		lead := time.Duration(champion.model.Card.Lead)
		j.accuracy.SetLead(kind, lead)
		if t := j.memory.Trials[kind]; w.shadow == "" {
			delete(j.memory.Trials, kind)
		} else if !t.Of(w.champion, w.shadow) {
			j.memory.Trials[kind] = predict.NewTrial(w.champion, w.shadow, time.Duration(newer.model.Card.Lead), time.Duration(newer.model.Card.Horizon))
		}
	}
	for _, l := range []*lane{champion, shadow} {
		if l == nil || l.model == nil {
			continue
		}
		if j.memory.Tallies[l.digest] == nil {
			j.memory.Tallies[l.digest] = predict.NewTally(j.hysteresis)
			j.memory.Tallies[l.digest].ScoredEvery(j.interval)
		}
		if d := l.scorer.Drift(kind); d != nil {
			j.memory.Drifts[l.digest] = d
		}
	}
	j.prune()
	j.memory.Adopt()
}

// prune drops what is known of models that are at work no more.
func (j *judgement) prune() {
	used := map[string]bool{}
	for _, w := range j.atWork {
		used[w.champion], used[w.shadow] = true, true
	}
	gone := func(digest string) bool { return !used[digest] }
	maps.DeleteFunc(j.memory.Tallies, func(digest string, _ *predict.Tally) bool { return gone(digest) })
	maps.DeleteFunc(j.memory.Drifts, func(digest string, _ *predict.Drift) bool { return gone(digest) })
}

// openJudgement takes up what the engine knew before it was started. A file that
// cannot be read is put aside: the engine begins anew, and says so.
func (e *Engine) openJudgement() (*judgement, error) {
	longest := time.Minute
	for _, l := range e.configured {
		if l.model != nil {
			longest = max(longest, time.Duration(l.model.Card.Horizon))
		}
	}
	j := newJudgement(e.cfg.Policy, longest, e.now, e.log)
	if u := e.telemetry.unusual; u != nil {
		j.memory.Watch = u.watch
	}
	j.file, j.interval = filepath.Join(e.cfg.Engine.DataDir, "predictions"), e.cfg.FaultTolerance.PredictionInterval.Duration
	f, err := os.Open(j.file)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := j.memory.Read(f); err != nil {
		aside := j.file + ".unreadable"
		if err := os.Rename(j.file, aside); err != nil {
			return nil, err
		}
		j.log.Error("what came of earlier predictions is not known: accuracy and the alarm budget begin anew", "file", aside, "error", err)
	}
	return j, nil
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
	j.mu.Lock()
	image := j.memory.Image()
	j.mu.Unlock()
	b, err := image.Encode() // which takes a while: scores go on
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
func (j *judgement) take(now time.Time, risks []forestall.Risk, shadows map[forestall.Component]forestall.Risk, incidents []forestall.Incident, current bool) {
	slices.SortStableFunc(incidents, func(a, b forestall.Incident) int { return a.Start.Compare(b.Start) })
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.believes(now) {
		return
	}
	down := map[forestall.Component]bool{}
	for _, in := range incidents {
		if in.Kind == forestall.NetworkPartition || in.Start.Sub(now) > 24*time.Hour { // the latter: of a clock that is wrong
			continue
		}
		f := forestall.Failure{Component: in.Component, Kind: in.Kind, Time: in.Start}
		j.accuracy.Fail(f)
		if t := j.memory.Trials[in.Component.Kind]; t != nil {
			t.Fail(f)
		}
		if in.End.IsZero() {
			down[in.Component] = true
		}
	}
	for _, r := range risks {
		kind := r.Component.Kind
		if down[r.Component] {
			continue
		}
		j.accuracy.Predict(r)
		if t := j.memory.Tallies[j.atWork[kind].champion]; t != nil {
			t.Observe(j.uncorrected(r))
		}
		s, beside := shadows[r.Component]
		if t := j.memory.Tallies[j.atWork[kind].shadow]; beside && t != nil {
			t.Observe(s)
		}
		if t := j.memory.Trials[kind]; beside && t != nil {
			t.Predict(r, s)
		}
	}
	if !current {
		return
	}
	j.accuracy.Mature(now.Add(-j.lag))
	for _, t := range j.memory.Trials {
		t.Mature(now.Add(-j.lag))
	}
}

// correct says what the odds of a kind's champion are multiplied by.
func (j *judgement) correct(kind forestall.Kind, odds float64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.odds[kind] = odds
}

func (j *judgement) oddsOf(kind forestall.Kind) float64 {
	if odds, corrected := j.odds[kind]; corrected {
		return odds
	}
	return 1
}

// uncorrected returns a champion's risk with the probability of the model itself.
// The caller holds mu.
func (j *judgement) uncorrected(r forestall.Risk) forestall.Risk {
	if odds := j.oddsOf(r.Component.Kind); odds != 1 {
		r.Probability = model.TimesOdds(r.Probability, 1/odds)
	}
	return r
}

// believes tells the clock's time and reports whether anything may be counted by
// it. The caller holds mu.
func (j *judgement) believes(now time.Time) bool {
	leapt := !j.memory.Clock.Leapt().IsZero()
	ok := j.memory.Clock.Tell(now)
	switch {
	case !ok && !leapt:
		j.log.Warn("the clock has leapt: nothing is counted of predictions and alarms until it has gone on from there for an hour", "from", j.memory.Clock.Newest(), "to", now)
	case ok && leapt:
		j.log.Info("predictions and alarms are counted again: the clock is right, or has gone on since it leapt", "now", now)
	}
	return ok
}

// counted returns the time that counts speak of: the newest that is believed.
// The caller holds mu.
func (j *judgement) counted() time.Time {
	if c := &j.memory.Clock; !c.Leapt().IsZero() {
		return c.Newest()
	}
	return j.now()
}

// observeFleet remembers how the fleet stands.
func (j *judgement) observeFleet(now time.Time, health float64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.memory.Clock.Leapt().IsZero() {
		j.fleet.Observe(now, health)
	}
}

// forget drops components that are no more.
func (j *judgement) forget(components []forestall.Component) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range components {
		j.accuracy.Forget(c)
		for _, t := range j.memory.Tallies {
			t.Forget(c)
		}
		if t := j.memory.Trials[c.Kind]; t != nil {
			t.Forget(c)
		}
	}
}

// counts returns what this engine has counted, by the digest of the model.
func (j *judgement) counts() map[string]predict.AlarmCounts {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := map[string]predict.AlarmCounts{}
	for digest, t := range j.memory.Tallies {
		if c := t.Counts(j.counted()); c.ComponentDays > 0 {
			all[digest] = c
		}
	}
	return all
}

// trial returns what the trial of a kind has shown on this node.
func (j *judgement) trial(kind forestall.Kind) (predict.TrialResult, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	t := j.memory.Trials[kind]
	if t == nil {
		return predict.TrialResult{}, false
	}
	return t.Result(), true
}

// hear takes what the leader has added up. A leader that is new has not heard
// from every node yet: for an hour what covers less than before is passed over.
func (j *judgement) hear(all map[string]predict.AlarmCounts, now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for digest, c := range all {
		if c.ComponentDays < 0.9*j.cluster[digest].ComponentDays && now.Sub(j.clusterAt) < time.Hour {
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
func (j *judgement) threshold(kind forestall.Kind, digest string, suspect, failing float64) (atSuspect, atFailing float64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.cluster[digest]
	if t := j.memory.Tallies[digest]; t != nil {
		if own := t.Counts(j.counted()); c.ComponentDays < own.ComponentDays {
			c = own
		}
	}
	at := map[forestall.Grade]predict.Threshold{}
	for grade, fixed := range map[forestall.Grade]float64{forestall.Suspect: suspect, forestall.Failing: failing} {
		at[grade] = predict.Threshold{At: fixed, Reason: "as configured"}
		if budget := j.budgets[grade]; budget > 0 {
			at[grade] = predict.BudgetThreshold(c, budget, fixed, j.oddsOf(kind))
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
// of it is up to date: after a start, and after a time without a leader, it catches
// up and the nodes tell what has failed meanwhile.
func (e *Engine) knownIncidents() (incidents []forestall.Incident, current bool) {
	e.ledger.View(func(s *migrate.State) { incidents = s.AllIncidents() })
	return incidents, e.contact.lasts(e.node.LastContact() < e.timing.fresh, e.now()) >= e.telemetry.judged.lag
}

// contact is how long the leader has been heard without a break.
type contact struct {
	mu    sync.Mutex
	since time.Time // zero: not heard
}

func (c *contact) lasts(heard bool, now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !heard:
		c.since = time.Time{}
		return 0
	case c.since.IsZero() || now.Before(c.since):
		c.since = now
	}
	return now.Sub(c.since)
}
