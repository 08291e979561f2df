package features

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stratoswarm/forestall"
)

// realProgram returns the path of a program of Debian's, or skips the test.
func realProgram(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed: apt-get install -y --no-install-recommends %s", name, name)
	}
	return path
}

// startProgram runs a program until the test ends and shows what it wrote if
// the test fails.
func startProgram(t *testing.T, path string, args ...string) {
	t.Helper()
	var log bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // it was killed
		if t.Failed() {
			t.Logf("%s wrote:\n%.4000s", path, log.String())
		}
	})
}

// freeAddress returns an address on which nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// await waits until done holds.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("waited 2 minutes for %s", what)
		case <-tick.C:
		}
	}
}

// realCluster is a node_exporter, a Prometheus server that scrapes it once a
// second through a proxy that keeps the pages, and a receiver of that server's
// remote writes.
type realCluster struct {
	prometheus string // URL
	proxy      *httptest.Server

	mu      sync.Mutex
	pages   map[float64]string // by node_time_seconds - node_boot_time_seconds
	written []RemoteScrape
}

func startRealCluster(t *testing.T) *realCluster {
	t.Helper()
	exporter, prometheus := realProgram(t, "prometheus-node-exporter"), realProgram(t, "prometheus")
	c := &realCluster{pages: map[float64]string{}}
	address := freeAddress(t)
	startProgram(t, exporter, "--web.listen-address="+address, "--log.level=warn")
	c.proxy = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		resp, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		page, err := io.ReadAll(resp.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		c.keep(string(page))
		w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
		_, _ = w.Write(page)
	}))
	t.Cleanup(c.proxy.Close)
	await(t, "node_exporter", func() bool {
		resp, err := http.Get("http://" + address + "/")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return true
	})

	writer, err := NewRemoteWriter(RemoteWriteConfig{Mappings: []*Mapping{preset("node")}, Settle: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	receiver := httptest.NewServer(writer.Handler())
	t.Cleanup(receiver.Close)
	ctx, stop := context.WithCancel(context.Background())
	var flushing sync.WaitGroup
	flushing.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				scrapes, _ := writer.Flush(now)
				c.mu.Lock()
				c.written = append(c.written, scrapes...)
				c.mu.Unlock()
			}
		}
	})
	t.Cleanup(func() { stop(); flushing.Wait() })

	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	writeFile(t, config, fmt.Sprintf(`global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs: [{job_name: node, static_configs: [{targets: ['%s']}]}]
remote_write: [{url: '%s/api/v1/write', queue_config: {batch_send_deadline: 200ms}}]
`, c.proxy.Listener.Addr(), receiver.URL))
	listen := freeAddress(t)
	c.prometheus = "http://" + listen
	startProgram(t, prometheus, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+listen, "--log.level=warn")
	return c
}

// keep files a page under the uptime that it shows.
func (c *realCluster) keep(page string) {
	m := preset("node")
	if up := oneScrape(newCollector(m, "n", nil, "", 1), page, epoch); up != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.pages[uptimeOf(up)] = page
	}
}

// oneScrape gives a page to a collector, nil if it holds nothing.
func oneScrape(c *collector, page string, at time.Time) []forestall.Sample {
	c.begin()
	err := Parse([]byte(page), "", func(s Series) error {
		if !c.mapping.knows(s.Name) {
			return nil
		}
		r, err := c.route(s.Name, s.Labels())
		if err == nil {
			c.add(r, s.Value)
		}
		return err
	})
	if err != nil || c.end(at) != nil {
		return nil
	}
	return c.samples(at)[0]
}

func uptimeOf(samples []forestall.Sample) float64 {
	for _, s := range samples {
		if s.Metric == nodeUptime {
			return s.Value
		}
	}
	return math.NaN()
}

