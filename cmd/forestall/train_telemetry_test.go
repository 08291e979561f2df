package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/engine"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/recording"
)

const hourIncidents = hour + "/incidents.csv"

// recordHour records the simulated hour as an engine does.
func recordHour(t *testing.T) string {
	t.Helper()
	cfg := recording.DefaultConfig()
	cfg.Dir = t.TempDir()
	r, err := recording.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(hour, "samples.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for scrape, err := range features.ReadHistory(f) {
		if err != nil {
			t.Fatal(err)
		}
		r.Record(scrape[0].Component, scrape[0].Time, scrape, -1)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Run(ended); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return cfg.Dir
}

// trainHour are the flags that fit the simulated hour.
func trainHour(telemetry, out string, more ...string) []string {
	return append([]string{
		"train", "--telemetry", telemetry, "--incidents", hourIncidents, "--horizon", "2m", "--lead", "10s", "--recovery", "1m", "--interval", "5s",
		"--windows", "10s,1m", "--trees", "30", "--leaves", "7", "--name", "hour", "--out", out,
	}, more...)
}

// TestTrainOnTelemetry goes the whole way: an hour is recorded, a model trained
// on the recording, backtested, and taken by an engine, which scores with it.
func TestTrainOnTelemetry(t *testing.T) {
	telemetry, dir := recordHour(t), filepath.Join(t.TempDir(), "gpu")
	table := filepath.Join(t.TempDir(), "rows.parquet")
	out := runs(t, trainHour(telemetry, dir, "--table-out", table)...)
	for _, want := range []string{"Replayed 5400 scrapes of 8 gpus from 2026-01-01T00:00:00Z to 2026-01-01T00:59:55Z, 18 incidents.", "positive", "censored", "Calibrated with "} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
	m, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	card := m.Card
	got := []any{card.Kind, card.Horizon, card.Lead, card.Windows, card.Training.From.String(), card.Training.To.String(), card.Reliability != nil}
	want := []any{
		"gpu", model.Duration(2 * time.Minute), model.Duration(10 * time.Second),
		[]model.Duration{model.Duration(10 * time.Second), model.Duration(time.Minute)},
		"2026-01-01 00:00:00 +0000 UTC", "2026-01-01 00:59:55 +0000 UTC", true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("card (-want +got):\n%s", diff)
	}

	again := filepath.Join(t.TempDir(), "again") // the same from the text form
	runs(t, trainHour(hour, again)...)
	for _, name := range []string{"model.txt", "card.json"} {
		a, b := fileText(t, filepath.Join(dir, name)), fileText(t, filepath.Join(again, name))
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("%s of the recording and of the history differ:\n%s", name, diff)
		}
	}
	evaluated := runs(t, "evaluate", "--model", dir, "--table", table, "--label", "label", "--group", "component", "--time", "hour", "--time-unit", "hours", "--event-time", "event_hour", "--bootstrap", "0")
	if !strings.Contains(evaluated, "8 components; 1") {
		t.Errorf("evaluate on the table:\n%s", evaluated)
	}
	if testing.Short() {
		t.Skip("the rest starts an engine, which needs 10 s to cover its window; run without -short")
	}
	scoreWith(t, dir, card.Version)
}

// scoreWith runs an engine with simulated GPUs until the model has judged one.
func scoreWith(t *testing.T, dir, version string) {
	c := engine.DefaultConfig()
	c.SetData(t.TempDir())
	c.Engine.Name, c.API.Address = "n1", "127.0.0.1:0"
	c.GPU.Source, c.GPU.SimGPUs, c.Model.GPU = "sim", 2, dir
	c.Features.Host = false
	if err := c.Features.ScrapeInterval.UnmarshalText([]byte("200ms")); err != nil {
		t.Fatal(err)
	}
	if err := c.FaultTolerance.PredictionInterval.UnmarshalText([]byte("500ms")); err != nil {
		t.Fatal(err)
	}
	e := runEngine(t, c)
	client := api.NewClient(e.URL())
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) { // between looks at a running engine
		risks, err := client.Risks(t.Context())
		for _, r := range risks {
			if r.Component.Kind == forestall.KindGPU && r.Grade != forestall.Unknown {
				if r.Model != version || r.Horizon != 2*time.Minute {
					t.Errorf("risk %+v, want one by model %s", r, version)
				}
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("no GPU was judged: %v, %v", risks, err)
		}
	}
}

