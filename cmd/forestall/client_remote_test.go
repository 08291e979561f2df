package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall/engine"
	"github.com/stratoswarm/forestall/internal/certs/certstest"
)

// runEngine runs an engine, which can start no workload, until the test ends.
func runEngine(t *testing.T, c engine.Config) *engine.Engine {
	t.Helper()
	e, err := engine.New(c, engine.Options{Version: "test", Shim: []string{"/bin/false"}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return e
}

// TestClientOfAnotherHost asks an engine over TLS with a token, by flags and by
// variables.
func TestClientOfAnotherHost(t *testing.T) {
	dir := t.TempDir()
	ca := certstest.NewCA(t, "ours")
	files := ca.Write(t, dir, []string{"127.0.0.1"})
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := engine.DefaultConfig()
	c.SetData(filepath.Join(dir, "data"))
	c.Engine.Name, c.API.Address, c.GPU.Source, c.Features.Host = "n1", "127.0.0.1:0", "none", false
	ports, err := freeDemoPorts(1)
	if err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("https://127.0.0.1:%d", ports[0])
	c.API.Remote = engine.RemoteAPIConfig{
		Address: strings.TrimPrefix(url, "https://"), TLS: engine.ServerTLSConfig{Cert: files.Cert, Key: files.Key},
	}
	c.API.Auth.ReaderFile = token
	runEngine(t, c)
	ask := func(args ...string) (int, string) {
		var out, problems bytes.Buffer
		status := run(append([]string{"members"}, args...), &out, &problems)
		return status, problems.String()
	}
	if status, said := ask("--api", url, "--api-ca", files.CA, "--api-token-file", token); status != 0 {
		t.Errorf("by flags: status %d, %s", status, said)
	}
	for want, args := range map[string][]string{
		"of a CA that is not known here: give --api-ca FILE": {"--api", url, "--api-token-file", token},
		"give --api-token-file FILE":                         {"--api", url, "--api-ca", files.CA},
		"no such file":                                       {"--api", url, "--api-ca", files.CA + ".none"},
		"is not sent to http://n1.example:7443 in the clear": {"--api", "n1.example:7443", "--api-token-file", token},
		"given together":                                     {"--api", url, "--api-cert", files.Cert},
	} {
		if status, said := ask(args...); status != 1 || !strings.Contains(said, want) {
			t.Errorf("status %d, want 1 and %q: %s", status, want, said)
		}
	}
	t.Setenv("FORESTALL_API", url)
	t.Setenv("FORESTALL_API_CA", files.CA)
	t.Setenv("FORESTALL_API_TOKEN_FILE", token)
	if status, said := ask(); status != 0 {
		t.Errorf("by variables: status %d, %s", status, said)
	}
}
