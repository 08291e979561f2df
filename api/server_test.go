package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newServer(t testing.TB, f *fake, change func(*Config, *Backend)) *Server {
	t.Helper()
	cfg := Config{
		Address: "127.0.0.1:0", Version: "0.1.0", Registry: prometheus.NewRegistry(),
		Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return t0 },
	}
	b := f.backend()
	if change != nil {
		change(&cfg, &b)
	}
	s, err := New(cfg, b)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// start runs the server until the test ends and returns its base URL.
func start(t testing.TB, s *Server) string {
	t.Helper()
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s.URL()
}

func TestEndpoints(t *testing.T) {
	s := newServer(t, newFake(t0), nil)
	tests := []struct {
		name, method, path, body, contentType string
		status                                int
		want                                  []string // parts of the answer
	}{
		{"risk list", "GET", "/v1/risk", "", "", 200, []string{`"component":"gpu/n1/3"`, `"probability":0.873`, `"grade":"failing"`}},
		{"risk of a node", "GET", "/v1/risk?node=n3&kind=gpu", "", "", 200, []string{`[{"component":"gpu/n3/0"`}},
		{"risk of a node that nothing was judged of", "GET", "/v1/risk?node=n2&kind=agent", "", "", 200, []string{`[]`}},
		{"risk of a node nobody knows", "GET", "/v1/risk?node=n9", "", "", 404, []string{`no node \"n9\" is known`, "GET /v1/members lists"}},
		{"risk with a mistyped filter", "GET", "/v1/risk?nodes=n3", "", "", 422, []string{"unknown query parameter", "query.nodes"}},
		{"risk of a wrong kind", "GET", "/v1/risk?kind=disk", "", "", 422, []string{"node, gpu, agent, service"}},
		{"risk over its horizon", "GET", "/v1/risk?kind=gpu&horizon=10m", "", "", 200, []string{`"component":"gpu/n1/3"`}},
		{"risk over another horizon", "GET", "/v1/risk?horizon=5m", "", "", 422, []string{"horizon 5m0s: the risk of ", " is over 10m0s"}},
		{"risk over what is no time", "GET", "/v1/risk?horizon=soon", "", "", 422, []string{"horizon \\\"soon\\\" is no length of time"}},
		{"one risk over another horizon", "GET", "/v1/risk/gpu/n1/3?horizon=1h", "", "", 422, []string{"gpu/n1/3 is over 10m0s"}},
		{"one risk", "GET", "/v1/risk/gpu/n1/3", "", "", 200, []string{`"horizon_seconds":600`, `"value":null`, "temperature rises"}},
		{"escaped slashes", "GET", "/v1/risk/gpu%2Fn1%2F3", "", "", 200, []string{`"gpu/n1/3"`}},
		{"unknown risk is null", "GET", "/v1/risk/gpu/n3/7", "", "", 200, []string{`"probability":null`, `"grade":"unknown"`, "no telemetry for 45 s"}},
		{"component nobody knows", "GET", "/v1/risk/gpu/n9/0", "", "", 404, []string{"no component gpu/n9/0", "GET /v1/risk lists"}},
		{"malformed component", "GET", "/v1/risk/gpu/n1/x", "", "", 422, []string{"gpu/NODE/INDEX"}},
		{"no component", "GET", "/v1/risk/", "", "", 422, []string{"path.component"}},
		{"status", "GET", "/v1/status", "", "", 200, []string{`"leader":"n2"`, `"quorum":true`, `"time":"2026-11-23T12:00:00Z"`, `"drain":"observe"`}},
		{"members", "GET", "/v1/members", "", "", 200, []string{`"name":"n1"`, `"state":"alive"`}},
		{"workloads", "GET", "/v1/workloads", "", "", 200, []string{`"name":"train-1"`, `"state":"moving"`}},
		{"migrations", "GET", "/v1/migrations", "", "", 200, []string{`"phase":"granted"`, `"saves_gpu_s":2412`}},
		{"models", "GET", "/v1/models", "", "", 200, []string{`"version":"demo-1"`, `"at":null,"budget":2`, `"brier":0.004`, `"recall":null`}},
		{"fleet", "GET", "/v1/fleet", "", "", 200, []string{`"health":0.9973`, `"trend":"worse"`, `"any":null`}},
		{"observed", "GET", "/v1/observed", "", "", 200, []string{`[{"id":"new"`, `"mode":"observe"`, `{"id":"old"`}},
		{"interventions", "GET", "/v1/interventions", "", "", 200, []string{`[{"decision":"new"`, `"held_out":true}`, `"held_out":false}`}},
		{"model events", "GET", "/v1/models/events", "", "", 200, []string{`"step":"proposed"`, `"by":"n1"`}},
		{"propose a model", "POST", "/v1/models", `{"card":"{}","trees":"tree"}`, "application/json", 201, []string{`"version":"m3"`}},
		{"propose nothing", "POST", "/v1/models", `{"card":"{}","trees":""}`, "application/json", 422, []string{"trees are empty"}},
		{"promote", "POST", "/v1/models/gpu/promote", `{}`, "application/json", 204, nil},
		{"roll back nothing", "POST", "/v1/models/node/rollback", `{"reason":"drift"}`, "application/json", 422, []string{"no candidate"}},
		{"models of a wrong kind", "POST", "/v1/models/disk/promote", `{}`, "application/json", 422, []string{"kind"}},
		{"incidents", "GET", "/v1/incidents", "", "", 200, []string{"fallen off the bus"}},
		{"checkpoints", "GET", "/v1/checkpoints", "", "", 200, []string{`"size_bytes":50331648`}},
		{"checkpoints of one", "GET", "/v1/checkpoints?workload=train-1", "", "", 200, []string{`"workload":"train-1"`}},
		{"no checkpoint", "GET", "/v1/checkpoints?workload=train-2", "", "", 200, []string{"[]"}},
		{"checkpoints of nobody", "GET", "/v1/checkpoints?workload=nobody", "", "", 404, []string{"GET /v1/workloads lists"}},
		{"checkpoints of a bad name", "GET", "/v1/checkpoints?workload=../x", "", "", 422, []string{"malformed name"}},
		{"one checkpoint", "GET", "/v1/checkpoints/" + fmt.Sprintf("%064x", 0xabc123), "", "", 200, []string{`"workload":"index"`, `"states":[{"name":"weights","files":2,"size_bytes":50331648}]`}},
		{"a checkpoint that nobody has", "GET", "/v1/checkpoints/" + fmt.Sprintf("%064x", 1), "", "", 404, []string{"not found"}},
		{"orders about checkpoints", "GET", "/v1/checkpoints/orders", "", "", 200, []string{`"step":"dropped"`, `"by":"n1, asked for"`}},
		{"a malformed checkpoint", "GET", "/v1/checkpoints/5fa0", "", "", 422, []string{"path.id"}},
		{"heartbeat", "POST", "/v1/heartbeats/agent/train-1", `{"error_rate":0.25,"metrics":{"queue_depth_requests":3}}`, "application/json", 204, nil},
		{"empty heartbeat", "POST", "/v1/heartbeats/service/index", `{}`, "application/json; charset=utf-8", 204, nil},
		{"heartbeat of a stranger", "POST", "/v1/heartbeats/agent/stranger", `{}`, "application/json", 404, []string{"declare it as [[workload]]"}},
		{"heartbeat of a GPU", "POST", "/v1/heartbeats/gpu/n1/0", `{}`, "application/json", 422, []string{"agents and services do"}},
		{"heartbeat out of range", "POST", "/v1/heartbeats/agent/a", `{"error_rate":2}`, "application/json", 422, []string{"body.error_rate"}},
		{"heartbeat with a typo", "POST", "/v1/heartbeats/agent/a", `{"error_rat":0}`, "application/json", 422, []string{"body.error_rat"}},
		{"heartbeat with a bad metric", "POST", "/v1/heartbeats/agent/a", `{"metrics":{"Queue depth":3}}`, "application/json", 422, []string{"Queue depth", "snake case"}},
		{"heartbeat that is no JSON", "POST", "/v1/heartbeats/agent/a", `{`, "application/json", 400, []string{`"status":400`}},
		{"heartbeat from a form", "POST", "/v1/heartbeats/agent/a", `{}`, "text/plain", 415, []string{"application/json"}},
		{"heartbeat too large", "POST", "/v1/heartbeats/agent/a", strings.Repeat(" ", maxBodyBytes+1), "application/json", 413, nil},
		{"inject", "POST", "/v1/sim/inject", `{"index":3,"mode":"thermal_runaway","over_seconds":1.5}`, "application/json", 204, nil},
		{"inject what does not exist", "POST", "/v1/sim/inject", `{"index":3,"mode":"gremlins"}`, "application/json", 422, []string{"not one of thermal_runaway"}},
		{"inject nothing", "POST", "/v1/sim/inject", `{"index":-1}`, "application/json", 422, []string{"body.index", "mode"}},
		{"retire", "POST", "/v1/workloads/train-1/retire", "{}", "application/json", 204, nil},
		{"retire without a body", "POST", "/v1/workloads/train-1/retire", "", "application/json", 204, nil},
		{"retire nobody", "POST", "/v1/workloads/nobody/retire", "{}", "application/json", 404, []string{"GET /v1/workloads lists"}},
		{"retire a bad name", "POST", "/v1/workloads/..%2Fx/retire", "{}", "application/json", 422, []string{"malformed name"}},
		{"retire without a leader", "POST", "/v1/workloads/index/retire", "{}", "application/json", 503, []string{"not available now"}},
		{"retire from a form", "POST", "/v1/workloads/train-1/retire", "", "text/plain", 415, []string{"application/json"}},
		{"retire by reading", "GET", "/v1/workloads/train-1/retire", "", "", 404, []string{"nothing is at"}},
		{"health", "GET", "/healthz", "", "", 200, []string{"ok"}},
		{"ready", "GET", "/readyz", "", "", 200, []string{"ready"}},
		{"wrong method", "POST", "/v1/risk", "{}", "application/json", 405, []string{"POST cannot be done at /v1/risk, which takes GET"}},
		{"nothing there", "GET", "/v2/risk", "", "", 404, []string{"/openapi.json lists"}},
		{"page", "GET", "/", "", "", 200, []string{"<!doctype html>", "Forestall"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := httptest.NewRequest(tt.method, "http://127.0.0.1"+tt.path, strings.NewReader(tt.body))
			req.Header.Set("Content-Type", tt.contentType)
			w := httptest.NewRecorder()
			s.handler.ServeHTTP(w, req)
			if w.Code != tt.status {
				t.Errorf("status %d, want %d: %s", w.Code, tt.status, w.Body)
			}
			for _, part := range tt.want {
				if !strings.Contains(w.Body.String(), part) {
					t.Errorf("answer lacks %s:\n%s", part, w.Body)
				}
			}
			if w.Code >= 400 {
				if ct := w.Header().Get("Content-Type"); ct != "application/problem+json" {
					t.Errorf("content type of the error is %q", ct)
				}
			}
		})
	}
}

