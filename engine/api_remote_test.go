package engine

import (
	"crypto/x509"
	"encoding/pem"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/internal/certs/certstest"
)

const (
	operators = "operators-0123456789"
	readers   = "readers-0123456789"
)

func TestBadRemoteAPI(t *testing.T) {
	const (
		remote = "[api.remote]\naddress = \"0.0.0.0:7443\"\n"
		files  = "tls = {cert = \"/c\", key = \"/k\"}\n"
		reader = "[api.auth]\nreader_file = \"/r\"\n"
	)
	for toml, want := range map[string]string{
		remote:          "api.remote: set tls.cert and tls.key, and tls.client_ca or api.auth",
		remote + files:  "api.remote: set tls.cert and tls.key, and tls.client_ca or api.auth",
		remote + reader: "api.remote: set tls.cert",
		"[api.remote]\naddress = \"7443\"\n" + files + reader:      `api.remote.address: "7443" is not HOST:PORT`,
		"[api.remote]\ntls = {cert = \"/c\"}":                      "api.remote.tls: cert and key are given together",
		"[api.remote]\ntls = {cert = \"c\", key = \"/k\"}":         `api.remote.tls.cert: "c" is not an absolute path`,
		"[api.auth]\nreader_file = \"r\"":                          `api.auth.reader_file: "r" is not an absolute path`,
		"[api.auth]\nreader_file = \"/t\"\noperator_file = \"/t\"": "readers would have all rights",
		"[api.auth]\nbearer_file = \"/t\"":                         `unknown key "api.auth.bearer_file"`,
		"[api]\nloopback = \"none\"":                               `api.loopback: "none" is not one of operate, read`,
		"[api]\nloopback = \"read\"":                               "nobody could change anything without",
		"[api]\nloopback = \"read\"\n[api.remote]\ntls = {cert = \"/c\", key = \"/k\", client_ca = \"/a\"}": "nobody could change anything without",
		"[api]\nloopback = \"read\"\nauth = {reader_file = \"/r\"}":                                         "nobody could change anything without",
		"[api]\nloopback = \"read\"\nauth = {operator_file = \"/r\"}":                                       "",
		remote + "tls = {cert = \"/c\", key = \"/k\", client_ca = \"/ca\"}":                                 "",
		remote + files + reader: "",
	} {
		_, err := ReadConfig(strings.NewReader(toml))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: error %v, want %q", toml, err, want)
		}
	}
}

func TestRights(t *testing.T) {
	dir := t.TempDir()
	c := RightsConfig{OperatorFile: filepath.Join(dir, "operators"), ReaderFile: filepath.Join(dir, "readers")}
	certstest.Replace(t, c.OperatorFile, []byte(operators+"\n"+operators+"-next\n"))
	certstest.Replace(t, c.ReaderFile, []byte(readers+"\n"))
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	ask := func(header string, change ...func(*http.Request)) api.Right {
		t.Helper()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", header)
		for _, f := range change {
			f(r)
		}
		right, err := c.right(r)
		if err != nil {
			t.Error(err)
		}
		return right
	}
	basic := func(user, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, password) }
	}
	for what, is := range map[string]bool{
		"operator":             ask("Bearer "+operators) == api.Operate,
		"next operator":        ask("bearer "+operators+"-next") == api.Operate,
		"reader":               ask("Bearer "+readers) == api.Read,
		"operator by password": ask("", basic("ann", operators)) == api.Operate,
		"reader by password":   ask("", basic("", readers)) == api.Read,
		"token as user name":   ask("", basic(operators, "")) == api.None,
		"nothing":              ask("") == api.None,
		"empty":                ask("Bearer ") == api.None,
		"both lines":           ask("Bearer "+operators+"\n"+operators+"-next") == api.None,
		"the beginning":        ask("Bearer "+operators[:10]) == api.None,
		"another scheme":       ask("Digest "+operators) == api.None,
	} {
		if !is {
			t.Errorf("%s: wrong right", what)
		}
	}
	certstest.Replace(t, c.OperatorFile, []byte(operators+"-next\n"))
	if ask("Bearer "+operators) != api.None || ask("Bearer "+operators+"-next") != api.Operate {
		t.Error("a token that was taken out of the file goes on, or the new one does not")
	}
	for text, want := range map[string]string{
		"":                                  "line 1 is to be one token of at least 16 characters",
		"short\n":                           "line 1 is to be one token",
		operators + "\n\n" + operators:      "line 2 is to be one token",
		"two words of more than 16 letters": "without blanks",
		readers:                             "is in " + c.OperatorFile + " too",
	} {
		certstest.Replace(t, c.OperatorFile, []byte(text))
		if err := c.check(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), readers) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
	if err := os.Remove(c.OperatorFile); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+readers)
	if right, err := c.right(r); right != api.Read || err != nil {
		t.Errorf("a reader, while the operators' file is gone: %v, %v", right, err)
	}
	r.Header.Set("Authorization", "Bearer "+operators)
	if right, err := c.right(r); right != api.None || err == nil {
		t.Errorf("an operator, while the file is gone: %v, %v", right, err)
	}
}

