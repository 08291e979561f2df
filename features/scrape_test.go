package features

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/stratoswarm/forestall"
)

func preset(name string) *Mapping {
	m, err := Preset(name)
	if err != nil {
		panic(err)
	}
	return m
}

func readFile(tb testing.TB, name string) string {
	tb.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

// target serves whatever answer is at the moment.
type target struct {
	*httptest.Server
	answer http.HandlerFunc
}

func newTarget(tb testing.TB) *target {
	t := &target{}
	t.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.answer(w, r) }))
	tb.Cleanup(t.Close)
	return t
}

func (t *target) page(text string) {
	t.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write([]byte(text))
	}
}

func (t *target) scraper(tb testing.TB, cfg ScrapeConfig) *Scraper {
	tb.Helper()
	cfg.URL = t.URL + "/metrics"
	s, err := NewScraper(cfg, t.Client())
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func scrapeOnce(tb testing.TB, s *Scraper, now time.Time) [][]forestall.Sample {
	tb.Helper()
	groups, _, err := s.Scrape(context.Background(), now)
	if err != nil {
		tb.Fatal(err)
	}
	return groups
}

// checkGroup compares one component's samples: want holds those that are not
// NaN, and every metric of the kind must be there once, stamped at.
func checkGroup(t *testing.T, group []forestall.Sample, c forestall.Component, at time.Time, want map[string]float64) {
	t.Helper()
	got := map[string]float64{}
	for i, m := range Metrics(c.Kind) {
		s := group[i]
		if s.Component != c || s.Metric != m.Name || !s.Time.Equal(at) {
			t.Errorf("sample %d is %v, want %s of %s at %s", i, s, m.Name, c, at)
		}
		if !math.IsNaN(s.Value) {
			got[s.Metric] = s.Value
		}
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(1, math.Abs(a)) })); diff != "" {
		t.Errorf("%s (-want +got):\n%s", c, diff)
	}
}

