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

// TestChurningPageIsForgotten: what a page described under names that are no more
// leaves nothing behind, while the page lives.
func TestChurningPageIsForgotten(t *testing.T) {
	pod := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",Hostname=\"pod-%d\"} 50\nDCGM_FI_DEV_XID_ERRORS{gpu=\"0\",Hostname=\"pod-%d\"} 0\n", pod, pod)
	}))
	defer srv.Close()
	mappings, err := features.NewMappings(nil)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	c := DefaultConfig().Features
	c.ForgetAfter = Duration{time.Minute}
	list, err := openTargets(c, mappings, "n0", log)
	if err != nil {
		t.Fatal(err)
	}
	mapping, err := mappings.Get("dcgm")
	if err != nil {
		t.Fatal(err)
	}
	g := &targetGroup{key: "features.target[0]", timeout: time.Second, forget: list.forget, mapping: mapping, client: http.DefaultClient, pages: map[string]*page{}}
	if err := g.open(features.Target{URL: srv.URL}, ""); err != nil {
		t.Fatal(err)
	}
	tel := &telemetry{
		node: "n0", targets: list, owners: owners{of: map[forestall.Component]owner{}}, now: func() time.Time { return now }, log: log, metrics: newMetrics(prometheus.NewRegistry()),
		lanes: gpuLanes(t), failing: map[string]bool{}, gone: map[forestall.Component]bool{},
		judged: newJudgement(DefaultConfig().Policy, time.Minute, time.Now, log),
	}
	for pod = range 200 {
		now = now.Add(15 * time.Second)
		tel.scrapePage(context.Background(), g.pages[srv.URL])
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
