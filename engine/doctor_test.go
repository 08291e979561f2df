package engine

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall/internal/certs"
	"github.com/stratoswarm/forestall/internal/certs/certstest"
)

func hasFinding(all []Finding, level certs.Level, about, text string) bool {
	return slices.ContainsFunc(all, func(f Finding) bool {
		return f.Level == level && f.About == about && strings.Contains(f.Text, text)
	})
}

func TestExamine(t *testing.T) {
	dir := t.TempDir()
	ca := certstest.NewCA(t, "ours")
	files := ca.Write(t, filepath.Join(dir, "n1"), []string{"n1"})
	open := filepath.Join(dir, "readers")
	if err := os.WriteFile(open, []byte(readers), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // a port at which nobody answers
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	c := testConfig(filepath.Join(dir, "data"))
	c.Cluster.Nodes, c.Cluster.QuorumSize = []string{"n1=127.0.0.1:9001", "n2=" + l.Addr().String()}, 1
	c.API.Remote = RemoteAPIConfig{Address: "127.0.0.1:0", TLS: ServerTLSConfig{Cert: files.Cert, Key: files.Key}}
	c.API.Auth = RightsConfig{ReaderFile: open, OperatorFile: open + ".none"}
	found := c.Examine(t.Context(), time.Now(), true)
	for _, want := range []Finding{
		{certs.Bad, "files", "api.auth: open " + open + ".none"},
		{certs.Warning, "tls", "peers do not authenticate each other"},
		{certs.OK, "api.remote.tls", "valid until"},
		{certs.Bad, "api.auth.reader_file", "can be read or written by every user (0644)"},
		{certs.Warning, "node n2", "its engine does not answer"},
	} {
		if !hasFinding(found, want.Level, want.About, want.Text) {
			t.Errorf("not found: %v, in\n%v", want, found)
		}
	}
	c.TLS.CA, c.TLS.Cert, c.TLS.Key = files.CA, files.Cert, files.Key
	if found := c.Examine(t.Context(), time.Now(), false); !hasFinding(found, certs.OK, "tls", "valid until") {
		t.Errorf("with its own certificate:\n%v", found)
	}
	c.Engine.Name = "n2"
	if found := c.Examine(t.Context(), time.Now(), true); !hasFinding(found, certs.Bad, "tls", `does not have the DNS name "n2"`) {
		t.Errorf("with another node's certificate:\n%v", found)
	}
	c.TLS.Plaintext = certs.PlaintextAccept
	if found := c.Examine(t.Context(), time.Now(), false); !hasFinding(found, certs.Warning, "tls.plaintext", `go on to "never"`) {
		t.Errorf("on the way to TLS:\n%v", found)
	}
}

// TestCertificateNotes: status tells in time, and of a renewal that does not fit.
func TestCertificateNotes(t *testing.T) {
	ca := certstest.NewCA(t, "ours")
	files := ca.Write(t, t.TempDir(), []string{"n1"})
	source, err := certs.Open(files, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{apiCertificate: source, telemetry: &telemetry{}}
	for ahead, want := range map[time.Duration]string{
		0: "", 18 * time.Hour: "", 20 * time.Hour: "the certificate for api expires at ", 25 * time.Hour: "the certificate for api expired at ",
	} {
		if notes := strings.Join(e.certificateNotes(time.Now().Add(ahead)), "; "); want == "" && notes != "" || !strings.Contains(notes, want) {
			t.Errorf("in %s: %q, want %q", ahead, notes, want)
		}
	}
	cert, _ := ca.Issue(t, []string{"n1"})
	certstest.Replace(t, files.Cert, cert)
	if notes := strings.Join(e.certificateNotes(time.Now()), "; "); !strings.Contains(notes, "what is there now is not used") {
		t.Errorf("half a renewal: %q", notes)
	}
}
