package engine

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
)

// discoveredTelemetry is the telemetry of an engine n0 whose one target is
// found in file.
func discoveredTelemetry(t *testing.T, file string) *telemetry {
	t.Helper()
	c := DefaultConfig().Features
	c.Targets = []TargetConfig{{FileSD: []string{file}, Preset: "dcgm"}}
	return telemetryOfTargets(t, c)
}

// telemetryOfTargets is the telemetry of an engine n0 that scrapes targets.
func telemetryOfTargets(t *testing.T, c FeaturesConfig) *telemetry {
	t.Helper()
	mappings, err := features.NewMappings(nil)
	if err != nil {
		t.Fatal(err)
	}
	list, err := openTargets(c, mappings, "n0", nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	m := newMetrics(prometheus.NewRegistry())
	tel := &telemetry{
		node: "n0", targets: list, scrape: c.ScrapeInterval.Duration, timeout: c.timeout(), owners: owners{of: map[forestall.Component]owner{}}, now: time.Now, log: slog.New(slog.DiscardHandler), metrics: m,
		lanes: gpuLanes(t), failing: map[string]bool{}, judged: newJudgement(DefaultConfig().Policy, time.Minute, time.Now, slog.New(slog.DiscardHandler)),
	}
	list.gone = func(p *page) { tel.forget(p.id, p.url) }
	return tel
}

func TestTargetsComeAndGo(t *testing.T) {
	gpuPage := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",Hostname=%q} 50\n", strings.TrimPrefix(r.URL.Path, "/"))
	}
	srv := httptest.NewServer(http.HandlerFunc(gpuPage))
	defer srv.Close()
	address := strings.TrimPrefix(srv.URL, "http://")
	file := filepath.Join(t.TempDir(), "targets.json")
	list := func(paths ...string) {
		t.Helper()
		var groups []string
		for _, p := range paths {
			groups = append(groups, fmt.Sprintf(`{"targets": [%q], "labels": {"__metrics_path__": "/%s"}}`, address, p))
		}
		if err := os.WriteFile(file, []byte("["+strings.Join(groups, ",")+"]"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := filepath.Join(filepath.Dir(file), "*.json")
	tel := discoveredTelemetry(t, files)
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	refresh := func(at time.Duration) {
		tel.targets.refresh(context.Background(), tel.targets.groups[0], start.Add(at))
		for _, p := range tel.targets.list() {
			tel.scrapePage(context.Background(), p)
		}
	}
	check := func(what string, urls, components []string) {
		t.Helper()
		var gotURLs, gotComponents []string
		for _, p := range tel.targets.list() {
			gotURLs = append(gotURLs, p.url)
		}
		slices.Sort(gotURLs)
		for _, c := range tel.lanes.components() {
			gotComponents = append(gotComponents, c.String())
		}
		if diff := cmp.Diff(urls, gotURLs); diff != "" {
			t.Errorf("%s: targets (-want +got):\n%s", what, diff)
		}
		if diff := cmp.Diff(components, gotComponents); diff != "" {
			t.Errorf("%s: components (-want +got):\n%s", what, diff)
		}
	}
	both, first := []string{"gpu/n1/0", "gpu/n2/0"}, []string{srv.URL + "/n1"}

	list("n1", "n2")
	refresh(0)
	ended, end := context.WithCancel(context.Background())
	end()
	for _, p := range tel.targets.list() {
		if tel.scrapePage(ended, p); tel.failing[p.url] {
			t.Errorf("%s cannot be read because the engine ended", p.url)
		}
	}
	check("two listed", []string{srv.URL + "/n1", srv.URL + "/n2"}, both)
	list("n1")
	refresh(time.Minute)
	check("one removed", first, both)
	if err := os.WriteFile(file, []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	refresh(2 * time.Minute)
	check("half written", first, both)
	known := tel.targets.states()[0]
	if notes := targetNotes(tel.targets.states()); !known.List || known.Up || known.URL != files || !known.Read.Equal(start.Add(time.Minute)) || len(notes) != 1 || !strings.Contains(notes[0], "not all targets of features.target[0] can be found") {
		t.Errorf("half written: %+v, notes %q", known, notes)
	}
	list("n1", "n2")
	scraper := tel.targets.groups[0].pages[srv.URL+"/n2"].scraper
	refresh(time.Hour)
	check("back", []string{srv.URL + "/n1", srv.URL + "/n2"}, both)
	if tel.targets.groups[0].pages[srv.URL+"/n2"].scraper != scraper {
		t.Error("a target that came back begins anew")
	}
	list("n1")
	refresh(2 * time.Hour)
	refresh(2*time.Hour + tel.targets.forget - time.Second)
	check("away, not for long enough", first, both)
	refresh(2*time.Hour + tel.targets.forget)
	check("away for too long", first, []string{"gpu/n1/0"})
	other := fmt.Sprintf(`[{"targets": [%q], "labels": {"__metrics_path__": "/n2"}}]`, address)
	for name, text := range map[string]string{file: "[{", filepath.Join(filepath.Dir(file), "other.json"): other} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	refresh(3*time.Hour + tel.targets.forget)
	check("half written, beside a good one", []string{srv.URL + "/n1", srv.URL + "/n2"}, both)
}

// TestTargetsTakeTurns spreads pages over the interval, leaves out a slow one and
// does not catch up on what was missed.
func TestTargetsTakeTurns(t *testing.T) {
	c := DefaultConfig().Features
	for i := range 4 {
		c.Targets = append(c.Targets, TargetConfig{URL: fmt.Sprintf("http://n%d/metrics", i), Preset: "dcgm", Node: fmt.Sprintf("n%d", i)})
	}
	mappings, err := features.NewMappings(nil)
	if err != nil {
		t.Fatal(err)
	}
	all, err := openTargets(c, mappings, "n0", nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tt := range []struct {
		at    time.Duration
		pages string
		wait  time.Duration
		slow  bool // the pages are not done until told
	}{
		{0, "n0", 5 * time.Second, false},
		{time.Second, "", 4 * time.Second, false},
		{5 * time.Second, "n1", 5 * time.Second, true},
		{10 * time.Second, "n2", 5 * time.Second, false},
		{15 * time.Second, "n3", 5 * time.Second, false},
		{20 * time.Second, "n0", 5 * time.Second, false},
		{25 * time.Second, "", 5 * time.Second, false}, // n1 is still being scraped
		{2 * time.Minute, "n0 n2 n3", 5 * time.Second, false},
		{130 * time.Second, "n2", 5 * time.Second, false},
	} {
		pages, wait := all.due(start.Add(tt.at), 20*time.Second)
		var names []string
		for _, p := range pages {
			names = append(names, strings.TrimSuffix(strings.TrimPrefix(p.url, "http://"), "/metrics"))
			if !tt.slow {
				all.done(p)
			}
		}
		slices.Sort(names)
		if got := strings.Join(names, " "); got != tt.pages || wait != tt.wait {
			t.Errorf("after %s: %q and %s, want %q and %s", tt.at, got, wait, tt.pages, tt.wait)
		}
	}
}

// TestTargetIsTooSlow: a target that accepts and never answers is down, and says why.
func TestTargetIsTooSlow(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer srv.Close()
	c := DefaultConfig().Features
	c.ScrapeTimeout.Duration = 50 * time.Millisecond
	c.Targets = []TargetConfig{{URL: srv.URL, Preset: "dcgm"}}
	tel := telemetryOfTargets(t, c)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); tel.scrapePages(ctx) }()
	await(t, "the target's error", func(context.Context) (string, error) { return tel.targets.states()[0].Error, nil },
		func(said string) bool { return strings.Contains(said, "no answer within 50ms") })
	stop()
	<-ended
	if notes := targetNotes(tel.targets.states()); len(notes) != 1 || !strings.Contains(notes[0], "1 of 1 targets cannot be read") || !tel.failing[srv.URL] {
		t.Errorf("notes %q, failing %v", notes, tel.failing)
	}
}

func TestOneSourceOfAComponent(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",Hostname=\"n1\"} 50\n")
	}))
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "targets.json")
	address := strings.TrimPrefix(srv.URL, "http://")
	text := fmt.Sprintf(`[{"targets": [%q]}, {"targets": [%q], "labels": {"__param_again": "1"}}]`, address, address)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tel := discoveredTelemetry(t, file)
	tel.targets.refresh(context.Background(), tel.targets.groups[0], time.Now())
	for _, p := range tel.targets.list() {
		tel.scrapePage(context.Background(), p)
	}
	failing := 0
	for _, bad := range tel.failing {
		if bad {
			failing++
		}
	}
	if failing != 1 {
		t.Errorf("failing sources %v, want one of the two pages that describe one GPU", tel.failing)
	}
}

