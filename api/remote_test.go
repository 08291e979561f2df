package api

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// admit knows two tokens.
func admit(r *http.Request) (Right, error) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if _, password, ok := r.BasicAuth(); ok {
		token = password
	}
	switch token {
	case "operators":
		return Operate, nil
	case "readers":
		return Read, nil
	case "broken":
		return None, errors.New("no such file: /secret/path")
	}
	return None, nil
}

// TestRemoteRights: from other hosts nothing goes without a token, a reader's only
// asks, and a page of another site changes nothing with a token that the browser
// remembers; the loopback address goes on as it is.
func TestRemoteRights(t *testing.T) {
	authority := httptest.NewTLSServer(nil) // for its certificate
	authority.Close()
	var log strings.Builder
	s := newServer(t, newFake(t0), func(c *Config, _ *Backend) {
		c.Remote = &Remote{Address: "127.0.0.1:0", TLS: &tls.Config{Certificates: authority.TLS.Certificates}}
		c.Admit = admit
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	local := start(t, s)
	pool := x509.NewCertPool()
	pool.AddCert(authority.Certificate())
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "example.com"}}}
	defer client.CloseIdleConnections()
	bearer := func(token string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	}
	const beat = "/v1/heartbeats/agent/train-1"
	for _, tc := range []struct {
		name, method, base, path string
		change                   func(*http.Request)
		want                     int
		says                     string
	}{
		{"nobody asks", "GET", s.RemoteURL(), "/v1/risk", nil, 401, "show who you are"},
		{"nobody changes", "POST", s.RemoteURL(), beat, nil, 401, "show who you are"},
		{"nobody wants metrics", "GET", s.RemoteURL(), "/metrics", nil, 401, ""},
		{"nobody wants the page", "GET", s.RemoteURL(), "/", nil, 401, ""},
		{"nobody wants what is not there", "GET", s.RemoteURL(), "/nothing", nil, 401, ""},
		{"a stranger", "GET", s.RemoteURL(), "/v1/risk", bearer("guess"), 401, ""},
		{"a reader asks", "GET", s.RemoteURL(), "/v1/risk", bearer("readers"), 200, "gpu/n1/3"},
		{"a reader scrapes", "GET", s.RemoteURL(), "/metrics", bearer("readers"), 200, "fault_tolerance_api_requests_total"},
		{"a reader's browser", "GET", s.RemoteURL(), "/", func(r *http.Request) { r.SetBasicAuth("me", "readers") }, 200, "<html"},
		{"a reader changes", "POST", s.RemoteURL(), beat, bearer("readers"), 403, "may only ask"},
		{"a reader drops", "DELETE", s.RemoteURL(), "/v1/checkpoints/" + strings.Repeat("0", 64), bearer("readers"), 403, "may only ask"},
		{"an operator changes", "POST", s.RemoteURL(), beat, bearer("operators"), 204, ""},
		{"under another name", "GET", s.RemoteURL(), "/v1/risk", func(r *http.Request) { bearer("readers")(r); r.Host = "n1.example" }, 200, ""},
		{"a page of another site", "POST", s.RemoteURL(), beat, func(r *http.Request) {
			r.SetBasicAuth("me", "operators")
			r.Header.Set("Origin", "https://elsewhere.example")
		}, 403, "another origin"},
		{"a form", "POST", s.RemoteURL(), beat, func(r *http.Request) {
			bearer("operators")(r)
			r.Header.Set("Content-Type", "text/plain")
		}, 415, ""},
		{"secrets that cannot be read", "GET", s.RemoteURL(), "/v1/risk", bearer("broken"), 500, "its log says why"},
		{"this host", "POST", local, beat, nil, 204, ""},
		{"this host under another name", "GET", local, "/v1/risk", func(r *http.Request) { r.Host = "n1.example" }, 421, ""},
	} {
		r, err := http.NewRequest(tc.method, tc.base+tc.path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		if tc.change != nil {
			tc.change(r)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != tc.want || !strings.Contains(string(body), tc.says) {
			t.Errorf("%s: %s, %v, want %d and %q:\n%.300s", tc.name, answer.Status, err, tc.want, tc.says, body)
		}
		if asks := len(answer.Header.Values("WWW-Authenticate")); (asks == 2) != (tc.want == 401) {
			t.Errorf("%s: %d ways to authenticate are offered", tc.name, asks)
		}
		if strings.Contains(string(body), "/secret/path") {
			t.Errorf("%s: the caller is told where the secrets are", tc.name)
		}
	}
	if n := strings.Count(log.String(), "asked for with a token or a certificate"); n != 3 { // refused ones by operators too
		t.Errorf("%d changes are in the log, want 3:\n%s", n, log.String())
	}
	if answer, err := http.Get("http" + strings.TrimPrefix(s.RemoteURL(), "https") + "/v1/risk"); err == nil {
		answer.Body.Close()
		if answer.StatusCode != http.StatusBadRequest {
			t.Errorf("a request in the clear: %s", answer.Status)
		}
	}
}

// TestLocalReads: where it is wanted a program of this host needs a token too, but for
// asking and for heartbeats.
func TestLocalReads(t *testing.T) {
	s := newServer(t, newFake(t0), func(c *Config, _ *Backend) { c.Admit, c.LocalReads = admit, true })
	for _, tc := range []struct {
		method, path, token string
		want                int
	}{
		{"GET", "/v1/risk", "", 200},
		{"GET", "/metrics", "", 200},
		{"POST", "/v1/heartbeats/agent/train-1", "", 204},
		{"POST", "/v1/workloads/train-1/retire", "", 401},
		{"POST", "/v1/workloads/train-1/retire", "readers", 403},
		{"POST", "/v1/workloads/train-1/retire", "operators", 204},
		{"POST", "/v1/heartbeats/../workloads/train-1/retire", "", 307}, // to the path that is meant, which then needs a token
		{"DELETE", "/v1/checkpoints/" + strings.Repeat("0", 64), "", 401},
	} {
		r := httptest.NewRequest(tc.method, "http://127.0.0.1"+tc.path, strings.NewReader("{}"))
		r.Header.Set("Content-Type", "application/json")
		if tc.token != "" {
			r.Header.Set("Authorization", "Bearer "+tc.token)
		}
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		if w.Code != tc.want {
			t.Errorf("%s %s with token %q: %d, want %d: %s", tc.method, tc.path, tc.token, w.Code, tc.want, w.Body)
		}
	}
}

func TestRemoteNeedsSecrets(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"needs TLS and Config.Admit": func(c *Config) { c.Remote = &Remote{Address: "0.0.0.0:7443"} },
		"needs TLS":                  func(c *Config) { c.Remote, c.Admit = &Remote{Address: "0.0.0.0:7443"}, admit },
		"Config.Admit":               func(c *Config) { c.Remote = &Remote{Address: "0.0.0.0:7443", TLS: &tls.Config{}} },
		"is not host:port":           func(c *Config) { c.Remote, c.Admit = &Remote{Address: "7443", TLS: &tls.Config{}}, admit },
		"LocalReads needs Admit":     func(c *Config) { c.LocalReads = true },
	} {
		cfg := DefaultConfig()
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
