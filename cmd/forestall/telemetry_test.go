package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall/recording"
)

const hour = "../../testdata/history"

// runs runs a command that must succeed and returns what it prints.
func runs(t *testing.T, args ...string) string {
	t.Helper()
	out, _ := forestallRun(t, 0, args...)
	return out
}

// fails runs a command that must fail and say so.
func fails(t *testing.T, want string, args ...string) {
	t.Helper()
	if _, errs := forestallRun(t, 1, args...); !strings.Contains(errs, want) {
		t.Errorf("forestall %s: %q; want an error that says %q", strings.Join(args, " "), errs, want)
	}
}

func TestTelemetryStats(t *testing.T) {
	var all []recording.MetricStats
	if err := json.Unmarshal([]byte(runs(t, "telemetry", "stats", hour, "--component", "gpu/n1/[03]", "--json")), &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != 2*19 {
		t.Fatalf("%d metrics of 2 GPUs, want 19 of each", len(all))
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, m := range all {
		if m.Component.Name == "n1/3" && (m.Samples != 720 || m.Missing != 0 || m.Gaps != 0 || m.Longest != 5*time.Second || !m.First.Equal(start) || !m.Last.Equal(start.Add(time.Hour-5*time.Second))) {
			t.Errorf("the healthy GPU: %+v", m)
		}
		if m.Component.Name == "n1/0" && m.Metric == "gpu_memory_total_bytes" && (m.Scrapes != 648 || m.Samples != 632 || m.Gaps != 3 || m.Longest != 195*time.Second || m.Mean != 80<<30) {
			t.Errorf("the GPU that failed three times: %+v", m)
		}
	}
	text := runs(t, "telemetry", "stats", hour, "--component", "gpu/n1/3")
	if !strings.HasPrefix(text, "COMPONENT") || !strings.Contains(text, "13680 samples of 1 component.") {
		t.Errorf("as text: %s", text)
	}
}

// TestTelemetryExport writes the hour as each kind of file, each from the one
// before; they hold the same.
func TestTelemetryExport(t *testing.T) {
	dir := t.TempDir()
	stats := func(path string) string { return runs(t, "telemetry", "stats", path, "--json") }
	want, from := stats(hour), hour
	for _, name := range []string{"a.parquet", "b.csv.gz", "c.csv"} {
		to := filepath.Join(dir, name)
		if got := runs(t, "telemetry", "export", from, "--out", to); !strings.Contains(got, "Wrote 5400 scrapes to ") {
			t.Errorf("%s: %s", name, got)
		}
		if got := stats(to); got != want {
			t.Errorf("%s holds something else than %s", name, from)
		}
		from = to
	}
	part := runs(t, "telemetry", "export", hour, "--out", "-", "--component", "gpu/n2/1", "--from", "2026-01-01T00:10:00Z", "--to", "2026-01-01T00:10:05Z")
	if lines := strings.Split(strings.TrimSpace(part), "\n"); len(lines) != 20 || !strings.HasPrefix(lines[1], "1767226200000,gpu/n2/1,") {
		t.Errorf("one scrape: %s", part)
	}
}

func TestTelemetryErrors(t *testing.T) {
	out := filepath.Join(t.TempDir(), "x")
	fails(t, "no such file or directory; unless telemetry.dir or engine.data_dir say otherwise, an engine records in /var/lib/forestall/telemetry", "telemetry", "stats", filepath.Join(hour, "gone"))
	fails(t, "no such file or directory; unless telemetry.dir or engine.data_dir say otherwise, an engine records in /var/lib/forestall/telemetry", "backtest", "--model", "builtin", "--telemetry", filepath.Join(hour, "gone"), "--incidents", hourIncidents)
	fails(t, "no such file or directory; name a directory with model.txt and card.json", "backtest", "--model", filepath.Join(hour, "gone"), "--telemetry", hour, "--incidents", hourIncidents)
	fails(t, "it holds no samples of kind node", "telemetry", "stats", hour, "--kind", "node")
	fails(t, "it holds no vectors", "telemetry", "stats", hour, "--vectors")
	fails(t, "--kind: malformed name", "telemetry", "stats", hour, "--kind", "disk")
	fails(t, "is not before --to", "telemetry", "stats", hour, "--from", "2026-01-02T00:00:00Z", "--to", "2026-01-01T00:00:00Z")
	fails(t, "the name must end in .csv", "telemetry", "export", hour, "--out", out)
	fails(t, "nothing to write", "telemetry", "export", hour, "--out", out+".parquet", "--from", "2027-01-01T00:00:00Z")
}