func fileText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTrainOnTelemetryErrors(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()) // others use the common one
	out := filepath.Join(t.TempDir(), "m")
	other := filepath.Join(t.TempDir(), "incidents.csv")
	with := func(incidents string) []string {
		if err := os.WriteFile(other, []byte("component,start,end,kind\n"+incidents), 0o644); err != nil {
			t.Fatal(err)
		}
		return []string{"train", "--telemetry", hour, "--incidents", other, "--horizon", "2m", "--interval", "5s", "--windows", "10s,1m", "--out", out}
	}
	fails(t, "it lists no incident", with("")...)
	fails(t, "none of its 1 incident is of a gpu", with("node/n1,2026-01-01T00:10:00Z,,node_crash\n")...)
	fails(t, "none of its 1 incident of kind gpu starts within the telemetry, from 2026-01-01T00:00:00Z to 2026-01-01T00:59:55Z; they start from 2026-02-01T00:10:00Z", with("gpu/n1/0,2026-02-01T00:10:00Z,,gpu_failure\n")...)
	fails(t, "none of the components that failed has a row: gpu/n9/0. Names must be the same in the telemetry, which has gpu/n1/0", with("gpu/n9/0,2026-01-01T00:10:00Z,,gpu_failure\n")...)
	fails(t, "no row is positive", with("gpu/n1/0,2026-01-01T00:00:05Z,,gpu_failure\n")...)
	fails(t, "read incidents: line 2", with("gpu/n1/0,yesterday,,gpu_failure\n")...)
	fails(t, "--telemetry needs --horizon", "train", "--telemetry", hour, "--incidents", hourIncidents, "--out", out)
	fails(t, "lead and horizon, 2h0m0s together, do not fit into the telemetry", "train", "--telemetry", hour, "--incidents", hourIncidents, "--horizon", "1h", "--lead", "1h", "--out", out)
	fails(t, "--interval 3m0s is longer than the horizon", append(trainHour(hour, out), "--interval", "3m")...)
	fails(t, "need --incidents", "train", "--telemetry", hour, "--horizon", "2m", "--out", out)
	fails(t, "--label is for a --table", trainHour(hour, out, "--label", "x")...)
	fails(t, "--windows: feature schema", trainHour(hour, out, "--windows", "1h,1m")...)
	fails(t, `--sets: "detail" is not one of the sets of metrics details, context, history`, trainHour(hour, out, "--sets", "detail")...)
	fails(t, "it holds no samples of kind node", trainHour(hour, out, "--kind", "node")...)
	if _, err := os.Stat(out); !os.IsNotExist(err) {
		t.Errorf("a failed training left %s: %v", out, err)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "forestall-train-*")); len(left) > 0 {
		t.Errorf("temporary files are left: %q", left)
	}
}

func TestBacktest(t *testing.T) {
	args := []string{"backtest", "--model", "builtin", "--telemetry", hour, "--incidents", hourIncidents, "--interval", "5s", "--recovery", "1m", "--failure-cost", "210", "--bootstrap", "20"}
	var got struct {
		Incidents int `json:"incidents"`
		Without   int `json:"incidents_without_rows"`
		Alarms    []struct {
			Time      time.Time
			Component forestall.Component
			Outcome   string
			Incident  *time.Time
			Lead      *float64 `json:"lead_seconds"`
			Reasons   []forestall.Reason
		}
		Totals []struct {
			Alarms, Threshold float64
			False             int     `json:"false_alarms"`
			Caught            int     `json:"caught_incidents"`
			Late              int     `json:"late_incidents"`
			Migrations        float64 `json:"migrations_gpu_s"`
			Saved             float64 `json:"saved_gpu_s"`
		}
	}
	if err := json.NewDecoder(bytes.NewReader([]byte(runs(t, append(args, "--json")...)))).Decode(&got); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, a := range got.Alarms {
		count[a.Outcome]++
		if (a.Outcome == "false") != (a.Incident == nil) {
			t.Errorf("%s alarm of %s at %s with incident %v", a.Outcome, a.Component, a.Time, a.Incident)
		}
		if a.Outcome == "caught" && (a.Incident.Sub(a.Time).Seconds() != *a.Lead || *a.Lead > 120 || len(a.Reasons) == 0) {
			t.Errorf("alarm %+v", a)
		}
	}
	listed := got.Totals[0]
	if got.Incidents != 18 || listed.False != count["false"] || listed.Caught != count["caught"] || listed.Caught < 12 || listed.Caught+count["missed"]+count["late"]+got.Without != 18 {
		t.Errorf("%d incidents, %d without rows, alarms %v, totals %+v", got.Incidents, got.Without, count, listed)
	}
	if listed.Alarms != float64(listed.False+listed.Caught+listed.Late) || listed.Migrations != 60*listed.Alarms || listed.Saved != 210*float64(listed.Caught) || len(got.Totals) != 4 {
		t.Errorf("totals %+v", got.Totals)
	}
	text := runs(t, args...)
	for _, want := range []string{"Alarms at a probability of 0.2:", "caught", "GPU-seconds", "BECAUSE"} {
		if !strings.Contains(text, want) {
			t.Errorf("the output lacks %q:\n%s", want, text)
		}
	}
	page := filepath.Join(t.TempDir(), "report.html")
	runs(t, append(args, "--report", page)...)
	for _, want := range []string{"When it alarmed", "What false alarms buy", "Net of migrations", "gpu/n1/"} {
		if !strings.Contains(fileText(t, page), want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	fails(t, "--report", append(args, "--report", t.TempDir())...)
	fails(t, "--migration-cost is -1", append(args, "--migration-cost=-1")...)
	fails(t, "--threshold is 2", append(args, "--threshold", "2")...)
}

// TestTrainOnTelemetryByComponent: whole components judge where that is asked
// for, and the calibration can be done without.
func TestTrainOnTelemetryByComponent(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gpu")
	out := runs(t, trainHour(hour, dir, "--folds", "3", "--calibrate", "none", "--trees", "5")...)
	if !strings.Contains(out, "Judged by 3 folds of whole components") || strings.Contains(out, "Calibrated") {
		t.Errorf("train says\n%s", out)
	}
}