func TestScrapeDCGM(t *testing.T) {
	srv := newTarget(t)
	page := readFile(t, "testdata/dcgm.prom")
	srv.page(page)
	s := srv.scraper(t, ScrapeConfig{Node: "n3", Mapping: preset("dcgm")})
	groups := scrapeOnce(t, s, epoch)
	if len(groups) != 2 {
		t.Fatalf("%d components, want 2", len(groups))
	}
	const mib = 1 << 20
	checkGroup(t, groups[1], forestall.GPU("n3", 1), epoch, map[string]float64{
		"gpu_temperature_celsius": 86, "gpu_memory_temperature_celsius": 91,
		"gpu_power_watts": 688.917, "gpu_power_limit_watts": 700, "gpu_utilization_ratio": 1,
		"gpu_memory_used_bytes": 71885 * mib, "gpu_memory_total_bytes": (71885 + 9011 + 663) * mib,
		"gpu_sm_clock_hertz": 1395e6, "gpu_throttle_thermal": 1,
		"gpu_ecc_sbe_total": 214, "gpu_ecc_dbe_total": 1,
		"gpu_row_remap_pending": 1, "gpu_row_remap_total": 4,
		"gpu_pcie_replay_total": 17, "gpu_pcie_link_width": 8, "gpu_pcie_link_generation": 5,
		"gpu_nvlink_errors_total": 16,
	})
	if events := s.Events(); len(events) != 0 {
		t.Errorf("events %v at the first scrape: its XID may be old", events)
	}

	// GPU 1 throws an XID, then vanishes; GPU 0's memory sensor goes blank.
	page = strings.NewReplacer(`DCGM_FI_DRIVER_VERSION="550.127.05"} 63`, `DCGM_FI_DRIVER_VERSION="550.127.05"} 79`, "912345678901", "912345999999").Replace(page)
	srv.page(page)
	scrapeOnce(t, s, epoch.Add(time.Second))
	want := []forestall.Event{{Component: forestall.GPU("n3", 1), Kind: forestall.EventXID, Time: epoch.Add(time.Second), Code: 79, Detail: "last XID that " + srv.URL + "/metrics reports"}}
	if diff := cmp.Diff(want, s.Events()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	var rest []string
	for _, line := range strings.Split(page, "\n") {
		if strings.Contains(line, `gpu="1"`) || strings.HasPrefix(line, "DCGM_FI_DEV_FB_FREE") {
			continue
		}
		if strings.HasPrefix(line, "DCGM_FI_DEV_MEMORY_TEMP") {
			line = strings.Replace(line, "} 58", "} 2147483632", 1)
		}
		line = strings.Replace(line, "912345999999", "912346999999", 1)
		rest = append(rest, line)
	}
	srv.page(strings.Join(rest, "\n"))
	groups = scrapeOnce(t, s, epoch.Add(2*time.Second))
	checkGroup(t, groups[0], forestall.GPU("n3", 0), epoch.Add(2*time.Second), map[string]float64{
		"gpu_temperature_celsius": 47, "gpu_power_watts": 512.304, "gpu_power_limit_watts": 700, "gpu_utilization_ratio": 0.97,
		"gpu_memory_used_bytes": 66560 * mib, "gpu_sm_clock_hertz": 1980e6, "gpu_throttle_thermal": 0,
		"gpu_ecc_sbe_total": 0, "gpu_ecc_dbe_total": 0, "gpu_row_remap_pending": 0, "gpu_row_remap_total": 0,
		"gpu_pcie_replay_total": 0, "gpu_pcie_link_width": 16, "gpu_pcie_link_generation": 5, "gpu_nvlink_errors_total": 0,
	})
	checkGroup(t, groups[1], forestall.GPU("n3", 1), epoch.Add(2*time.Second), map[string]float64{})
}

func TestScrapeTakesTheNodeFromThePage(t *testing.T) {
	srv := newTarget(t)
	srv.page(`DCGM_FI_DEV_GPU_TEMP{gpu="4",Hostname="rack7-n2"} 50
DCGM_FI_DEV_GPU_TEMP{gpu="4",GPU_I_ID="1",Hostname="rack7-n2"} 52
DCGM_FI_DEV_GPU_TEMP{nvswitch="0",Hostname="rack7-n2"} 99
`)
	groups := scrapeOnce(t, srv.scraper(t, ScrapeConfig{Mapping: preset("dcgm")}), epoch)
	if len(groups) != 1 {
		t.Fatalf("%d components, want 1", len(groups))
	}
	checkGroup(t, groups[0], forestall.GPU("rack7-n2", 4), epoch, map[string]float64{"gpu_temperature_celsius": 52})
}

func TestScrapeNodeExporter(t *testing.T) {
	srv := newTarget(t)
	s := srv.scraper(t, ScrapeConfig{Node: "n1", Mapping: preset("node")})
	srv.page(readFile(t, "testdata/node1.prom"))
	first := scrapeOnce(t, s, epoch)
	for _, v := range first[0] {
		switch v.Metric {
		case nodeCPUUtilization, nodeCPUIowait, nodeCPUSteal, nodeDiskLatency:
			if !math.IsNaN(v.Value) {
				t.Errorf("%s = %v in the first scrape, want NaN", v.Metric, v.Value)
			}
		}
	}
	srv.page(readFile(t, "testdata/node2.prom"))
	groups := scrapeOnce(t, s, epoch.Add(5*time.Second))
	checkGroup(t, groups[0], forestall.Node("n1"), epoch.Add(5*time.Second), map[string]float64{
		"node_blocked_processes": 0,
		// 10.02 CPU-seconds passed, 9.17 of them idle or waiting for I/O.
		"node_cpu_iowait_ratio": 0.0019960079840320765, "node_cpu_steal_ratio": 0, "node_cpu_utilization_ratio": 0.08483033932130683,
		"node_disk_io_latency_seconds":    0.00035869565217390735,
		"node_filesystem_available_ratio": 0.30681346126470127, "node_filesystem_files_free_ratio": 0.9712550044059753,
		"node_load_per_cpu_ratio": 0.055, "node_memory_available_ratio": 0.9807344809006607,
		"node_network_drops_total": 0, "node_network_errors_total": 0,
		"node_network_receive_bytes_total": 391479823, "node_network_transmit_bytes_total": 2163776,
		"node_oom_kills_total": 0, "node_open_files": 634,
		"node_pressure_cpu_waiting_seconds_total":    67.464472,
		"node_pressure_memory_stalled_seconds_total": 0, "node_pressure_memory_waiting_seconds_total": 0,
		"node_pressure_io_stalled_seconds_total": 3.35119, "node_pressure_io_waiting_seconds_total": 4.328894,
		"node_uptime_seconds": 3276.6150891780853,
	})
}

func TestScrapeFailures(t *testing.T) {
	big := strings.Repeat("# filler\n", 1000)
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"status", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) }, "status 503"},
		{"HTML", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<html>Sign in</html>")
		}, "answered HTML"},
		{"slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no answer within 50ms"},
		{"slow page", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "DCGM_FI_DEV_GPU_TEMP{gpu=\"0\"} 50\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, "no answer within 50ms"},
		{"too large", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, big) }, "over the limit of 4096 bytes"},
		{"too large inside gzip", func(w http.ResponseWriter, _ *http.Request) { writeGzip(w, big) }, "over the limit of 4096 bytes"},
		{"broken gzip", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			fmt.Fprint(w, "certainly not gzip")
		}, "gzip: invalid header"},
		{"cut off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, "DCGM_FI_DEV_GPU_TEMP{gpu=\"0\"} 50\n")
		}, "unexpected EOF"},
		{"malformed", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "DCGM_FI_DEV_GPU_TEMP{gpu=\"0\"} 50\nx y z\n")
		}, "line 2"},
		{"another exporter", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "go_goroutines 5\n") }, "1 series and none that preset dcgm knows"},
		{"bad index", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "DCGM_FI_DEV_GPU_TEMP{gpu=\"all\"} 50\n") }, `gpu="all"`},
		{"many GPUs", func(w http.ResponseWriter, _ *http.Request) {
			for i := range 60 {
				fmt.Fprintf(w, "DCGM_FI_DEV_GPU_TEMP{gpu=\"%d\"} 50\n", i*100000)
			}
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			srv := newTarget(t)
			defer srv.Close()
			srv.answer = tt.answer
			cfg := ScrapeConfig{Node: "n1", Mapping: preset("dcgm"), MaxBytes: 4096}
			if strings.HasPrefix(tt.name, "slow") {
				cfg.Timeout = 50 * time.Millisecond
			}
			s := srv.scraper(t, cfg)
			groups, latency, err := s.Scrape(context.Background(), epoch)
			if tt.want == "" {
				if err != nil || len(groups) != 60 {
					t.Errorf("%d groups, error %v", len(groups), err)
				}
				return
			}
			if !errors.Is(err, ErrScrape) || !strings.Contains(err.Error(), tt.want) || groups != nil {
				t.Fatalf("%d groups, error %v, want ErrScrape saying %q", len(groups), err, tt.want)
			}
			if latency <= 0 {
				t.Errorf("latency %s", latency)
			}
			events := s.Events()
			if len(events) != 1 || events[0].Kind != forestall.EventScrapeError || events[0].Component != forestall.Node("n1") || !strings.Contains(events[0].Detail, tt.want) {
				t.Errorf("events %v, want one scrape error of node/n1", events)
			}
		})
	}
}

