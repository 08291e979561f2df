package api

import (
	"encoding/json"
	"fmt"
	"mime"
	"net"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// contentPolicy lets the page load only what this server sends, and nobody
// frame it.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// guardLocal keeps out what a web page opened in a browser on this host could send
// here: DNS rebinding comes with a foreign Host header, the rest is guard's.
func (s *Server) guardLocal(next http.Handler) http.Handler {
	admitted := s.admitted(next)
	return s.guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !localHost(r.Host) {
			s.reject(w, "host", http.StatusMisdirectedRequest,
				"this API answers only to its loopback name: Host %q is neither localhost nor a loopback address", r.Host)
			return
		}
		if s.cfg.LocalReads && !reads(r) && !strings.HasPrefix(r.URL.Path, heartbeats) {
			admitted.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	}))
}

// guard keeps out what a page of another site could have a browser send that this
// API knows: a form or a "simple" fetch comes with a foreign origin or a body that
// is not JSON.
func (s *Server) guard(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		if err := cross.Check(r); err != nil {
			s.reject(w, "origin", http.StatusForbidden, "a page of another origin may not change anything here: %v", err)
			return
		}
		if r.Method == http.MethodPost {
			if t, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); t != "application/json" {
				s.reject(w, "content_type", http.StatusUnsupportedMediaType,
					"Content-Type %q: send the body as application/json", r.Header.Get("Content-Type"))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) reject(w http.ResponseWriter, reason string, status int, format string, args ...any) {
	s.metrics.rejected.WithLabelValues(reason).Inc()
	problem(w, status, fmt.Sprintf(format, args...))
}

// localHost reports whether a Host header names this machine as itself.
func localHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil { // no port
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	return loopback(host)
}

// problem writes an error as RFC 9457 wants it, for the routes that huma does
// not serve.
func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: detail}) //nolint:errcheck // the client has gone
}
