package engine

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
)

// pageTelemetry is of one page of dcgm-exporter, forgets after a minute and judges
// nothing.
func pageTelemetry(t *testing.T, url string, now *time.Time) (*telemetry, *page) {
	t.Helper()
	mappings, err := features.NewMappings(nil)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	c := DefaultConfig().Features
	c.ForgetAfter = Duration{time.Minute}
	list, err := openTargets(c, mappings, "n0", nil, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	mapping, err := mappings.Get("dcgm")
	if err != nil {
		t.Fatal(err)
	}
	g := &targetGroup{key: "features.target[0]", timeout: time.Second, forget: list.forget, mapping: mapping, client: http.DefaultClient, pages: map[string]*page{}}
	if err := g.open(features.Target{URL: url}, ""); err != nil {
		t.Fatal(err)
	}
	list.groups = append(list.groups, g)
	return &telemetry{
		node: "n0", targets: list, owners: owners{of: map[forestall.Component]owner{}}, now: func() time.Time { return *now }, log: log, metrics: newMetrics(prometheus.NewRegistry()),
		lanes: gpuLanes(t), failing: map[string]bool{}, gone: map[forestall.Component]bool{},
		judged: newJudgement(DefaultConfig().Policy, time.Minute, time.Now, log),
	}, g.pages[url]
}

// TestPageOfASlowExporter: an exporter that collects more slowly than it is scraped
// is fresh between its collections; one that has stopped is a source that cannot be
// read, and its GPUs are stale.
func TestPageOfASlowExporter(t *testing.T) {
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	now, stop := start, start.Add(10*time.Minute)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := min(now.Sub(start), stop.Sub(start)) / (30 * time.Second)
		fmt.Fprintf(w, "DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",Hostname=\"n1\"} %d\nDCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu=\"0\",Hostname=\"n1\"} %d\n", 50+n%7, 1000000*n)
	}))
	defer srv.Close()
	tel, p := pageTelemetry(t, srv.URL, &now)
	for ; now.Before(stop.Add(5 * time.Minute)); now = now.Add(5 * time.Second) {
		tel.scrapePage(context.Background(), p)
		var gap time.Duration
		tel.lanes.with(forestall.GPU("n1", 0), func(w *features.Window) { gap = w.Gap(now) })
		stopped := now.After(stop.Add(2 * time.Minute))
		state := tel.targets.states()[0]
		if state.Up == stopped || state.Components != 1 || (gap > 0) != stopped {
			t.Fatalf("after %s: %+v; the newest answer is %s old", now.Sub(start), state, gap)
		}
	}
	if len(tel.lanes.components()) != 1 {
		t.Error("the GPU of an exporter that has stopped is forgotten")
	}
}

// TestChurningPageIsForgotten: what a page described under names that are no more
// leaves nothing behind, while the page lives.
func TestChurningPageIsForgotten(t *testing.T) {
	pod := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",Hostname=\"pod-%d\"} 50\nDCGM_FI_DEV_XID_ERRORS{gpu=\"0\",Hostname=\"pod-%d\"} 0\n", pod, pod)
	}))
	defer srv.Close()
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	tel, p := pageTelemetry(t, srv.URL, &now)
	for pod = range 200 {
		now = now.Add(15 * time.Second)
		tel.scrapePage(context.Background(), p)
	}
	if n := len(tel.lanes.components()); n > 6 {
		t.Errorf("%d components have windows", n)
	}
	if n := len(tel.owners.of); n > 6 {
		t.Errorf("%d components have an owner", n)
	}
	if n := len(tel.failing); n > 8 {
		t.Errorf("%d sources are remembered", n)
	}
}