// The caller giving up says nothing about the target.
func TestScrapeCancelled(t *testing.T) {
	srv := newTarget(t)
	srv.page("")
	s := srv.scraper(t, ScrapeConfig{Node: "n1", Mapping: preset("dcgm")})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := s.Scrape(ctx, epoch); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	if events := s.Events(); len(events) != 0 {
		t.Errorf("events %v, want none", events)
	}
}

func TestScrapeGzip(t *testing.T) {
	srv := newTarget(t)
	page := readFile(t, "testdata/dcgm.prom")
	srv.answer = func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("Accept-Encoding %q", r.Header.Get("Accept-Encoding"))
		}
		writeGzip(w, page)
	}
	var ticks int
	clock := func() time.Time { ticks++; return epoch.Add(time.Duration(ticks) * 7 * time.Millisecond) }
	s := srv.scraper(t, ScrapeConfig{Node: "n3", Mapping: preset("dcgm"), Clock: clock})
	groups, latency, err := s.Scrape(context.Background(), epoch)
	if err != nil || len(groups) != 2 || latency != 7*time.Millisecond {
		t.Errorf("%d groups in %s, error %v; want 2 in 7ms", len(groups), latency, err)
	}
}

func writeGzip(w http.ResponseWriter, page string) {
	w.Header().Set("Content-Encoding", "gzip")
	gz := gzip.NewWriter(w)
	_, _ = gz.Write([]byte(page))
	_ = gz.Close()
}