func TestRequestsArrive(t *testing.T) {
	f := newFake(t0)
	s := newServer(t, f, nil)
	c := NewClient(start(t, s))
	defer c.http.CloseIdleConnections()
	ctx := t.Context()
	rate := 0.25
	if err := c.Beat(ctx, f.workloads[2].Risk.Component, Heartbeat{ErrorRate: &rate}); err != nil {
		t.Fatal(err)
	}
	if err := c.Inject(ctx, 3, "thermal_runaway", 1500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if err := c.Retire(ctx, "train-1"); err != nil {
		t.Fatal(err)
	}
	got := slices.Concat(f.beats, f.injected, f.retired)
	want := []string{"agent/train-1 0.25 NaN map[]", "3 thermal_runaway 1.5s", "train-1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the backend got (-want +got):\n%s", diff)
	}
}

func TestGuard(t *testing.T) {
	s := newServer(t, newFake(t0), nil)
	tests := []struct {
		name, host string
		header     map[string]string
		method     string
		status     int
	}{
		{"loopback", "127.0.0.1:7070", nil, "GET", 200},
		{"another loopback address", "127.8.0.1", nil, "GET", 200},
		{"IPv6", "[::1]:7070", nil, "GET", 200},
		{"IPv6 without port", "[::1]", nil, "GET", 200},
		{"localhost through a tunnel", "localhost:9999", nil, "GET", 200},
		{"rebound name", "attacker.example:7070", nil, "GET", 421},
		{"name that begins well", "localhost.attacker.example", nil, "GET", 421},
		{"address of the LAN", "192.168.0.7:7070", nil, "GET", 421},
		{"no host", "", nil, "GET", 421},
		{"own page", "127.0.0.1:7070", map[string]string{"Sec-Fetch-Site": "same-origin"}, "POST", 204},
		{"foreign page", "127.0.0.1:7070", map[string]string{"Sec-Fetch-Site": "cross-site"}, "POST", 403},
		{"foreign origin of an old browser", "127.0.0.1:7070", map[string]string{"Origin": "https://attacker.example"}, "POST", 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := "/v1/status"
			if tt.method == "POST" {
				path = "/v1/heartbeats/agent/a"
			}
			req := httptest.NewRequest(tt.method, "http://127.0.0.1"+path, strings.NewReader("{}"))
			req.Host = tt.host
			req.Header.Set("Content-Type", "application/json")
			for k, v := range tt.header {
				req.Header.Set(k, v)
			}
			w := httptest.NewRecorder()
			s.handler.ServeHTTP(w, req)
			if w.Code != tt.status {
				t.Errorf("status %d, want %d: %s", w.Code, tt.status, w.Body)
			}
		})
	}
}

