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

// Server answers the API on a loopback address, and on another one to callers that
// show who they are. Listen and Run are called once each.
type Server struct {
	cfg     Config
	backend Backend
	metrics *metrics
	hub     *hub
	handler http.Handler // of the loopback address
	afar    http.Handler // of the other

	mu       sync.Mutex
	listener net.Listener
	remote   net.Listener // nil: none
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
	routes := s.routes()
	s.handler, s.afar = s.guardLocal(routes), s.admitted(s.guard(routes))
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
	if r := s.cfg.Remote; r != nil {
		if s.remote, err = r.listen(); err != nil {
			l.Close()
			return err
		}
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
	servers := map[net.Listener]*http.Server{s.listener: s.server(s.handler, slog.LevelWarn)}
	if s.remote != nil { // whoever scans ports fails in a handshake there
		servers[s.remote] = s.server(s.afar, slog.LevelDebug)
	}
	ctx, stop := context.WithCancel(ctx)
	var hub sync.WaitGroup
	hub.Go(func() { s.hub.run(ctx) })
	served := make(chan error, len(servers))
	for l, srv := range servers {
		go func() {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				served <- fmt.Errorf("serve the API on %s: %w", l.Addr(), err)
				return
			}
			served <- nil
		}()
	}

	var err error
	ended := 0
	select {
	case <-ctx.Done():
	case err = <-served: // the listener broke
		ended++
	}
	stop()
	hub.Wait() // ends the event streams, which Shutdown would wait for

	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	var closing sync.WaitGroup
	for _, srv := range servers {
		closing.Go(func() {
			if srv.Shutdown(limit) != nil {
				srv.Close() //nolint:errcheck // only closes what is open
			}
		})
	}
	closing.Wait()
	for ; ended < len(servers); ended++ {
		err = errors.Join(err, <-served)
	}
	return err
}

func (s *Server) server(h http.Handler, errorLevel slog.Level) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.cfg.Logger.Handler(), errorLevel),
	}
}