// TestRemoteAPI: an engine answers another host over TLS with a token or a client
// certificate, also after its certificate and CA were replaced.
func TestRemoteAPI(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old, fresh, clients := certstest.NewCA(t, "old"), certstest.NewCA(t, "new"), certstest.NewCA(t, "clients")
	files := old.Write(t, filepath.Join(dir, "tls"), []string{"n1.example", "127.0.0.1"})
	mine := clients.Write(t, filepath.Join(dir, "client"), []string{"ann"}, old)
	token := filepath.Join(dir, "readers")
	certstest.Replace(t, token, []byte(readers))
	c := testConfig(filepath.Join(dir, "data"))
	c.API.Remote = RemoteAPIConfig{
		Address: "127.0.0.1:0",
		TLS:     ServerTLSConfig{Cert: files.Cert, Key: files.Key, ClientCA: filepath.Join(dir, "clients.pem")},
	}
	c.API.Auth.ReaderFile = token
	certstest.Replace(t, c.API.Remote.TLS.ClientCA, certstest.PEM(clients))
	local, e, stop := runEngine(t, c)
	defer stop()
	client := func(h features.HTTPConfig) *api.Client {
		t.Helper()
		h.CAFile = mine.CA
		over, err := features.NewHTTPClient(h)
		if err != nil {
			t.Fatal(err)
		}
		return api.NewClient(e.api.RemoteURL()).Over(over)
	}
	reader, operator := client(features.HTTPConfig{BearerFile: token}), client(features.HTTPConfig{CertFile: mine.Cert, KeyFile: mine.Key})
	look := func() {
		t.Helper()
		for name, one := range map[string]*api.Client{"reader": reader, "operator": operator, "this host": local.Client} {
			if _, err := one.Status(t.Context()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := client(features.HTTPConfig{}).Status(t.Context()); err == nil || !strings.Contains(err.Error(), "give --api-token-file") {
			t.Errorf("without a token: %v", err)
		}
		const denied, asked = "may only ask", "nobody"
		if err := reader.Retire(t.Context(), asked); err == nil || !strings.Contains(err.Error(), denied) {
			t.Errorf("a reader retires a workload: %v", err)
		}
		if err := operator.Retire(t.Context(), asked); err == nil || strings.Contains(err.Error(), denied) {
			t.Errorf("an operator retires a workload that is not there: %v", err)
		}
	}
	look()
	cert, key := fresh.Issue(t, []string{"127.0.0.1"})
	certstest.Replace(t, mine.CA, certstest.PEM(old, fresh))
	certstest.Replace(t, files.Cert, cert)
	look()
	certstest.Replace(t, files.Key, key)
	certstest.Replace(t, mine.CA, certstest.PEM(fresh))
	look()
	status, err := operator.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The operator's connection is open, and its CA is trusted no more.
	certstest.Replace(t, c.API.Remote.TLS.ClientCA, certstest.PEM(fresh))
	if _, err := operator.Status(t.Context()); err == nil {
		t.Error("a client certificate goes on under a CA that was taken out")
	}
	for _, note := range status.Notes {
		if strings.Contains(note, "certificate") {
			t.Errorf("of a certificate that lasts: %s", note)
		}
	}
	families, err := e.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	ends := map[string]float64{}
	for _, f := range families {
		if f.GetName() == "fault_tolerance_certificate_expiry_timestamp_seconds" {
			for _, m := range f.GetMetric() {
				ends[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	block, _ := pem.Decode(cert)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]float64{"api": float64(leaf.NotAfter.Unix())}; !maps.Equal(ends, want) {
		t.Errorf("certificates end at %v, want the new one's %v", ends, want)
	}
	members := await(t, "the member's address", local.Members, func(l []forestall.Member) bool { return len(l) == 1 })
	if members[0].API != e.api.RemoteURL() {
		t.Errorf("others are told that the API is at %q, want %q", members[0].API, e.api.RemoteURL())
	}
}

// TestLoopbackReads: with api.loopback = "read" a program of this machine changes
// nothing without a token, and workloads' heartbeats go on.
func TestLoopbackReads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	token := filepath.Join(dir, "operators")
	certstest.Replace(t, token, []byte(operators))
	c := testConfig(filepath.Join(dir, "data"))
	c.API.Loopback, c.API.Auth.OperatorFile = loopbackRead, token
	local, _, stop := runEngine(t, c)
	defer stop()
	over, err := features.NewHTTPClient(features.HTTPConfig{BearerFile: token})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := local.Status(t.Context()); err != nil {
		t.Error(err)
	}
	const asks = "asks who you are"
	if err := local.Retire(t.Context(), "nobody"); err == nil || !strings.Contains(err.Error(), asks) {
		t.Errorf("retire without a token: %v", err)
	}
	if err := local.Over(over).Retire(t.Context(), "nobody"); err == nil || strings.Contains(err.Error(), asks) {
		t.Errorf("retire with one: %v", err)
	}
	if err := local.Beat(t.Context(), forestall.Agent("nobody"), api.Heartbeat{}); err == nil || strings.Contains(err.Error(), asks) {
		t.Errorf("a heartbeat of a workload that is not there: %v", err)
	}
}
