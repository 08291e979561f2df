package engine

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/predict"
)

func judgementAt(t *testing.T, file string, now *time.Time) *judgement {
	t.Helper()
	p := DefaultConfig().Policy
	p.AlarmBudget = 5
	j := newJudgement(p, time.Hour, func() time.Time { return *now }, slog.New(slog.DiscardHandler))
	j.file = file
	for _, kind := range []forestall.Kind{forestall.KindGPU, forestall.KindNode} {
		j.work(builtinLane(t, kind), nil, nil)
	}
	if f, err := os.Open(file); err == nil {
		defer f.Close()
		if err := j.memory.Read(f); err != nil {
			t.Fatal(err)
		}
	}
	return j
}

// builtinLane puts the built-in model of a kind to work.
func builtinLane(t *testing.T, kind forestall.Kind) *lane {
	t.Helper()
	m, err := loadModel(kind, "builtin")
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLane(kind, m, laneConfig{predict.DefaultConfig(), DefaultConfig().Features.windows()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// gpuLanes are lanes of GPUs that no model judges.
func gpuLanes(t *testing.T) *lanes {
	t.Helper()
	l, err := newLane(forestall.KindGPU, nil, laneConfig{predict.DefaultConfig(), DefaultConfig().Features.windows()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := newLanes()
	all.set(l, nil)
	return all
}

func healthyAt(c forestall.Component, at time.Time, p float64) forestall.Risk {
	return forestall.Risk{Component: c, Time: at, Horizon: time.Hour, Probability: p, Grade: forestall.Healthy, Model: "m"}
}

// TestJudgementAcrossACrash: a node that crashed judges, once it is back, what
// it predicted before by the incident that the others agreed on.
func TestJudgementAcrossACrash(t *testing.T) {
	file := filepath.Join(t.TempDir(), "predictions")
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	now := start
	node := forestall.Node("n1")
	j := judgementAt(t, file, &now)
	for now = start; now.Before(start.Add(2 * time.Hour)); now = now.Add(time.Minute) {
		j.take(now, []forestall.Risk{healthyAt(node, now, 0.01)}, nil, nil, true)
	}
	j.save()
	crash := now
	now = now.Add(3 * time.Hour)
	j = judgementAt(t, file, &now)
	j.take(now, []forestall.Risk{forestall.UnknownRisk(node, now, "thin")}, nil, nil, false)
	if s := j.accuracy.Scores(); s.Positive != 0 || s.Matured != 58 {
		t.Errorf("without a ledger that is up to date %d matured, %d of them failures; want what had matured before, 58", s.Matured, s.Positive)
	}
	incidents := []forestall.Incident{{Component: node, Kind: forestall.NodeCrash, Start: crash, End: now.Add(-time.Minute)}}
	for range 3 { // the ledger has it each time
		j.take(now, []forestall.Risk{healthyAt(node, now, 0.01)}, nil, incidents, true)
		now = now.Add(time.Minute)
	}
	s := j.accuracy.Scores()
	if s.Failures != 1 || s.Positive != 60 || s.Matured != 120 {
		t.Errorf("%d failures, %d predictions of %d were followed by one; want 1, 60 of 120", s.Failures, s.Positive, s.Matured)
	}
}

// TestJudgementBudget: the threshold follows from what the whole cluster has
// counted, and a leader that has not heard from all nodes yet changes nothing.
func TestJudgementBudget(t *testing.T) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	j := judgementAt(t, filepath.Join(t.TempDir(), "predictions"), &now)
	digest := builtinLane(t, forestall.KindGPU).digest
	if s, f := j.threshold(forestall.KindGPU, digest, 0.2, 0.6); s != 0.2 || f != 0.6 {
		t.Errorf("thresholds %v and %v before anything is known", s, f)
	}
	of := func(days float64, alarms int) map[string]predict.AlarmCounts {
		tally := predict.NewTally(0.2)
		c := tally.Counts(now)
		for i := range c.Onsets {
			c.Onsets[i] = alarms
		}
		c.ComponentDays = days
		return map[string]predict.AlarmCounts{digest: c}
	}
	j.hear(of(2000, 0), now)
	s, f := j.threshold(forestall.KindGPU, digest, 0.2, 0.6)
	if f > 0.01 || s != f {
		t.Errorf("after 2,000 calm days the thresholds are %v and %v", s, f)
	}
	j.hear(of(100, 90), now.Add(time.Minute))
	if _, again := j.threshold(forestall.KindGPU, digest, 0.2, 0.6); again != f {
		t.Errorf("a new leader that has heard from one node changes the threshold from %v to %v", f, again)
	}
	j.hear(of(100, 90), now.Add(2*time.Hour))
	if _, f := j.threshold(forestall.KindGPU, digest, 0.2, 0.6); f <= 1 {
		t.Errorf("90 alarms at every threshold, and still it is %v", f)
	}
	if all := j.alarmThresholds(forestall.KindGPU); all[1].At != nil || !strings.Contains(all[1].Reason, "nothing alarms") {
		t.Errorf("%+v", all)
	}
}

// TestPredictionsSurviveARestart runs an engine twice on the same data.
func TestPredictionsSurviveARestart(t *testing.T) {
	t.Parallel()
	c := testConfig(t.TempDir())
	c.GPU.Source, c.GPU.SimGPUs = "sim", 2
	c.Policy.AlarmBudget = 3
	client, e, stop := runEngine(t, c)
	judged := func(all []api.ModelStatus) bool {
		return len(all) == 2 && len(all[1].Thresholds) == 2 && all[1].Thresholds[1].Budget == 3
	}
	await(t, "the models", client.Models, judged)
	await(t, "a judged GPU", client.Risks, func(risks []forestall.Risk) bool {
		for _, r := range risks {
			if r.Component.Kind == forestall.KindGPU && r.Grade != forestall.Unknown {
				return true
			}
		}
		return false
	})
	counted := func(e *Engine) func(context.Context) (float64, error) {
		return func(context.Context) (float64, error) {
			return e.telemetry.judged.counts()[e.configured[forestall.KindGPU].digest].ComponentDays, nil
		}
	}
	before := await(t, "observed time", counted(e), func(days float64) bool { return days > 0 })
	stop()
	client, e, stop = runEngine(t, c)
	await(t, "the models", client.Models, judged)
	await(t, "the time that was observed before", counted(e), func(days float64) bool { return days >= before })
	stop()

	// A file that cannot be read is put aside.
	file := filepath.Join(c.Engine.DataDir, "predictions")
	if err := os.WriteFile(file, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := New(c, Options{Version: "test", Shim: []string{os.Args[0], "shim"}})
	if err != nil {
		t.Fatal(err)
	}
	e.close()
	if b, err := os.ReadFile(file + ".unreadable"); err != nil || string(b) != "nonsense" {
		t.Errorf("the unreadable file is not aside: %q, %v", b, err)
	}
}

// TestJudgementClockLeaps: a clock that is ahead for some minutes ends no
// prediction's horizon and takes nothing from what was counted, also across a
// restart.
func TestJudgementClockLeaps(t *testing.T) {
	file := filepath.Join(t.TempDir(), "predictions")
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	now := start
	gpu := forestall.GPU("n1", 0)
	digest := builtinLane(t, forestall.KindGPU).digest
	j := judgementAt(t, file, &now)
	run := func(minutes int) {
		for range minutes {
			now = now.Add(time.Minute)
			j.take(now, []forestall.Risk{healthyAt(gpu, now, 0.01)}, nil, nil, true)
			j.observeFleet(now, 0.99)
		}
	}
	run(120)
	before, matured := now, j.accuracy.Scores().Matured
	for range 2 {
		now = before.Add(400 * 24 * time.Hour)
		run(10)
		if got := j.accuracy.Scores().Matured; got != matured {
			t.Errorf("%d predictions had matured before the clock leapt, %d after", matured, got)
		}
		if c := j.counts()[digest]; c.ComponentDays < 0.08 {
			t.Errorf("%v component-days are counted while the clock is ahead", c.ComponentDays)
		}
		j.save()
		j = judgementAt(t, file, &now)
	}
	now = before
	run(120)
	if s := j.accuracy.Recent(); s.Matured < 170 {
		t.Errorf("%d predictions matured; the clock is right again", s.Matured)
	}
	if hours := j.fleet.History(); len(hours) < 4 || hours[len(hours)-1].Start().After(now) {
		t.Errorf("the fleet's hours are %v", hours)
	}
}