func TestNewScraperRefuses(t *testing.T) {
	ok := ScrapeConfig{URL: "http://localhost:9400/metrics", Node: "n1", Mapping: preset("dcgm")}
	for _, tt := range []struct {
		name   string
		change func(*ScrapeConfig)
		want   string
	}{
		{"no scheme", func(c *ScrapeConfig) { c.URL = "localhost:9400" }, "url"},
		{"file", func(c *ScrapeConfig) { c.URL = "file:///etc/passwd" }, "url"},
		{"preset", func(c *ScrapeConfig) { c.Mapping = nil }, "no mapping"},
		{"node", func(c *ScrapeConfig) { c.Node = "a b" }, "node"},
		{"no node", func(c *ScrapeConfig) { c.Mapping, c.Node = preset("node"), "" }, "node"},
		{"timeout", func(c *ScrapeConfig) { c.Timeout = -1 }, "timeout"},
		{"max bytes", func(c *ScrapeConfig) { c.MaxBytes = MaxPageBytes + 1 }, "max bytes"},
	} {
		cfg := ok
		tt.change(&cfg)
		if _, err := NewScraper(cfg, http.DefaultClient); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one about %s", tt.name, err, tt.want)
		}
	}
}

// TestScrapeDetails: what only some exporters tell is told of GPUs that have it,
// and is missing once it has vanished; the headroom follows from it.
func TestScrapeDetails(t *testing.T) {
	target := newTarget(t)
	s := target.scraper(t, ScrapeConfig{Mapping: preset("dcgm")})
	values := func(at int) map[string]float64 {
		got := map[string]float64{}
		for _, v := range scrapeOnce(t, s, epoch.Add(time.Duration(at)*time.Second))[0] {
			got[v.Metric] = v.Value
		}
		return got
	}
	const temp = "DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",Hostname=\"n1\"} 60\n"
	target.page(temp)
	if _, told := values(0)["gpu_row_remap_failure"]; told {
		t.Error("a metric is told that the page never had")
	}
	target.page(temp + `DCGM_FI_DEV_SLOWDOWN_TEMP{gpu="0",Hostname="n1"} 87
DCGM_FI_DEV_ROW_REMAP_FAILURE{gpu="0",Hostname="n1"} 1
DCGM_FI_DEV_RETIRED_DBE{gpu="0",Hostname="n1"} 2
DCGM_FI_DEV_MEM_CLOCK{gpu="0",Hostname="n1"} 1593
DCGM_FI_DEV_CLOCK_THROTTLE_REASONS{gpu="0",Hostname="n1"} 132
`)
	got := values(5)
	for metric, want := range map[string]float64{
		"gpu_row_remap_failure": 1, "gpu_retired_pages_dbe_total": 2, "gpu_memory_clock_hertz": 1.593e9, "gpu_temperature_slowdown_celsius": 87,
		MetricTemperatureHeadroom: 27, "gpu_throttle_power_cap": 1, "gpu_throttle_power_brake": 1, "gpu_throttle_hw_thermal": 0,
	} {
		if v, told := got[metric]; !told || v != want {
			t.Errorf("%s is %v; want %v", metric, v, want)
		}
	}
	target.page(temp)
	if v, told := values(10)["gpu_row_remap_failure"]; !told || !math.IsNaN(v) {
		t.Errorf("a metric that has vanished is %v", v)
	}
}
