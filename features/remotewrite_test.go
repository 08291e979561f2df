package features

import (
	"bytes"
	"context"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/prometheus/model/labels"
	promvalue "github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/stratoswarm/forestall"
)

// sender writes remotely in either version of the protocol.
type sender struct {
	t   *testing.T
	srv *httptest.Server
	v2  bool
	w   *RemoteWriter
	mu  sync.Mutex
	now time.Time
}

func newSender(t *testing.T, v2 bool, presets ...string) *sender {
	t.Helper()
	s := &sender{t: t, v2: v2, now: epoch}
	cfg := RemoteWriteConfig{Now: func() time.Time { s.mu.Lock(); defer s.mu.Unlock(); return s.now }}
	for _, name := range presets {
		cfg.Mappings = append(cfg.Mappings, preset(name))
	}
	w, err := NewRemoteWriter(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.w, s.srv = w, httptest.NewServer(w.Handler())
	t.Cleanup(s.srv.Close)
	return s
}

type sent struct {
	series string // "name a=b c=d"
	at     time.Duration
	value  float64
}

func (s *sender) at(d time.Duration) { s.mu.Lock(); s.now = epoch.Add(d); s.mu.Unlock() }

// send writes one request.
func (s *sender) send(all ...sent) {
	s.t.Helper()
	api, err := remote.NewAPI(s.srv.URL, remote.WithAPIPath("/"), remote.WithAPIHTTPClient(s.srv.Client()))
	if err != nil {
		s.t.Fatal(err)
	}
	var v1 prompb.WriteRequest
	var v2 writev2.Request
	symbols := writev2.NewSymbolTable()
	for _, one := range all {
		name, rest, _ := strings.Cut(one.series, " ")
		l := labelsOf("__name__=" + name + " " + rest)
		ms := epoch.Add(one.at).UnixMilli()
		v1.Timeseries = append(v1.Timeseries, prompb.TimeSeries{Labels: prompb.FromLabels(l, nil), Samples: []prompb.Sample{{Value: one.value, Timestamp: ms}}})
		v2.Timeseries = append(v2.Timeseries, writev2.TimeSeries{LabelsRefs: symbols.SymbolizeLabels(l, nil), Samples: []writev2.Sample{{Value: one.value, Timestamp: ms}}})
	}
	v2.Symbols = symbols.Symbols()
	if s.v2 {
		stats, err := api.Write(context.Background(), remote.WriteV2MessageType, &v2)
		if err != nil || stats.Samples != len(all) {
			s.t.Fatalf("%d samples written, error %v; want %d", stats.Samples, err, len(all))
		}
	} else if _, err := api.Write(context.Background(), remote.WriteV1MessageType, &v1); err != nil {
		s.t.Fatal(err)
	}
}

// flush returns the reported values of each scrape as "component metric value",
// without those that set a component beside others.
func (s *sender) flush(at time.Duration) map[string]map[string]float64 {
	s.at(at)
	scrapes, _ := s.w.Flush(epoch.Add(at))
	got := map[string]map[string]float64{}
	for _, one := range scrapes {
		values := map[string]float64{}
		for _, v := range one.Samples {
			if !math.IsNaN(v.Value) && !ofContext(v.Metric) {
				values[v.Metric] = v.Value
			}
		}
		if one.Latency >= 0 {
			values["latency"] = one.Latency.Seconds()
		}
		got[one.Samples[0].Component.String()+" "+one.Samples[0].Time.Sub(epoch).String()] = values
	}
	return got
}

func ofContext(metric string) bool {
	return slices.ContainsFunc(SetMetrics(forestall.KindGPU, Context), func(m Metric) bool { return m.Name == metric })
}

func TestRemoteWrite(t *testing.T) {
	stale := math.Float64frombits(promvalue.StaleNaN)
	const target = " job=dcgm instance=10.0.0.1:9400"
	temp := func(gpu string) string { return "DCGM_FI_DEV_GPU_TEMP Hostname=n1 gpu=" + gpu + target }
	for name, v2 := range map[string]bool{"1.0": false, "2.0": true} {
		t.Run(name, func(t *testing.T) {
			s := newSender(t, v2, "dcgm", "node")
			check := func(what string, at time.Duration, want map[string]map[string]float64) {
				t.Helper()
				if diff := cmp.Diff(want, s.flush(at)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", what, diff)
				}
			}
			// One scrape in two requests, the newer scrape's first.
			s.send(sent{temp("0"), 15 * time.Second, 51}, sent{"go_goroutines" + target, 0, 7}, sent{temp("0"), 0, 50}, sent{"up" + target, 0, 1})
			s.at(3 * time.Second)
			s.send(sent{temp("1"), 0, 60}, sent{"scrape_duration_seconds" + target, 0, 0.5})
			check("too early", 9*time.Second, map[string]map[string]float64{})
			check("the one that is whole", 13*time.Second, map[string]map[string]float64{
				"gpu/n1/0 0s": {"gpu_temperature_celsius": 50, "latency": 0.5}, "gpu/n1/1 0s": {"gpu_temperature_celsius": 60, "latency": 0.5},
			})
			// What the second lacked; then a series vanishes; then the target does not answer.
			s.send(sent{temp("1"), 15 * time.Second, 61})
			s.send(sent{temp("0"), 30 * time.Second, 52}, sent{temp("1"), 30 * time.Second, stale}, sent{"up" + target, 30 * time.Second, 1})
			s.send(sent{temp("0"), 45 * time.Second, stale}, sent{temp("1"), 45 * time.Second, stale}, sent{"up" + target, 45 * time.Second, 0})
			check("stale and down", 60*time.Second, map[string]map[string]float64{
				"gpu/n1/0 15s": {"gpu_temperature_celsius": 51}, "gpu/n1/1 15s": {"gpu_temperature_celsius": 61},
				"gpu/n1/0 30s": {"gpu_temperature_celsius": 52}, "gpu/n1/1 30s": {},
			})
			s.send(sent{temp("1"), 15 * time.Second, 62}) // late for its scrape
			s.send(sent{temp("0"), time.Hour, 1}, sent{"DCGM_FI_DEV_GPU_TEMP gpu=x" + target, 75 * time.Second, 1})
			want := RemoteWriteStats{Samples: 8, OutOfOrder: 1, Future: 1, Invalid: 1}
			if got := s.w.Stats(); got != want {
				t.Errorf("stats %+v, want %+v", got, want)
			}
			if got := s.w.Expire(epoch.Add(time.Minute)); got != nil {
				t.Errorf("expired %q", got)
			}
			if got := s.w.Expire(epoch.Add(2 * time.Minute)); !cmp.Equal(got, []string{"dcgm 10.0.0.1:9400"}) {
				t.Errorf("expired %q", got)
			}
		})
	}
}

// What is up without a series of ours is no target; what comes up before its
// first series is.
func TestRemoteWriteTargets(t *testing.T) {
	for _, v2 := range []bool{false, true} {
		s := newSender(t, v2, "dcgm", "node")
		var all []sent
		for _, instance := range []string{"a", "b", "c"} {
			all = append(all, sent{"up job=web instance=" + instance, 0, 1}, sent{"scrape_duration_seconds job=web instance=" + instance, 0, 0.1})
		}
		s.send(all...)
		if len(s.w.targets) != 0 {
			t.Errorf("%d targets of which nothing is read", len(s.w.targets))
		}
		const target = " job=dcgm instance=g"
		s.send(sent{"scrape_duration_seconds" + target, 0, 0.5}, sent{"up" + target, 0, 1}, sent{"DCGM_FI_DEV_GPU_TEMP Hostname=n1 gpu=0" + target, 0, 50})
		if got := s.flush(time.Minute)["gpu/n1/0 0s"]["latency"]; got != 0.5 || len(s.w.targets) != 1 || len(s.w.early) != 0 {
			t.Errorf("latency %v, %d targets, %d early", got, len(s.w.targets), len(s.w.early))
		}
	}
}

// A sender that has no answer in time sends the same once more.
func TestRemoteWriteSentAgain(t *testing.T) {
	const gpu = " Hostname=n1 gpu=0 job=dcgm instance=10.0.0.1:9400"
	for _, v2 := range []bool{false, true} {
		s := newSender(t, v2, "dcgm")
		request := []sent{{"DCGM_FI_DEV_FB_USED" + gpu, 0, 100}, {"DCGM_FI_DEV_FB_FREE" + gpu, 0, 300}, {"DCGM_FI_DEV_GPU_TEMP" + gpu, 0, 50}}
		s.send(request...)
		once := s.flush(time.Minute)
		s = newSender(t, v2, "dcgm")
		s.send(request...)
		s.send(request...)
		if diff := cmp.Diff(once, s.flush(time.Minute)); diff != "" || len(once) == 0 {
			t.Errorf("sent twice (-once +twice):\n%s", diff)
		}
		if s.w.pending != 0 {
			t.Errorf("%d samples count as pending", s.w.pending)
		}
	}
}

// TestRemoteWriteClockSetBack: a sender whose clock is set back by an hour is
// heard again after a minute, not after an hour.
func TestRemoteWriteClockSetBack(t *testing.T) {
	s := newSender(t, false, "dcgm")
	const series = "DCGM_FI_DEV_GPU_TEMP Hostname=n1 gpu=0 job=dcgm instance=a"
	s.send(sent{series, time.Minute, 50}, sent{series, time.Minute + 15*time.Second, 50})
	if got := s.flush(90 * time.Second); len(got) != 2 {
		t.Fatalf("%d scrapes before; want 2", len(got))
	}
	got := 0
	for i := range 12 { // its clock says 15 s once more
		at := 90*time.Second + time.Duration(i)*15*time.Second
		s.at(at)
		s.send(sent{series, time.Duration(i-100) * 15 * time.Second, 60})
		s.at(at + 14*time.Second)
		scrapes, _ := s.w.Flush(epoch.Add(at + 14*time.Second))
		for _, one := range scrapes {
			if one.Patience < 3*15*time.Second {
				t.Errorf("scrape %d may become %s old, where one is sent every 15 s", got, one.Patience)
			}
			got++
		}
	}
	if stats := s.w.Stats(); got != 8 || stats.OutOfOrder != 4 {
		t.Errorf("%d scrapes after, %d samples too late; want 8 and 4", got, stats.OutOfOrder)
	}
}

func TestRemoteWriteTellsXIDs(t *testing.T) {
	s := newSender(t, false, "dcgm")
	for i, xid := range []float64{0, 79} {
		s.send(sent{"DCGM_FI_DEV_XID_ERRORS Hostname=n1 gpu=0 job=d instance=i:1", time.Duration(i) * 15 * time.Second, xid})
	}
	_, events := s.w.Flush(epoch.Add(time.Minute))
	want := []forestall.Event{{Component: forestall.GPU("n1", 0), Kind: forestall.EventXID, Time: epoch.Add(15 * time.Second), Code: 79, Detail: "last XID that i:1 reports"}}
	if diff := cmp.Diff(want, events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// TestRemoteWriteLags: a shard of the sender's that lags behind the others by more
// than the settling time makes no metric look missing: the scrape waits for it. A
// series that ends has a marker, and is missing at once; one that is just not sent is
// missing after a minute.
func TestRemoteWriteLags(t *testing.T) {
	s := newSender(t, false, "dcgm")
	const temperature, power = "DCGM_FI_DEV_GPU_TEMP job=dcgm instance=n1:9400 gpu=0 Hostname=n1", "DCGM_FI_DEV_POWER_USAGE job=dcgm instance=n1:9400 gpu=0 Hostname=n1"
	second := time.Second
	fast := func(at time.Duration, value float64) { s.at(at); s.send(sent{temperature, at, value}) }
	slow := func(at, lag time.Duration, value float64) { s.at(at + lag); s.send(sent{power, at, value}) }
	fast(0, 50)
	slow(0, 2*second, 300)
	count := func(at time.Duration, scrapes, values int) {
		t.Helper()
		got := s.flush(at)
		if len(got) != scrapes {
			t.Errorf("at %s: %v, want %d scrapes", at, got, scrapes)
		}
		for _, one := range got {
			if delete(one, "latency"); len(one) != values {
				t.Errorf("at %s: %v, want %d values in each", at, got, values)
			}
		}
	}
	count(12*second, 1, 2)
	fast(15*second, 51)
	fast(30*second, 52)
	count(32*second, 0, 0) // the settling time of the first of the two is over
	slow(15*second, 18*second, 310)
	count(34*second, 1, 2)
	slow(30*second, 18*second, 320)
	count(49*second, 1, 2)
	if stats := s.w.Stats(); stats.OutOfOrder != 0 {
		t.Errorf("%+v", stats)
	}
	fast(60*second, 53)
	slow(60*second, 0, math.Float64frombits(promvalue.StaleNaN))
	count(71*second, 1, 1)
	fast(75*second, 53)
	count(86*second, 1, 1)
	fast(90*second, 54)
	slow(90*second, 0, 330)
	count(101*second, 1, 2)
	fast(105*second, 55)
	count(160*second, 0, 0)
	count(166*second, 1, 1)
}

func TestRemoteWriteRefuses(t *testing.T) {
	w, err := NewRemoteWriter(RemoteWriteConfig{Mappings: []*Mapping{preset("dcgm")}, MaxBytes: 1000})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(w.Handler())
	defer srv.Close()
	bomb := snappy.Encode(nil, bytes.Repeat([]byte{0}, 40<<20))
	for _, tt := range []struct {
		name, contentType string
		body              []byte
		status            int
	}{
		{"not snappy", "application/x-protobuf", []byte("hello"), http.StatusBadRequest},
		{"not protobuf", "application/x-protobuf", snappy.Encode(nil, []byte("hello")), http.StatusBadRequest},
		{"2.0 not protobuf", "application/x-protobuf;proto=io.prometheus.write.v2.Request", snappy.Encode(nil, []byte("hello")), http.StatusBadRequest},
		{"JSON", "application/json", snappy.Encode(nil, []byte("{}")), http.StatusUnsupportedMediaType},
		{"large", "application/x-protobuf", bytes.Repeat([]byte{1}, 1001), http.StatusRequestEntityTooLarge},
		{"large inside", "application/x-protobuf", bomb[:min(len(bomb), 1000)], http.StatusBadRequest},
	} {
		resp, err := http.Post(srv.URL, tt.contentType, bytes.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tt.status {
			t.Errorf("%s: status %s %s, want %d", tt.name, resp.Status, text, tt.status)
		}
	}
}

func FuzzRemoteWrite(f *testing.F) {
	l := labels.FromStrings("__name__", "DCGM_FI_DEV_GPU_TEMP", "gpu", "0", "Hostname", "n1")
	v1, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{Labels: prompb.FromLabels(l, nil), Samples: []prompb.Sample{{Value: 1, Timestamp: 1}}}}}).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	symbols := writev2.NewSymbolTable()
	refs := symbols.SymbolizeLabels(l, nil)
	v2, err := (&writev2.Request{Symbols: symbols.Symbols(), Timeseries: []writev2.TimeSeries{{LabelsRefs: refs, Samples: []writev2.Sample{{Value: 1, Timestamp: 1}}}}}).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(v1, false)
	f.Add(v2, true)
	f.Fuzz(func(t *testing.T, body []byte, second bool) {
		w, err := NewRemoteWriter(RemoteWriteConfig{Mappings: []*Mapping{preset("dcgm"), preset("node")}, Now: func() time.Time { return epoch }})
		if err != nil {
			t.Fatal(err)
		}
		kind := remote.WriteV1MessageType
		if second {
			kind = remote.WriteV2MessageType
		}
		req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		_, _ = w.Store(req, kind)
		w.Flush(epoch.Add(time.Hour))
		if w.pending != 0 {
			t.Errorf("%d values are left", w.pending)
		}
	})
}
