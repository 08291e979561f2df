package api

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"syscall"
)

// Right is what a caller from another host may do.
type Right int

// The rights. None is the zero value.
const (
	None    Right = iota
	Read          // ask: every GET
	Operate       // change things too
)

// Remote lets other hosts call the API, over TLS and once they have shown who they
// are. The loopback address goes on as it is beside it.
type Remote struct {
	Address string      // host:port
	TLS     *tls.Config // what this end shows, and which client certificates it takes
}

func (r *Remote) validate(admit func(*http.Request) (Right, error)) error {
	_, port, err := net.SplitHostPort(r.Address)
	if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil {
		return fmt.Errorf("[api.remote] address = %q is not host:port with a port up to 65535", r.Address)
	}
	if r.TLS == nil || admit == nil {
		return errors.New("api: Config.Remote needs TLS and Config.Admit: other hosts could do anything without")
	}
	return nil
}

func (r *Remote) listen() (net.Listener, error) {
	l, err := net.Listen("tcp", r.Address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listen on %s: another program has this address; end it, or choose another [api.remote] address: %w", r.Address, err)
	}
	if err != nil {
		return nil, fmt.Errorf("[api.remote] address = %q: %w", r.Address, err)
	}
	return tls.NewListener(l, r.TLS), nil
}

// RemoteURL returns the URL at which other hosts reach the API, as the address is
// given but with its true port, or "" where they do not, or before Listen.
func (s *Server) RemoteURL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.remote == nil {
		return ""
	}
	return "https://" + s.remote.Addr().String()
}

// reads reports whether a request changes nothing.
func reads(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// admitted lets requests through that may do what they ask for.
func (s *Server) admitted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reading := reads(r)
		right, err := s.cfg.Admit(r)
		switch {
		case err != nil:
			s.cfg.Logger.Error("cannot tell who may call the API", "error", err)
			s.reject(w, "secret", http.StatusInternalServerError, "the engine cannot read its own secrets; its log says why")
		case right < Read:
			w.Header().Add("WWW-Authenticate", `Basic realm="Forestall", charset="UTF-8"`)
			w.Header().Add("WWW-Authenticate", `Bearer realm="Forestall"`)
			s.reject(w, "unauthenticated", http.StatusUnauthorized,
				"show who you are: Authorization: Bearer TOKEN, or the token as the password of any user name, or a client certificate where the engine takes them")
		case right < Operate && !reading:
			s.reject(w, "forbidden", http.StatusForbidden, "this token may only ask; %s needs the operators'", r.Method)
		default:
			if !reading {
				s.cfg.Logger.Info("asked for with a token or a certificate", "method", r.Method, "path", r.URL.Path, "from", r.RemoteAddr)
			}
			next.ServeHTTP(w, r)
		}
	})
}
