package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/internal/certs"
)

// RemoteWriteConfig lets Prometheus servers send telemetry here.
type RemoteWriteConfig struct {
	Address    string          `toml:"address"` // "" = off
	Presets    []string        `toml:"presets"`
	Settle     Duration        `toml:"settle"`      // how long the rest of a scrape is waited for
	MaxRequest Bytes           `toml:"max_request"` // as it comes, compressed
	TLS        ServerTLSConfig `toml:"tls,omitempty"`
	Auth       AuthConfig      `toml:"auth,omitempty"`
}

// ServerTLSConfig names the files that a server shows and trusts.
type ServerTLSConfig struct {
	Cert     string `toml:"cert,omitempty"`
	Key      string `toml:"key,omitempty"`
	ClientCA string `toml:"client_ca,omitempty"` // clients need a certificate that it signs
}

func (c ServerTLSConfig) files() certs.Files {
	return certs.Files{CA: c.ClientCA, Cert: c.Cert, Key: c.Key}
}

// check looks at the section tls of another one.
func (c ServerTLSConfig) check(key string, bad func(key, format string, args ...any)) {
	if (c.Cert == "") != (c.Key == "") || c.ClientCA != "" && c.Cert == "" {
		bad(key+".tls", "cert and key are given together, and client_ca with them")
	}
	for field, name := range map[string]string{".tls.cert": c.Cert, ".tls.key": c.Key, ".tls.client_ca": c.ClientCA} {
		if name != "" && !filepath.IsAbs(name) {
			bad(key+field, "%q is not an absolute path", name)
		}
	}
}

func defaultRemoteWrite() RemoteWriteConfig {
	return RemoteWriteConfig{Presets: features.Presets(), Settle: Duration{10 * time.Second}, MaxRequest: Bytes{16 << 20}}
}

func (c RemoteWriteConfig) secrets() features.HTTPConfig {
	return features.HTTPConfig{BearerFile: c.Auth.BearerFile, Username: c.Auth.Username, PasswordFile: c.Auth.PasswordFile}
}

func (c RemoteWriteConfig) check(mappings *features.Mappings, bad func(key, format string, args ...any)) {
	key := "features.remote_write"
	for _, name := range c.Presets {
		if _, err := mappings.Get(name); err != nil {
			bad(key+".presets", "%v", err)
		}
	}
	if len(c.Presets) == 0 {
		bad(key+".presets", "names no preset: nothing that comes would be known")
	}
	if c.Settle.Duration < time.Second {
		bad(key+".settle", "%s is shorter than a second: a sender spreads a scrape over several requests", c.Settle)
	}
	if c.MaxRequest.N == 0 || c.MaxRequest.N > 32<<20 {
		bad(key+".max_request", "%s is not between 1B and 32MiB", c.MaxRequest)
	}
	c.TLS.check(key, bad)
	if err := c.secrets().Validate(); err != nil {
		bad(key+".auth", "%v", err)
	}
	for field, name := range map[string]string{".auth.bearer_file": c.Auth.BearerFile, ".auth.password_file": c.Auth.PasswordFile} {
		if name != "" && !filepath.IsAbs(name) {
			bad(key+field, "%q is not an absolute path", name)
		}
	}
	if c.Address == "" {
		return
	}
	host, port, err := net.SplitHostPort(c.Address)
	_, portErr := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil || portErr != nil:
		bad(key+".address", "%q is not HOST:PORT with a port up to 65535", c.Address)
	case !isLoopback(host) && (c.TLS.Cert == "" || c.TLS.ClientCA == "" && c.Auth == AuthConfig{}):
		bad(key+".address", "%q is not a loopback address: set tls.cert and tls.key, and tls.client_ca or auth, so that nobody else can send telemetry", c.Address)
	}
}

// remoteWrite receives telemetry and pushes it into the windows.
type remoteWrite struct {
	writer      *features.RemoteWriter
	server      *http.Server
	listener    net.Listener
	certificate *certs.Source // nil: no TLS
	forget      time.Duration
	dropped     dropped
	log         *slog.Logger
}

// remoteWritePath is where Prometheus itself receives.
const remoteWritePath = "/api/v1/write"

