package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/model"
)

// TestRetrainOnPrometheus: retraining asks a Prometheus server for its last days and
// a day before them, for the windows, learns from them with the ledger's failures,
// and leaves nothing behind but the model.
func TestRetrainOnPrometheus(t *testing.T) {
	const days = 2. / 24
	begin := time.Now().Add(-2 * time.Hour)
	failures := map[int][]float64{}
	var incidents []forestall.Incident
	for i := range 14 {
		at := 700 + 400*float64(i)
		failures[i%4] = append(failures[i%4], at)
		start := begin.Add(time.Duration(at) * time.Second)
		incidents = append(incidents, forestall.Incident{Component: forestall.GPU("n1", i%4), Kind: forestall.GPUFailure, Start: start, End: start.Add(30 * time.Second)})
	}
	var mu sync.Mutex
	var first float64 // time that was asked for
	history := prometheusOfAnHour(t, begin, failures)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start, err := strconv.ParseFloat(r.FormValue("start"), 64)
		mu.Lock()
		if err == nil && (first == 0 || start < first) {
			first = start
		}
		mu.Unlock()
		history.Config.Handler.ServeHTTP(w, r)
	}))
	defer srv.Close()
	engine := answering(t, map[string]any{"/v1/models": []api.ModelStatus{}, "/v1/incidents": incidents, "/v1/migrations": []forestall.Migration{}, "/v1/status": api.Status{}})
	rest, out := t.TempDir(), filepath.Join(t.TempDir(), "m")
	t.Setenv("TMPDIR", rest)
	args := []string{
		"retrain", "--prometheus", srv.URL, "--days", strconv.FormatFloat(days, 'g', -1, 64), "--out", out, "--horizon", "3m", "--recovery", "1m",
		"--interval", "15s", "--windows", "30s,2m", "--train=--trees=20", "--train=--leaves=7", "--api", engine,
	}
	before := time.Now()
	_, _, said := commandLine(args...) // the fake takes no proposal; the model is written all the same
	after := time.Now()
	m, err := model.Load(out)
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	back := func(now time.Time, d float64) time.Time { return now.Add(-time.Duration(d * 24 * float64(time.Hour))) }
	if at := time.Unix(0, int64(first*1e9)); at.Before(back(before, days+1).Add(-time.Minute)) || at.After(back(after, days+1).Add(time.Minute)) {
		t.Errorf("the server was asked from %s on, want a day before the last %g days", at, days)
	}
	if from := m.Card.Training.From; from.Before(back(before, days).Add(-time.Minute)) || from.After(back(after, days).Add(time.Minute)) {
		t.Errorf("trained from %s on", from)
	}
	if m.Trees() == 0 || !strings.Contains(said, "with 14 incidents") {
		t.Errorf("%d trees, told %q", m.Trees(), said)
	}
	if left, err := os.ReadDir(rest); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	nothing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"status":"success","data":{"resultType":"matrix","result":[]}}`))
	}))
	defer nothing.Close()
	fails(t, "knows no series of the presets", append(args, "--prometheus", nothing.URL)...)
	if left, err := os.ReadDir(rest); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
