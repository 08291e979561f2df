package engine

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stratoswarm/forestall/internal/certs"
)

// Finding is one thing that Examine has looked at.
type Finding struct {
	Level certs.Level `json:"level"` // ok, warning or bad
	About string      `json:"about"` // a key of the configuration, or a node
	Text  string      `json:"text"`
}

// peerPatience is how long another engine may take to answer a doctor.
const peerPatience = 3 * time.Second

// Examine says what is well and what is wrong on this node for an engine with the
// configuration: the files and models that it names, certificates, tokens and, if
// peers is set, whether the other engines answer this one. It changes nothing, and
// may be called while the engine runs.
func (c Config) Examine(ctx context.Context, now time.Time, peers bool) (all []Finding) {
	say := func(l certs.Level, about, format string, args ...any) {
		all = append(all, Finding{l, about, fmt.Sprintf(format, args...)})
	}
	if err := c.CheckFiles(); err != nil {
		for _, one := range err.(interface{ Unwrap() []error }).Unwrap() { //nolint:errorlint // as errors.Join makes it
			say(certs.Bad, "files", "%v", one)
		}
	}
	look := func(about string, f certs.Files, who certs.Who) {
		for _, found := range f.Look(who, now) {
			say(found.Level, about, "%s", found.Text)
		}
	}
	name, err := c.name()
	if err != nil {
		say(certs.Bad, "engine.name", "%v", err)
	}
	nodes, _ := c.members() // Validate names what is wrong with it
	if c.TLS.On() {
		look("tls", c.TLS.Files(), certs.Who{Node: name, Uses: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}})
	}
	switch {
	case len(nodes) == 0:
	case !c.TLS.On():
		say(certs.Warning, "tls", "peers do not authenticate each other: whoever reaches the peer port can start processes")
	case c.TLS.Plaintext != certs.PlaintextNever:
		say(certs.Warning, "tls.plaintext", "%q lets in peers that do not authenticate: go on to \"never\"", c.TLS.Plaintext)
	}
	server := certs.Who{}
	if r := c.API.Remote; r.Address != "" {
		look("api.remote.tls", r.TLS.files(), server)
	}
	checkSecret("api.auth.operator_file", c.API.Auth.OperatorFile, say)
	checkSecret("api.auth.reader_file", c.API.Auth.ReaderFile, say)
	if r := c.Features.RemoteWrite; r.Address != "" {
		if r.TLS.Cert != "" {
			look("features.remote_write.tls", r.TLS.files(), server)
		}
		checkSecret("features.remote_write.auth.bearer_file", r.Auth.BearerFile, say)
		checkSecret("features.remote_write.auth.password_file", r.Auth.PasswordFile, say)
	}
	if peers && len(nodes) > 0 && !slices.ContainsFunc(all, func(f Finding) bool { return f.Level == certs.Bad && f.About == "tls" }) {
		all = append(all, c.examinePeers(ctx, name, nodes)...)
	}
	return all
}

// checkSecret says whether others can read a secret. That it is there is CheckFiles's.
func checkSecret(about, file string, say func(certs.Level, string, string, ...any)) {
	if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o007 != 0 {
		say(certs.Bad, about, "%s can be read or written by every user (%04o): chmod 600 it, and replace what is in it", file, info.Mode().Perm())
	}
}

// examinePeers calls every other node as this one's engine would.
func (c Config) examinePeers(ctx context.Context, name string, nodes []member) []Finding {
	e := &Engine{cfg: c, name: name, nodes: nodes, now: time.Now, log: slog.New(slog.DiscardHandler)}
	if err := e.openSecure(); err != nil {
		return []Finding{{certs.Bad, "tls", err.Error()}}
	}
	transport := e.peerTransport()
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, peerPatience)
	defer cancel()
	var wg sync.WaitGroup
	found := make([]Finding, len(nodes))
	for i, m := range nodes {
		if m.name == name {
			continue
		}
		wg.Go(func() {
			f := Finding{certs.OK, "node " + m.name, "its engine answers at " + m.peerAddress() + ", and at the ports of Raft and gossip"}
			if err := e.examinePeer(ctx, transport, m); err != nil {
				f.Level, f.Text = certs.Bad, err.Error()
				var timeout net.Error
				if errors.Is(err, syscall.ECONNREFUSED) || errors.As(err, &timeout) && timeout.Timeout() {
					f.Level, f.Text = certs.Warning, "its engine does not answer; it does not run, or a firewall is between: "+err.Error()
				}
			}
			found[i] = f
		})
	}
	wg.Wait()
	return slices.DeleteFunc(found, func(f Finding) bool { return f.About == "" })
}

func (e *Engine) examinePeer(ctx context.Context, transport http.RoundTripper, m member) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, e.peerURL(m.peerAddress())+"/", nil)
	if err != nil {
		return err
	}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return explainPeer(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
	switch {
	case err != nil:
		return explainPeer(err)
	case answer.StatusCode == http.StatusBadRequest:
		return fmt.Errorf("it speaks TLS only, and this node has no [tls]: %s", strings.TrimSpace(string(body)))
	case answer.StatusCode == http.StatusMisdirectedRequest:
		return fmt.Errorf("cluster.nodes is not the same there: %s", strings.TrimSpace(string(body)))
	}
	for address, protocol := range map[string]string{m.raftAddress(): certs.Raft, m.gossipAddress(): certs.GossipStream} {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil && e.secure != nil {
			conn, err = e.secure.Client(ctx, conn, m.name, protocol)
		}
		if err != nil {
			return fmt.Errorf("at %s: %w", address, explainPeer(err))
		}
		conn.Close()
	}
	return nil
}

// explainPeer says what the other side's refusal means, of which TLS tells little.
func explainPeer(err error) error {
	var refused *net.OpError
	if errors.As(err, &refused) && refused.Op == "remote error" {
		return fmt.Errorf("it refuses this node's certificate; its engine's log says why: %w", err)
	}
	return err
}
