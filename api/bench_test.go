package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stratoswarm/forestall"
)

func cluster(gpus int) *fake {
	f := newFake(t0)
	for n := range gpus / 8 {
		for g := range 8 {
			f.set(failing(forestall.GPU(fmt.Sprintf("m%d", n), g), t0))
		}
	}
	return f
}

type discard struct {
	header http.Header
	bytes  int
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { d.bytes += len(b); return len(b), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

// BenchmarkRisk answers GET /v1/risk for 1,000 GPUs, each with four reasons:
// the query of a scheduler.
func BenchmarkRisk(b *testing.B) {
	s := newServer(b, cluster(1000), nil)
	req := httptest.NewRequest("GET", "http://127.0.0.1/v1/risk", nil)
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		w.bytes = 0
		s.handler.ServeHTTP(w, req)
	}
	b.ReportMetric(float64(w.bytes), "bytes/answer")
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "risks/s")
}

// BenchmarkRiskOne answers for one GPU of 1,000.
func BenchmarkRiskOne(b *testing.B) {
	s := newServer(b, cluster(1000), nil)
	req := httptest.NewRequest("GET", "http://127.0.0.1/v1/risk/gpu/m7/3", nil)
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		s.handler.ServeHTTP(w, req)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "answers/s")
}

// BenchmarkLook composes and compares the event stream's snapshot of 1,000
// GPUs, which an engine does twice a second while a page is open.
func BenchmarkLook(b *testing.B) {
	s := newServer(b, cluster(1000), nil)
	if _, _, err := s.hub.subscribe(); err != nil {
		b.Fatal(err)
	}
	var seen sight
	b.ReportAllocs()
	for b.Loop() {
		if err := s.hub.look(&seen); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(seen.body)), "bytes/snapshot")
}
