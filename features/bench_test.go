package features

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
)

// dcgmNode is the page of a node with 8 GPUs of 60 series each: the fields of
// testdata/dcgm.prom and, to fill up, others that no rule maps.
func dcgmNode(tb testing.TB) []byte {
	tb.Helper()
	b, err := os.ReadFile("testdata/dcgm.prom")
	if err != nil {
		tb.Fatal(err)
	}
	var page strings.Builder
	fields := 0
	gpus := func(line string) {
		for g := range 8 {
			fmt.Fprintln(&page, strings.NewReplacer(`gpu="0"`, fmt.Sprintf(`gpu="%d"`, g), "nvidia0", fmt.Sprintf("nvidia%d", g)).Replace(line))
		}
		fields++
	}
	var last string
	for _, line := range strings.Split(string(b), "\n") {
		switch {
		case strings.Contains(line, `gpu="0"`):
			gpus(line)
			last = line
		case strings.HasPrefix(line, "#"):
			fmt.Fprintln(&page, line)
		}
	}
	_, labels, _ := strings.Cut(last, "{")
	for i := fields; i < 60; i++ {
		fmt.Fprintf(&page, "# HELP DCGM_FI_DEV_FILLER_%d Something else.\n# TYPE DCGM_FI_DEV_FILLER_%d gauge\n", i, i)
		gpus(fmt.Sprintf("DCGM_FI_DEV_FILLER_%d{%s", i, labels))
	}
	return []byte(page.String())
}

// collections are the page as it is collected in turn: the energy has moved.
func collections(tb testing.TB) [2][]byte {
	tb.Helper()
	page := dcgmNode(tb)
	next := bytes.ReplaceAll(page, []byte("912345678901"), []byte("912345678999"))
	if bytes.Equal(page, next) {
		tb.Fatal("the page has no energy")
	}
	return [2][]byte{page, next}
}

func perSeries(b *testing.B, series int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*series), "ns/series")
	b.ReportMetric(float64(b.N*series)/b.Elapsed().Seconds(), "series/s")
}

func BenchmarkParseDCGM(b *testing.B) {
	page := dcgmNode(b)
	b.SetBytes(int64(len(page)))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n = 0
		if err := Parse(page, "", func(Series) error { n++; return nil }); err != nil {
			b.Fatal(err)
		}
	}
	if n != 480 {
		b.Fatalf("%d series, want 480", n)
	}
	perSeries(b, n)
}

// One HTTP request over loopback, its page parsed and mapped to samples of 8
// GPUs; the server's share is in the figure.
func BenchmarkScrapeDCGM(b *testing.B) {
	pages, n := collections(b), 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { n++; _, _ = w.Write(pages[n%2]) }))
	defer srv.Close()
	s, err := NewScraper(ScrapeConfig{URL: srv.URL + "/metrics", Node: "n3", Mapping: preset("dcgm")}, srv.Client())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		groups, _, err := s.Scrape(context.Background(), epoch)
		if err != nil || len(groups) != 8 {
			b.Fatalf("%d GPUs, %v", len(groups), err)
		}
	}
	perSeries(b, 480)
}

// A page of known series, without HTTP.
func BenchmarkKnownDCGM(b *testing.B) {
	pages, n := collections(b), 0
	s := dcgmScraper(b)
	b.SetBytes(int64(len(pages[0])))
	b.ReportAllocs()
	for b.Loop() {
		n++
		if err := s.take(pages[n%2], "text/plain; version=0.0.4", epoch); err != nil {
			b.Fatal(err)
		}
	}
	perSeries(b, 480)
}

func benchWindow(b *testing.B) (*Window, []float64) {
	s, err := NewSchema(forestall.KindGPU, Metrics(forestall.KindGPU), []time.Duration{10 * time.Second, time.Minute, 5 * time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	w := NewWindow(s)
	values := make([]float64, len(s.Metrics()))
	for i := range 200 {
		if err := w.Push(epoch.Add(time.Duration(i)*5*time.Second), values, 0); err != nil {
			b.Fatal(err)
		}
	}
	return w, values
}

func BenchmarkWindowPush(b *testing.B) {
	w, values := benchWindow(b)
	b.ReportAllocs()
	at := w.Last()
	for b.Loop() {
		at = at.Add(5 * time.Second)
		values[0]++
		if err := w.Push(at, values, time.Millisecond); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(values)), "ns/sample")
}

func BenchmarkWindowVector(b *testing.B) {
	w, _ := benchWindow(b)
	vector := w.Vector(nil)
	b.ReportAllocs()
	for b.Loop() {
		vector = w.Vector(vector)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(vector)), "ns/feature")
}

func BenchmarkHostRead(b *testing.B) {
	h, err := NewHost("here", HostOptions{})
	if err != nil {
		b.Fatal(err)
	}
	var samples []forestall.Sample
	b.ReportAllocs()
	for b.Loop() {
		if samples, err = h.Read(time.Now(), samples[:0]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadHistory(b *testing.B) {
	f, err := os.Open("../testdata/history/samples.csv.gz")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	gz, err := gzip.NewReader(f)
	if err != nil {
		b.Fatal(err)
	}
	text, err := io.ReadAll(gz)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	n := 0
	for b.Loop() {
		n = 0
		for group, err := range ReadHistory(strings.NewReader(string(text))) {
			if err != nil {
				b.Fatal(err)
			}
			n += len(group)
		}
	}
	b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "samples/s")
}
