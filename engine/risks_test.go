package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stratoswarm/forestall"
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

// TestSourceless: metrics that vanish of all GPUs of a node are their source's
// fault; of one they are evidence.
func TestSourceless(t *testing.T) {
	of := func(g int, feature string) forestall.Risk {
		return forestall.Risk{Component: forestall.GPU("n1", g), Probability: 0.8, Grade: forestall.Failing, Reasons: []forestall.Reason{{Feature: feature, Contribution: 3, Text: "11 metrics vanished within 1m"}}}
	}
	all := []forestall.Risk{of(0, "series_vanished_1m"), of(1, "series_vanished_1m"), of(2, "series_reported_ratio_last"), {Component: forestall.Node("n1"), Grade: forestall.Healthy}}
	sourceless(all)
	for _, r := range all[:3] {
		if r.Grade != forestall.Unknown || !strings.HasPrefix(r.Note, "its source gives less than before") {
			t.Errorf("%+v", r)
		}
	}
	healthy := forestall.Risk{Component: forestall.GPU("n1", 2), Grade: forestall.Healthy}
	for name, some := range map[string][]forestall.Risk{
		"one of three":    {of(0, "series_vanished_1m"), of(1, "gpu_temperature_celsius_last"), healthy},
		"one answers":     {of(0, "series_vanished_1m"), of(1, "series_vanished_1m"), healthy},
		"an only GPU":     {of(0, "series_vanished_1m")},
		"for other cause": {of(0, "gpu_ecc_dbe_total_1m_rate"), of(1, "gpu_ecc_dbe_total_1m_rate")},
	} {
		sourceless(some)
		if some[0].Grade != forestall.Failing {
			t.Errorf("%s: %+v", name, some[0])
		}
	}
}
