package features

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority issues certificates into a directory.
type authority struct {
	tb   testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(tb testing.TB) *authority {
	tb.Helper()
	a := &authority{tb: tb, dir: tb.TempDir()}
	a.cert, a.key = a.issue("ca", &x509.Certificate{Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) issue(name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.tb.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.tb.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.tb.Fatal(err)
	}
	writeFile(a.tb, a.path(name+".pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	writeFile(a.tb, a.path(name+".key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	out, err := x509.ParseCertificate(der)
	if err != nil {
		a.tb.Fatal(err)
	}
	return out, key
}

func writeFile(tb testing.TB, name, text string) {
	tb.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}

func TestHTTPClientTLS(t *testing.T) {
	a := newAuthority(t)
	a.issue("server", &x509.Certificate{DNSNames: []string{"exporter.internal"}})
	a.issue("client", &x509.Certificate{Subject: pkix.Name{CommonName: "forestall"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	pair, err := tls.LoadX509KeyPair(a.path("server.pem"), a.path("server.key"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("DCGM_FI_DEV_GPU_TEMP{gpu=\"0\"} 50\n"))
		if got := r.TLS.PeerCertificates[0].Subject.CommonName; got != "forestall" {
			t.Errorf("client %q", got)
		}
	}))
	srv.Config.ErrorLog = quiet
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	srv.StartTLS()
	defer srv.Close()

	full := HTTPConfig{CAFile: a.path("ca.pem"), CertFile: a.path("client.pem"), KeyFile: a.path("client.key"), ServerName: "exporter.internal"}
	for _, tt := range []struct {
		name   string
		change func(*HTTPConfig)
		want   string // "" = it works
	}{
		{"all is well", func(*HTTPConfig) {}, ""},
		{"not verified", func(c *HTTPConfig) { c.CAFile, c.ServerName, c.InsecureSkipVerify = "", "", true }, ""},
		{"another authority", func(c *HTTPConfig) { c.CAFile = "" }, "unknown authority"},
		{"another name", func(c *HTTPConfig) { c.ServerName = "" }, "cannot validate certificate for 127.0.0.1"},
		{"no client certificate", func(c *HTTPConfig) { c.CertFile, c.KeyFile = "", "" }, "certificate required"},
	} {
		cfg := full
		tt.change(&cfg)
		client, err := NewHTTPClient(cfg)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		s, err := NewScraper(ScrapeConfig{URL: srv.URL, Node: "n1", Mapping: preset("dcgm")}, client)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = s.Scrape(context.Background(), epoch)
		client.CloseIdleConnections()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestHTTPClientAuthentication(t *testing.T) {
	var got string
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("Authorization") }))
	defer srv.Close()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	ask := func(client *http.Client) string {
		resp, err := client.Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return got
	}
	writeFile(t, secret, "s3cret\n")
	bearer, err := NewHTTPClient(HTTPConfig{BearerFile: secret})
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(bearer); got != "Bearer s3cret" {
		t.Errorf("Authorization %q", got)
	}
	writeFile(t, secret, "a longer one\n")
	if got := ask(bearer); got != "Bearer a longer one" {
		t.Errorf("Authorization %q after the file changed", got)
	}
	basic, err := NewHTTPClient(HTTPConfig{Username: "ann", PasswordFile: secret})
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(basic); got != "Basic YW5uOmEgbG9uZ2VyIG9uZQ==" {
		t.Errorf("Authorization %q", got)
	}

	// A secret does not follow a redirect to somebody else.
	away := httptest.NewServer(http.RedirectHandler(srv.URL, http.StatusFound))
	defer away.Close()
	got = ""
	if resp, err := bearer.Get(away.URL); err == nil || !strings.Contains(err.Error(), "credentials do not belong") || got != "" {
		if err == nil {
			resp.Body.Close()
		}
		t.Errorf("redirect: error %v, Authorization %q", err, got)
	}
}

func TestHTTPConfigRefused(t *testing.T) {
	dir := t.TempDir()
	empty, two := filepath.Join(dir, "empty"), filepath.Join(dir, "two")
	writeFile(t, empty, "\n")
	writeFile(t, two, "a\nb\n")
	for _, tt := range []struct {
		cfg  HTTPConfig
		want string
	}{
		{HTTPConfig{CertFile: "x"}, "given together"},
		{HTTPConfig{Username: "ann"}, "given together"},
		{HTTPConfig{BearerFile: "x", Username: "ann", PasswordFile: "y"}, "not both"},
		{HTTPConfig{InsecureSkipVerify: true, CAFile: "x"}, "neither ca nor server_name"},
		{HTTPConfig{BearerFile: filepath.Join(dir, "none")}, "no such file"},
		{HTTPConfig{BearerFile: empty}, "to hold one line"},
		{HTTPConfig{BearerFile: two}, "to hold one line"},
		{HTTPConfig{CAFile: two}, "holds no PEM certificate"},
		{HTTPConfig{CertFile: two, KeyFile: two}, "certificate " + two},
	} {
		if _, err := NewHTTPClient(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error %v, want %q", tt.cfg, err, tt.want)
		}
	}
}