// TestTargetGetsOtherLabels: what a target described under its old labels goes
// stale and is forgotten in time; what it describes now is its own.
func TestTargetGetsOtherLabels(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "DCGM_FI_DEV_GPU_TEMP{gpu=\"0\"} 50\n") }))
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "targets.json")
	tel := discoveredTelemetry(t, file)
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	now := start
	tel.now = func() time.Time { return now }
	refresh := func(at time.Duration, node string) {
		t.Helper()
		list := fmt.Sprintf(`[{"targets": [%q], "labels": {"node": %q}}]`, strings.TrimPrefix(srv.URL, "http://"), node)
		if err := os.WriteFile(file, []byte(list), 0o600); err != nil {
			t.Fatal(err)
		}
		now = start.Add(at)
		tel.targets.refresh(context.Background(), tel.targets.groups[0], now)
		all := tel.targets.list()
		if len(all) != 1 || len(tel.targets.states()) != 2 { // the list and its target
			t.Fatalf("%d targets are scraped", len(all))
		}
		tel.scrapePage(context.Background(), all[0])
	}
	check := func(when string, want map[string]time.Duration) {
		t.Helper()
		got := map[string]time.Duration{}
		for _, c := range tel.lanes.components() {
			tel.lanes.with(c, func(w *features.Window) { got[c.String()] = w.Gap(now) })
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, how long ago components were heard (-want +got):\n%s", when, diff)
		}
	}
	refresh(0, "a")
	refresh(time.Minute, "b")
	check("renamed", map[string]time.Duration{"gpu/a/0": time.Minute, "gpu/b/0": 0})
	refresh(time.Minute+tel.targets.forget-time.Second, "b")
	check("not for long enough", map[string]time.Duration{"gpu/a/0": time.Minute + tel.targets.forget - time.Second, "gpu/b/0": 0})
	refresh(time.Minute+tel.targets.forget, "b")
	check("for long enough", map[string]time.Duration{"gpu/b/0": 0})
	refresh(10*time.Hour, "a")
	check("named as before", map[string]time.Duration{"gpu/a/0": 0, "gpu/b/0": 10*time.Hour - time.Minute - tel.targets.forget})
}

// TestTargetOfAHalfWrittenList: a target that two lists name keeps its labels while the
// list that gave it them cannot be read.
func TestTargetOfAHalfWrittenList(t *testing.T) {
	dir := t.TempDir()
	tel := discoveredTelemetry(t, filepath.Join(dir, "*.json"))
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i, tt := range []struct{ first, node string }{
		{`[{"targets": ["n1:9400"], "labels": {"node": "a"}}]`, "a"},
		{`[{"targets": ["n1:9400"`, "a"},
		{`[{"targets": ["n1:9400"], "labels": {"node": "a"}}]`, "a"},
		{`[]`, "b"},
		{`[{"targets": ["n1:9400"`, "b"},
	} {
		write("1.json", tt.first)
		write("2.json", `[{"targets": ["n1:9400"], "labels": {"node": "b"}}]`)
		tel.targets.refresh(context.Background(), tel.targets.groups[0], start.Add(time.Duration(i)*time.Minute))
		if all := tel.targets.list(); len(all) != 1 || all[0].scraper.Labels()["node"] != tt.node {
			t.Errorf("with %s first: %d targets, labels %v", tt.first, len(all), all[0].scraper.Labels())
		}
	}
}