// TestRealPrometheus compares, value by value, what a real node_exporter showed
// with what a real Prometheus server wrote remotely and has kept.
// PROMETHEUS_SCRAPES says how many scrapes are compared.
func TestRealPrometheus(t *testing.T) {
	want := 8
	if n, err := strconv.Atoi(os.Getenv("PROMETHEUS_SCRAPES")); err == nil {
		want = n
	}
	c := startRealCluster(t)
	writtenOnce := func() []RemoteScrape {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.written
	}
	await(t, "remote writes", func() bool { return len(writtenOnce()) >= want })
	written := writtenOnce()

	// What scraping the pages gives, in the order in which they were written.
	node := forestall.Node("127.0.0.1")
	scraping := newCollector(preset("node"), node.Name, nil, "", 1)
	byUptime := map[float64][]forestall.Sample{}
	for i, s := range written {
		page, ok := c.pages[uptimeOf(s.Samples)]
		if !ok {
			t.Fatalf("remote write %d is of no page that was shown: %v", i, s.Samples)
		}
		shown := oneScrape(scraping, page, s.Samples[0].Time)
		if diff := cmp.Diff(shown, s.Samples, cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("remote write %d (-shown +written):\n%s", i, diff)
		}
		if s.Latency <= 0 || s.Latency > time.Second {
			t.Errorf("remote write %d: latency %s", i, s.Latency)
		}
		byUptime[uptimeOf(shown)] = shown
	}

	// What the server has kept, read half a second after each scrape.
	first, last := written[1].Samples[0].Time, written[len(written)-1].Samples[0].Time
	compared := 0
	for s, err := range ReadPrometheus(context.Background(), PrometheusQuery{
		URL: c.prometheus, Client: http.DefaultClient, Mappings: []*Mapping{preset("node")}, Match: `job="node"`,
		From: first.Add(500 * time.Millisecond), To: last.Add(500 * time.Millisecond), Step: time.Second,
	}) {
		if err != nil {
			t.Fatal(err)
		}
		shown := byUptime[uptimeOf(s.Samples)]
		if shown == nil {
			t.Errorf("read at %s: not a scrape that was written: %v", s.Samples[0].Time, s.Samples)
			continue
		}
		for i := range shown {
			shown[i].Time = s.Samples[i].Time
		}
		if compared == 0 { // nothing precedes it here
			compared++
			continue
		}
		if diff := cmp.Diff(shown, s.Samples, cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("read at %s (-shown +read):\n%s", s.Samples[0].Time, diff)
		}
		compared++
	}
	if compared < len(written)-2 {
		t.Errorf("%d scrapes compared, want %d", compared, len(written)-1)
	}
	t.Logf("%d remote writes and %d scrapes read back are what node_exporter showed, of %d metrics", len(written), compared, len(written[0].Samples))
}

// TestRealNodeExporter scrapes a real node_exporter.
func TestRealNodeExporter(t *testing.T) {
	exporter := realProgram(t, "prometheus-node-exporter")
	address := freeAddress(t)
	startProgram(t, exporter, "--web.listen-address="+address, "--log.level=warn")
	s, err := NewScraper(ScrapeConfig{URL: "http://" + address + "/metrics", Node: "n1", Mapping: preset("node")}, http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	var groups [][]forestall.Sample
	for i := range 2 {
		await(t, "node_exporter", func() bool {
			var err error
			groups, _, err = s.Scrape(context.Background(), epoch.Add(time.Duration(i)*time.Second))
			return err == nil
		})
	}
	values := map[string]float64{}
	for _, v := range groups[0] {
		values[v.Metric] = v.Value
	}
	for _, metric := range []string{nodeLoadPerCPU, nodeMemoryAvailable, nodeUptime, nodeOpenFiles} {
		if v := values[metric]; !(v >= 0) {
			t.Errorf("%s = %v", metric, v)
		}
	}
	if v := values[nodeMemoryAvailable]; !(v > 0 && v < 1) {
		t.Errorf("%s = %v, want a share", nodeMemoryAvailable, v)
	}
}