func TestConfigValidate(t *testing.T) {
	tests := []struct{ address, want string }{
		{"127.0.0.1:7070", ""},
		{"localhost:0", ""},
		{"[::1]:7070", ""},
		{"0.0.0.0:7070", "asks nobody who they are"},
		{":7070", "asks nobody who they are"},
		{"10.1.2.3:7070", "ssh -L"},
		{"127.0.0.1", "not host:port"},
		{"127.0.0.1:http", "not a number from 0 to 65535"},
		{"127.0.0.1:70000", "not a number from 0 to 65535"},
	}
	for _, tt := range tests {
		cfg := DefaultConfig()
		cfg.Address = tt.address
		err := cfg.Validate()
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.address, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "[api] address")):
			t.Errorf("%s: error %v lacks %q or [api] address", tt.address, err, tt.want)
		}
	}
}

func TestListenOccupied(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := newServer(t, newFake(t0), func(c *Config, _ *Backend) { c.Address = l.Addr().String() })
	err = s.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) || !strings.Contains(err.Error(), "127.0.0.1:0") {
		t.Errorf("Run on an occupied port: %v, want the address and a remedy", err)
	}
}

func TestReadiness(t *testing.T) {
	var ready atomic.Bool
	s := newServer(t, newFake(t0), func(c *Config, _ *Backend) {
		c.Ready = func() (bool, string) { return ready.Load(), "no leader yet" }
	})
	c := NewClient(start(t, s))
	defer c.http.CloseIdleConnections()
	if err := c.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "no leader yet") {
		t.Errorf("Ready = %v, want the reason", err)
	}
	ready.Store(true)
	if err := c.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNoInjectorNoEndpoint(t *testing.T) {
	s := newServer(t, newFake(t0), func(_ *Config, b *Backend) { b.Injector = nil })
	req := httptest.NewRequest("POST", "http://127.0.0.1/v1/sim/inject", strings.NewReader(`{"index":1,"mode":"x"}`))
	req.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, req)
	if w.Code != http.StatusNotFound && w.Code != http.StatusMethodNotAllowed {
		t.Errorf("status %d, want the endpoint not to exist", w.Code)
	}
}