// openRemoteWrite listens; nil if the configuration has it off.
func openRemoteWrite(c FeaturesConfig, mappings *features.Mappings, newest features.Newest, xids *features.LastXIDs, now func() time.Time, log *slog.Logger) (*remoteWrite, error) {
	rw := c.RemoteWrite
	if rw.Address == "" {
		return nil, nil
	}
	cfg := features.RemoteWriteConfig{Settle: rw.Settle.Duration, Forget: c.ForgetAfter.Duration, MaxBytes: int64(rw.MaxRequest.N), Newest: newest, LastXIDs: xids, Log: log, Now: now}
	for _, name := range rw.Presets {
		m, err := mappings.Get(name)
		if err != nil {
			return nil, err
		}
		cfg.Mappings = append(cfg.Mappings, m)
	}
	r := &remoteWrite{forget: c.ForgetAfter.Duration, log: log}
	var err error
	if r.writer, err = features.NewRemoteWriter(cfg); err != nil {
		return nil, err
	}
	secrets := rw.secrets()
	if _, err := secrets.Admits(&http.Request{}); err != nil { // the file is there
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(remoteWritePath, admitted(secrets, log, r.writer.Handler()))
	r.server = &http.Server{Handler: mux, ReadTimeout: time.Minute, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 5 * time.Minute, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	if r.listener, err = net.Listen("tcp", rw.Address); err != nil {
		return nil, err
	}
	if rw.TLS.Cert != "" {
		if r.certificate, err = certs.Open(rw.TLS.files(), nil, log); err != nil {
			r.listener.Close()
			return nil, err
		}
		if rw.TLS.ClientCA != "" { // also of a connection that is open
			taken := r.server.Handler
			r.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if !r.certificate.Accepts(req.TLS, now()) {
					http.Error(w, "the client certificate is not accepted any more", http.StatusUnauthorized)
					return
				}
				taken.ServeHTTP(w, req)
			})
		}
		r.listener = tls.NewListener(r.listener, r.certificate.Server(rw.TLS.ClientCA != ""))
	}
	return r, nil
}

// admitted lets requests through that show the secret.
func admitted(secrets features.HTTPConfig, log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch ok, err := secrets.Admits(r); {
		case err != nil:
			log.Error("cannot read the secret of remote writes", "error", err)
			http.Error(w, "the receiver cannot read its secret", http.StatusInternalServerError)
		case !ok:
			http.Error(w, "not authorized", http.StatusUnauthorized)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// Run serves until ctx ends and gives each scrape that was put together to t.
func (r *remoteWrite) Run(ctx context.Context, t *telemetry) {
	r.log.Info("remote writes are received", "address", r.listener.Addr(), "path", remoteWritePath)
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := r.server.Serve(r.listener); !errors.Is(err, http.ErrServerClosed) {
			r.log.Error("remote writes are no longer received", "error", err)
		}
	}()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			_ = r.server.Close() // a sender writes again what is cut off
			<-served
			return
		case <-ticker.C:
			r.flush(t, t.now())
		}
	}
}

func (r *remoteWrite) flush(t *telemetry, now time.Time) {
	scrapes, events := r.writer.Flush(now)
	refused := map[string]*refusals{} // by source
	described := map[string][]forestall.Component{}
	newest := map[string]time.Time{}
	for _, s := range scrapes {
		source := remoteSource(s.Target)
		if refused[source] == nil {
			refused[source] = &refusals{}
		}
		claim := func(c forestall.Component) bool {
			err := t.claim(c, source, func() bool { return t.now().Sub(r.writer.Heard(s.Target)) < r.forget })
			refused[source].add(err)
			return err == nil
		}
		refused[source].add(s.Err)
		described[source] = append(described[source], s.Repeated...)
		if newest[source] = s.Time; len(s.Samples) > 0 {
			described[source] = append(described[source], s.Samples[0].Component)
			if claim(s.Samples[0].Component) {
				c := s.Samples[0].Component
				t.recovering.expect(c, s.Patience)
				t.push(s.Samples, s.Latency)
				t.lanes.expect(c, s.Patience)
			}
		}
		for _, c := range s.Repeated {
			if claim(c) {
				t.lanes.hear(c, s.Time)
			}
		}
	}
	for source, all := range described {
		for _, c := range t.absent(all) {
			if t.claim(c, source, never) == nil {
				t.pushMissing(c, newest[source], notMeasured)
			}
		}
	}
	for source, all := range refused {
		t.sourceState(source, all.err())
	}
	r.dropped.see(r.writer.Stats(), now, r.log)
	t.take("remote write", events)
	for _, gone := range r.writer.Forgotten() {
		t.undescribed(remoteSource(gone.Target), []forestall.Component{gone.Component})
	}
	for _, target := range r.writer.Expire(now.Add(-r.forget)) {
		t.forget(remoteSource(target), remoteSource(target))
	}
}

func remoteSource(target string) string { return "remote write of " + target }
