package engine

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/predict"
)

// TestMergeRisks: one risk for each component, whoever scrapes it.
func TestMergeRisks(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	known := func(c forestall.Component, s int, p float64) forestall.Risk {
		return forestall.Risk{Component: c, Time: at(s), Probability: p, Grade: forestall.Healthy}
	}
	own, remote, both := forestall.GPU("n1", 0), forestall.GPU("fake", 0), forestall.GPU("fake", 1)
	blind := forestall.UnknownRisk(own, at(9), "stale")
	got := mergeRisks(
		[]forestall.Risk{blind, known(remote, 5, 0.1)},
		known(own, 8, 0.2), known(remote, 7, 0.3), // what the leader remembers of this engine
		known(both, 3, 0.4), known(both, 4, 0.5), forestall.UnknownRisk(both, at(6), "silent"), known(both, 2, 0.6),
	)
	want := []forestall.Risk{known(remote, 5, 0.1), known(both, 4, 0.5), blind}
	if d := cmp.Diff(want, got, cmpopts.EquateNaNs()); d != "" {
		t.Error(d)
	}
}

// TestRemoteRisksOnce: what an engine scrapes for another node is there once, also
// after the leader, itself, has told it what it had heard from it.
func TestRemoteRisksOnce(t *testing.T) {
	w := newWatched(t, watchedConfig(t.TempDir()), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	defer w.close()
	remote := forestall.GPU("fake1", 0)
	w.telemetry.risks = []forestall.Risk{{Component: remote, Time: w.now, Probability: 0.1, Grade: forestall.Healthy}}
	w.reports.take(report{Scored: 1, Risks: w.telemetry.risks}, w.now)
	w.cluster.at, w.cluster.risks = w.now, w.reports.risks(w.now, time.Minute)
	if all := (view{w.Engine}).Risks(); len(all) != 1 || len(w.cluster.risks) != 1 {
		t.Errorf("%d risks of one component, the leader has %d: %+v", len(all), len(w.cluster.risks), all)
	}
	q := report{Scored: 1, Risks: w.telemetry.risks}
	q.Self.Name = "n2" // scrapes the same target
	w.reports.take(q, w.now)
	if all := w.reports.risks(w.now, time.Minute); len(all) != 1 {
		t.Errorf("the leader has %d risks of a component that two engines scrape", len(all))
	}
}

// TestRefilledIsNoAnswer: windows that were refilled do not say that a failed GPU
// works again; a reading does.
func TestRefilledIsNoAnswer(t *testing.T) {
	w := newWatched(t, watchedConfig(t.TempDir()), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	w.minutes(t, 10, nil)
	w.stop(t, false)
	next := newWatched(t, watchedConfig(w.cfg.Engine.DataDir), w.now.Add(time.Second))
	defer next.close()
	gpu := forestall.GPU("n1", 0)
	works := watchFailed(next.Engine, gpu)
	next.telemetry.refill(t.Context(), next.telemetry.recorder.dir)
	if len(next.telemetry.lanes.components()) != 1 || works(gpu) {
		t.Errorf("components %v, it answers before it was asked: %v", next.telemetry.lanes.components(), works(gpu))
	}
	next.minutes(t, 1, nil)
	if !works(gpu) {
		t.Error("it was read and does not answer")
	}
}

// TestCloseIncident: an operator ends an incident at once.
func TestCloseIncident(t *testing.T) {
	t.Parallel()
	c := testConfig(t.TempDir())
	c.GPU.Source, c.Features.Host = "none", false
	client, e, stop := runEngine(t, c)
	defer stop()
	await(t, "a leader", client.Status, api.Status.CanAgree)
	remote := forestall.GPU("fake1", 3)
	if err := client.CloseIncident(t.Context(), remote, "replaced"); !errors.Is(err, api.ErrNotFound) {
		t.Error(err)
	}
	if err := client.CloseIncident(t.Context(), forestall.Node("n1"), "rebooted"); !errors.Is(err, api.ErrInvalid) {
		t.Error(err)
	}
	e.outbox.add(failureReport{Failure: forestall.Failure{Component: remote, Kind: forestall.GPUFailure, Time: time.Now(), Evidence: []string{"XID 79"}}})
	await(t, "the failure", client.Incidents, func(l []forestall.Incident) bool { return len(l) == 1 })
	if err := client.CloseIncident(t.Context(), remote, "board replaced"); err != nil {
		t.Fatal(err)
	}
	all, err := client.Incidents(t.Context())
	if err != nil || len(all) != 1 || all[0].End.IsZero() || all[0].Closed != "through n1: board replaced" {
		t.Errorf("%+v, %v", all, err)
	}
}

// TestCollapsed: that a GPU's telemetry has collapsed is told of once.
func TestCollapsed(t *testing.T) {
	tel := &telemetry{}
	collapsed := forestall.UnknownRisk(forestall.GPU("n1", 0), time.Time{}, predict.Collapse+"it reports nothing")
	healthy := forestall.Risk{Component: forestall.GPU("n1", 0), Grade: forestall.Healthy}
	for round, want := range []int{1, 0} {
		all := []forestall.Risk{collapsed, {Component: forestall.GPU("n1", 1), Grade: forestall.Healthy}, forestall.UnknownRisk(forestall.GPU("n2", 0), time.Time{}, predict.Silent)}
		if news := tel.collapsed(all); len(news) != want {
			t.Errorf("round %d: %v", round, news)
		}
	}
	tel.collapsed([]forestall.Risk{healthy})
	if news := tel.collapsed([]forestall.Risk{collapsed}); len(news) != 1 {
		t.Errorf("after it had come back: %v", news)
	}
}
