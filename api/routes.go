package api

import (
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/stratoswarm/forestall"
)

// mux is a ServeMux that measures every route and lets {component} hold the
// slashes that components have.
type mux struct {
	*http.ServeMux
	metrics *metrics
}

var _ humago.Mux = (*mux)(nil)

// HandleFunc registers a pattern as huma writes it: "GET /v1/risk/{component}".
func (m *mux) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	m.Handle(pattern, http.HandlerFunc(handler))
}

// Handle registers a measured route.
func (m *mux) Handle(pattern string, handler http.Handler) {
	_, route, _ := strings.Cut(pattern, " ")
	pattern = strings.Replace(pattern, "{component}", "{component...}", 1)
	m.ServeMux.Handle(pattern, m.metrics.instrument(route, handler))
}

// ServeHTTP serves the route of the request; where a path has routes of other
// methods only, it answers with a problem as everywhere.
func (m *mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, pattern := m.Handler(r); pattern != "" {
		m.ServeMux.ServeHTTP(w, r)
		return
	}
	m.ServeMux.ServeHTTP(unsent{w}, r) // sets Allow
	problem(w, http.StatusMethodNotAllowed, r.Method+" cannot be done at "+r.URL.Path+", which takes "+w.Header().Get("Allow"))
}

// unsent is an answer of which only the header is taken.
type unsent struct{ http.ResponseWriter }

func (unsent) WriteHeader(int)                {}
func (unsent) Write(text []byte) (int, error) { return len(text), nil }

func (s *Server) routes() http.Handler {
	m := &mux{ServeMux: http.NewServeMux(), metrics: s.metrics}
	api := humago.New(m, s.openAPI())
	s.registerRisk(api)
	s.registerFleet(api)
	s.registerCluster(api)
	s.registerCheckpointDetail(api)
	s.registerWorkloads(api)
	s.registerHeartbeats(api)
	s.registerModels(api)
	s.registerRecordings(api, m)
	if s.backend.Keeper != nil {
		s.registerKeeper(api)
	}
	if s.backend.Injector != nil {
		s.registerInject(api)
	}
	describeEvents(api.OpenAPI())

	m.HandleFunc("GET /v1/events", s.serveEvents)
	m.Handle("GET /metrics", promhttp.HandlerFor(s.cfg.Registry, promhttp.HandlerOpts{
		Registry:          s.cfg.Registry,
		EnableOpenMetrics: true,
	}))
	m.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") })
	m.HandleFunc("GET /readyz", s.serveReady)
	m.Handle("GET /{$}", page())
	m.Handle("GET /web/", page())
	m.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		problem(w, http.StatusNotFound, "nothing is at "+r.URL.Path+"; /openapi.json lists what is")
	})
	return m
}

func (s *Server) serveReady(w http.ResponseWriter, _ *http.Request) {
	if ok, reason := s.cfg.Ready(); !ok {
		plain(w, http.StatusServiceUnavailable, "not ready: "+reason)
		return
	}
	plain(w, http.StatusOK, "ready")
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	w.Write([]byte(text + "\n")) //nolint:errcheck // the client has gone
}

// openAPI returns huma's configuration: JSON only, no page that loads scripts
// from elsewhere, no $schema in answers.
func (s *Server) openAPI() huma.Config {
	const prefix = "#/components/schemas/"
	registry := huma.NewMapRegistry(prefix, schemaName)
	registry.RegisterTypeAlias(reflect.TypeFor[forestall.Risk](), reflect.TypeFor[riskSchema]())
	registry.RegisterTypeAlias(reflect.TypeFor[forestall.Bounds](), reflect.TypeFor[boundsSchema]())
	registry.RegisterTypeAlias(reflect.TypeFor[forestall.Anomaly](), reflect.TypeFor[anomalySchema]())
	registry.RegisterTypeAlias(reflect.TypeFor[forestall.Reason](), reflect.TypeFor[reasonSchema]())
	cfg := huma.DefaultConfig("Forestall", s.cfg.Version)
	cfg.CreateHooks = nil
	cfg.DocsPath = ""
	cfg.SchemasPath = ""
	cfg.Components = &huma.Components{Schemas: registry, SecuritySchemes: map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", Description: "the operators' token, or the readers', which may only GET"},
		"basic":  {Type: "http", Scheme: "basic", Description: "any user name, the token as the password"},
		"mtls":   {Type: "mutualTLS", Description: "a client certificate, where the engine takes them: as the operators' token"},
	}}
	cfg.Security = []map[string][]string{{}, {"bearer": {}}, {"basic": {}}, {"mtls": {}}} // {}: on the loopback address, where api.loopback lets it
	cfg.Info.Description = "Failure risk of nodes, GPUs, agents and services, and what is done about it. " +
		"Times are RFC 3339 in UTC, fields ending in _seconds seconds, in _ns nanoseconds, in _bytes bytes, in _gpu_s GPU-seconds."
	cfg.RejectUnknownQueryParameters = true // a mistyped filter would let everything through
	cfg.Info.License = &huma.License{Name: "MIT", Identifier: "MIT"}
	return cfg
}

func schemaName(t reflect.Type, hint string) string {
	return strings.TrimSuffix(huma.DefaultSchemaNamer(t, hint), "Schema")
}

// operation describes one route; errs are the statuses it may fail with.
func operation(method, path, id, summary string, errs ...int) huma.Operation {
	return huma.Operation{
		Method: method, Path: path, OperationID: id, Summary: summary,
		Errors: errs, MaxBodyBytes: maxBodyBytes, BodyReadTimeout: readTimeout,
	}
}
