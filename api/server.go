package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// Limits of one connection. A risk query of a large cluster is written in far
// less than writeTimeout; event streams extend it with each event.
const (
	headerTimeout   = 5 * time.Second
	readTimeout     = 10 * time.Second
	writeTimeout    = 30 * time.Second
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 5 * time.Second
	maxHeaderBytes  = 16 << 10
	maxBodyBytes    = 64 << 10
)

// Server answers the API on one address. Listen and Run are called once each.
type Server struct {
	cfg     Config
	backend Backend
	metrics *metrics
	hub     *hub
	handler http.Handler

	mu       sync.Mutex
	listener net.Listener
}

// New returns a Server that answers from backend. It registers its metrics
// with cfg.Registry and does not listen yet.
func New(cfg Config, backend Backend) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if backend.Risks == nil || backend.Cluster == nil || backend.Workloads == nil || backend.Checkpoints == nil || backend.Heartbeats == nil {
		return nil, errors.New("api: Backend needs Risks, Cluster, Workloads, Checkpoints and Heartbeats; only Keeper and Injector may be nil")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Ready == nil {
		cfg.Ready = func() (bool, string) { return true, "" }
	}
	m, err := newMetrics(cfg.Registry)
	if err != nil {
		return nil, fmt.Errorf("register the API's metrics: %w", err)
	}
	s := &Server{cfg: cfg, backend: backend, metrics: m}
	s.hub = newHub(s.snapshot, cfg.Now, cfg.Logger)
	s.handler = s.guard(s.routes())
	return s, nil
}

// Listen takes the address, so that URL is known before Run. An address in use
// is an error that says which and what to do.
func (s *Server) Listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		return nil
	}
	l, err := net.Listen("tcp", s.cfg.Address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen on %s: another program has this address, perhaps another engine; "+
			"end it, or set [api] address to another port, or to \"127.0.0.1:0\" for any free one: %w", s.cfg.Address, err)
	}
	if err != nil {
		return fmt.Errorf("[api] address = %q: %w", s.cfg.Address, err)
	}
	s.listener = l
	return nil
}

// URL returns the base URL, "http://127.0.0.1:7070", or "" before Listen.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return ""
	}
	return "http://" + s.listener.Addr().String()
}

// Run serves until ctx is done, then releases the event streams, lets other
// requests finish for a few seconds and returns nil. It listens first if
// Listen was not called.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Listen(); err != nil {
		return err
	}
	srv := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelWarn),
	}
	ctx, stop := context.WithCancel(ctx)
	var hub sync.WaitGroup
	hub.Go(func() { s.hub.run(ctx) })
	served := make(chan error, 1)
	go func() { served <- srv.Serve(s.listener) }()

	var err error
	select {
	case <-ctx.Done():
	case err = <-served: // the listener broke
		served <- err
	}
	stop()
	hub.Wait() // ends the event streams, which Shutdown would wait for

	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if srv.Shutdown(limit) != nil {
		srv.Close() //nolint:errcheck // only closes what is open
	}
	if err = <-served; errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve the API on %s: %w", s.URL(), err)
}
