package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/predict"
	"github.com/stratoswarm/forestall/train"
)

// TestRetrainOffline: a model that is only written needs no engine, and is
// trained on the last days alone.
func TestRetrainOffline(t *testing.T) {
	out := filepath.Join(t.TempDir(), "m")
	args := []string{
		"retrain", "--no-propose", "--telemetry", hour, "--incidents", hourIncidents, "--out", out, "--horizon", "2m", "--lead", "10s", "--recovery", "1m",
		"--interval", "5s", "--windows", "10s,1m", "--days", "0.03", "--train=--trees=20", "--train=--leaves=7",
	}
	runs(t, args...)
	m, err := model.Load(out)
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2026, 1, 1, 0, 16, 43, 0, time.UTC); !m.Card.Training.From.Equal(want) || m.Trees() > 20 || m.Card.Distribution == nil {
		t.Errorf("trained from %s on with %d trees; want from %s, and at most 20", m.Card.Training.From, m.Trees(), want)
	}
	runs(t, append(args, "--members", "2", "--half-life", "0.02")...)
	if m, err = model.Load(out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"the mean of 2 members", "weights halve every 28 min 48 s"} {
		if !strings.Contains(m.Card.Training.Notes, want) {
			t.Errorf("the card says %q, not %q", m.Card.Training.Notes, want)
		}
	}
	if r := m.Card.Reliability; r == nil || !strings.Contains(r.Of, "each judged by the member that left its component out") {
		t.Errorf("reliability %+v", r)
	}
	fails(t, "must be positive", append(args, "--days", "0")...)
	fails(t, "must be positive", append(args, "--half-life=-1")...)
	fails(t, "unknown flag --tree", append(args, "--train=--tree=3")...)
	fails(t, "is `forestall engine` running?", "retrain", "--telemetry", hour, "--out", out, "--api", "http://127.0.0.1:1")
}

// TestRetrainTakesAfterTheChampion: horizon, lead, windows and sets are those of the
// model that judges now, and the labels are the ledger's failures.
func TestRetrainTakesAfterTheChampion(t *testing.T) {
	champion := someModels()
	champion[1].Horizon, champion[1].Lead = 120, 10
	champion[1].Windows, champion[1].Sets = []string{"20s", "1m0s"}, []string{"context"}
	incidents, err := readFile(hourIncidents, train.ReadIncidents)
	if err != nil {
		t.Fatal(err)
	}
	url := answering(t, map[string]any{
		"/v1/models": champion, "/v1/incidents": incidents, "/v1/migrations": []forestall.Migration{}, "/v1/status": api.Status{},
	})
	out := filepath.Join(t.TempDir(), "m")
	args := []string{"retrain", "--telemetry", hour, "--out", out, "--recovery", "1m", "--interval", "5s", "--train=--trees=5", "--api", url}
	fails(t, "which may be of another version", args...) // the fake takes no proposal; the model is written all the same
	m, err := model.Load(out)
	if err != nil {
		t.Fatal(err)
	}
	if m.Card.Horizon != model.Duration(2*time.Minute) || m.Card.Lead != model.Duration(10*time.Second) {
		t.Errorf("horizon %s, lead %s", m.Card.Horizon, m.Card.Lead)
	}
	alike := func(windows []model.Duration, set bool) {
		t.Helper()
		m, err := model.Load(out)
		if err != nil {
			t.Fatal(err)
		}
		schema, err := predict.SchemaFor(m)
		if err != nil {
			t.Fatal(err)
		}
		has := slices.ContainsFunc(schema.Metrics(), func(m features.Metric) bool { return m.Name == features.MetricOverSiblings })
		if !slices.Equal(m.Card.Windows, windows) || has != set {
			t.Errorf("windows %v, with the set context: %v", m.Card.Windows, has)
		}
	}
	alike([]model.Duration{model.Duration(20 * time.Second), model.Duration(time.Minute)}, true)
	fails(t, "which may be of another version", append(args, "--horizon", "2m", "--windows", "10s,1m", "--train=--sets=history")...)
	alike([]model.Duration{model.Duration(10 * time.Second), model.Duration(time.Minute)}, false)
	champion[1].Sets = nil
	plain := answering(t, map[string]any{
		"/v1/models": champion, "/v1/incidents": incidents, "/v1/migrations": []forestall.Migration{}, "/v1/status": api.Status{},
	})
	fails(t, "which may be of another version", append(args, "--api", plain)...)
	alike([]model.Duration{model.Duration(20 * time.Second), model.Duration(time.Minute)}, false)
	champion[1].HandMade = true
	first := answering(t, map[string]any{"/v1/models": champion})
	fails(t, "is hand-made, and its horizon of 2m0s leaves nobody time to act: give --horizon and --lead", append(args, "--api", first)...)
	champion[1].HandMade = false
	none := answering(t, map[string]any{"/v1/models": champion, "/v1/incidents": []forestall.Incident{}, "/v1/migrations": []forestall.Migration{}, "/v1/status": api.Status{}})
	fails(t, "there is nothing to learn from", append(args, "--api", none)...)
	nobody := answering(t, map[string]any{"/v1/models": []api.ModelStatus{}})
	fails(t, "no model judges gpu yet; give --horizon", append(args, "--api", nobody)...)
}

// TestRetrainWhereTheLedgerReaches: rows from before the ledger's memory, whose
// failures may be forgotten, are left out, and said to be.
func TestRetrainWhereTheLedgerReaches(t *testing.T) {
	incidents, err := readFile(hourIncidents, train.ReadIncidents)
	if err != nil {
		t.Fatal(err)
	}
	since := time.Date(2026, 1, 1, 0, 20, 0, 0, time.UTC)
	ledger := func(known map[string]time.Time) string {
		return answering(t, map[string]any{"/v1/models": []api.ModelStatus{}, "/v1/incidents": incidents, "/v1/migrations": []forestall.Migration{}, "/v1/status": api.Status{KnownSince: known}})
	}
	out := filepath.Join(t.TempDir(), "m")
	args := []string{"retrain", "--telemetry", hour, "--out", out, "--horizon", "2m", "--recovery", "1m", "--interval", "5s", "--windows", "10s,1m", "--train=--trees=5"}
	for what, want := range map[string]string{"gpu_failure": "knows all failures of gpu since 2026-01-01T00:20:00Z only", "moves": "knows all moves since 2026-01-01T00:20:00Z only"} {
		_, _, stderr := commandLine(append(args, "--api", ledger(map[string]time.Time{what: since, "agent_failure": noon}))...)
		if m, err := model.Load(out); err != nil || m.Card.Training.From.Before(since) || !strings.Contains(stderr, want) {
			t.Errorf("%s: trained from %s on, told %q; %v", what, m.Card.Training.From, stderr, err)
		}
	}
	fails(t, "do without the ledger's", append(args, "--api", ledger(map[string]time.Time{"moves": noon}))...)
}

func TestDistinctIncidents(t *testing.T) {
	at := func(minute int, g int, kind forestall.FailureKind) forestall.Incident {
		return forestall.Incident{Component: forestall.GPU("n1", g), Kind: kind, Start: noon.Add(time.Duration(minute) * time.Minute)}
	}
	got := distinctIncidents([]forestall.Incident{
		at(5, 1, forestall.GPUFailure), at(0, 1, forestall.GPUFailure), at(5, 1, forestall.GPUFailure), at(5, 0, forestall.GPUFailure), at(1, 0, forestall.NetworkPartition),
	})
	want := []forestall.Incident{at(0, 1, forestall.GPUFailure), at(5, 0, forestall.GPUFailure), at(5, 1, forestall.GPUFailure)}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
