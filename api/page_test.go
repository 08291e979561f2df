package api

import (
	"io/fs"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
)

// TestPageIsWhole checks that every module and style that a file of the page
// names is served with its type, and that none is named outside this server.
func TestPageIsWhole(t *testing.T) {
	s := newServer(t, newFake(t0), nil)
	names := regexp.MustCompile(`(?:from |href=|src=|import )"([^"#]+)"`)
	err := fs.WalkDir(web, "web", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(web, path)
		if err != nil {
			return err
		}
		for _, m := range names.FindAllStringSubmatch(string(text), -1) {
			name := m[1]
			if strings.HasPrefix(name, "data:,") {
				continue
			}
			url := strings.Replace(name, "./", "/web/", 1)
			w := httptest.NewRecorder()
			s.handler.ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1"+url, nil))
			want := map[bool]string{true: "text/javascript", false: "text/css"}[strings.HasSuffix(url, ".js")]
			if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), want) {
				t.Errorf("%s names %s: status %d, type %s", path, name, w.Code, w.Header().Get("Content-Type"))
			}
		}
		for _, outside := range []string{"https://", "//cdn", "innerHTML", `fetch("/`} /* the last fails on https://ME:TOKEN@HOST/ */ {
			if strings.Contains(string(text), outside) {
				t.Errorf("%s contains %s", path, outside)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestPageByHand serves the page over a moving fake cluster at the address in
// PAGE until interrupted: PAGE=127.0.0.1:7070 go test ./api -run PageByHand -timeout 1h
func TestPageByHand(t *testing.T) {
	address := os.Getenv("PAGE")
	if address == "" {
		t.Skip("PAGE is not set; this test is for looking at the page")
	}
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt)
	defer stop()
	f := newFake(time.Now())
	f.workloads = append(f.workloads, WorkloadStatus{Name: "bench", Kind: forestall.KindAgent, State: StateStopped})
	s := newServer(t, f, func(c *Config, _ *Backend) { c.Address, c.Now = address, time.Now })
	for i := range historyLength { // ten minutes before now
		p := 0.001 + 0.87/(1+float64((historyLength-i)*(historyLength-i))/300)
		points := []RiskPoint{}
		for _, r := range s.sortedRisks() {
			point := pointOf(r)
			switch {
			case r.Component == forestall.GPU("n1", 3):
				point.Probability = &p
			case point.Probability != nil:
				v := *point.Probability * (0.7 + 0.6*rand.Float64())
				point.Probability = &v
			}
			points = append(points, point)
		}
		s.hub.history.add(points)
	}
	go func() {
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
				f.set(healthy(forestall.GPU("n2", rand.IntN(8)), time.Now(), 0.0005+0.001*rand.Float64()))
			}
		}
	}()
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
}
