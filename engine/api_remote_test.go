package engine

import (
	"crypto/tls"
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
	const files = "tls = {cert = \"/c\", key = \"/k\"}\n"
	for toml, want := range map[string]string{
		"address = \"0.0.0.0:7443\"":                                     "api.remote: set tls.cert and tls.key, and auth.operator_file",
		"address = \"0.0.0.0:7443\"\n" + files:                           "api.remote: set tls.cert and tls.key, and auth.operator_file",
		"address = \"0.0.0.0:7443\"\nauth = {reader_file = \"/r\"}":      "api.remote: set tls.cert",
		"address = \"7443\"\n" + files + "auth = {reader_file = \"/r\"}": `api.remote.address: "7443" is not HOST:PORT`,
		"tls = {cert = \"/c\"}":                                          "api.remote.tls: cert and key are given together",
		"tls = {cert = \"c\", key = \"/k\"}":                             `api.remote.tls.cert: "c" is not an absolute path`,
		"auth = {reader_file = \"r\"}":                                   `api.remote.auth.reader_file: "r" is not an absolute path`,
		"auth = {reader_file = \"/t\", operator_file = \"/t\"}":          "readers would have all rights",
		"auth = {bearer_file = \"/t\"}":                                  `unknown key "api.remote`,
	} {
		_, err := ReadConfig(strings.NewReader("[api.remote]\n" + toml))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", toml, err, want)
		}
	}
	if _, err := ReadConfig(strings.NewReader("[api.remote]\naddress = \"0.0.0.0:7443\"\ntls = {cert = \"/c\", key = \"/k\", client_ca = \"/ca\"}\n")); err != nil {
		t.Errorf("client certificates alone: %v", err)
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
		"operator":              ask("Bearer "+operators) == api.Operate,
		"next operator":         ask("bearer "+operators+"-next") == api.Operate,
		"reader":                ask("Bearer "+readers) == api.Read,
		"operator by password":  ask("", basic("ann", operators)) == api.Operate,
		"reader by password":    ask("", basic("", readers)) == api.Read,
		"token as user name":    ask("", basic(operators, "")) == api.None,
		"nothing":               ask("") == api.None,
		"empty":                 ask("Bearer ") == api.None,
		"both lines":            ask("Bearer "+operators+"\n"+operators+"-next") == api.None,
		"the beginning":         ask("Bearer "+operators[:10]) == api.None,
		"another scheme":        ask("Digest "+operators) == api.None,
		"a certificate":         ask("", func(r *http.Request) { r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{}}} }) == api.Operate,
		"none that is verified": ask("", func(r *http.Request) { r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}} }) == api.None,
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
		Auth:    RightsConfig{ReaderFile: token},
	}
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