func TestOpenAPI(t *testing.T) {
	s := newServer(t, newFake(t0), nil)
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1/openapi.json", nil))
	var doc struct {
		OpenAPI    string                    `json:"openapi"`
		Paths      map[string]map[string]any `json:"paths"`
		Security   []map[string][]string     `json:"security"`
		Components struct {
			Schemes map[string]struct {
				Type string `json:"type"`
			} `json:"securitySchemes"`
			Schemas map[string]struct {
				Properties map[string]map[string]any `json:"properties"`
			} `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("openapi %q, want 3.1", doc.OpenAPI)
	}
	for _, p := range []string{
		"/v1/risk", "/v1/risk/{component}", "/v1/status", "/v1/checkpoints", "/v1/checkpoints/{id}", "/v1/migrations", "/v1/incidents",
		"/v1/members", "/v1/workloads", "/v1/workloads/{name}/retire", "/v1/heartbeats/{component}", "/v1/events", "/v1/sim/inject",
	} {
		if doc.Paths[p] == nil {
			t.Errorf("%s is not described", p)
		}
	}
	for name, kind := range map[string]string{"bearer": "http", "basic": "http", "mtls": "mutualTLS"} {
		if doc.Components.Schemes[name].Type != kind || !slices.ContainsFunc(doc.Security, func(s map[string][]string) bool { return s[name] != nil }) {
			t.Errorf("authentication by %s is not described", name)
		}
	}
	if diff := cmp.Diff([]any{"number", "null"}, doc.Components.Schemas["Risk"].Properties["probability"]["type"]); diff != "" {
		t.Errorf("type of Risk.probability (-want +got):\n%s", diff)
	}
}

func TestMetrics(t *testing.T) {
	s := newServer(t, newFake(t0), nil)
	get := func(path string, accept string) string {
		req := httptest.NewRequest("GET", "http://127.0.0.1"+path, nil)
		req.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, req)
		return w.Body.String()
	}
	get("/v1/risk/gpu/n1/3", "")
	get("/v1/risk/gpu/n9/3", "")
	page := get("/metrics", "application/openmetrics-text; version=1.0.0")
	for _, want := range []string{
		`fault_tolerance_api_requests_total{code="200",route="/v1/risk/{component}"} 1`,
		`fault_tolerance_api_requests_total{code="404",route="/v1/risk/{component}"} 1`,
		"# EOF",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(DefaultConfig(), Backend{}); err == nil || !strings.Contains(err.Error(), "Backend needs") {
		t.Errorf("New with an empty backend: %v", err)
	}
	cfg := DefaultConfig()
	cfg.Registry = nil
	if _, err := New(cfg, newFake(t0).backend()); err == nil || !strings.Contains(err.Error(), "Registry") {
		t.Errorf("New without a registry: %v", err)
	}
}
