package engine

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stratoswarm/forestall/consensus"
	"github.com/stratoswarm/forestall/detect"
	"github.com/stratoswarm/forestall/internal/certs"
)

// PeerTLSConfig names the files by which engines know each other, PEM; see
// docs/adr/0009-mutual-tls.md.
type PeerTLSConfig struct {
	CA        string          `toml:"ca"`   // certificates that sign those of all nodes
	Cert      string          `toml:"cert"` // this node's, with the DNS name engine.name
	Key       string          `toml:"key"`
	Plaintext certs.Plaintext `toml:"plaintext"` // never | accept | send, on the way to TLS and back
}

func defaultPeerTLS() PeerTLSConfig { return PeerTLSConfig{Plaintext: certs.PlaintextNever} }

// On reports whether peers authenticate each other.
func (c PeerTLSConfig) On() bool { return c.Cert != "" }

// Files returns the files, of which Cert is empty where the section is not used.
func (c PeerTLSConfig) Files() certs.Files { return certs.Files{CA: c.CA, Cert: c.Cert, Key: c.Key} }

func (c PeerTLSConfig) check(allowPlaintext bool, bad func(key, format string, args ...any)) {
	if set := c.Files(); (set.CA == "") != (set.Cert == "") || (set.Cert == "") != (set.Key == "") {
		bad("tls", "ca, cert and key are given together or not at all")
	}
	for key, name := range map[string]string{"tls.ca": c.CA, "tls.cert": c.Cert, "tls.key": c.Key} {
		if name != "" && !filepath.IsAbs(name) {
			bad(key, "%q is not an absolute path", name)
		}
	}
	accepted := []certs.Plaintext{certs.PlaintextNever, certs.PlaintextAccept, certs.PlaintextSend}
	switch {
	case !slices.Contains(accepted, c.Plaintext):
		bad("tls.plaintext", "%q is not one of never, accept, send", c.Plaintext)
	case c.Plaintext == certs.PlaintextNever:
	case !c.On():
		bad("tls.plaintext", "%q is a step on the way to TLS: give tls.ca, tls.cert and tls.key too", c.Plaintext)
	case !allowPlaintext:
		bad("tls.plaintext", "%q lets in peers that do not authenticate: it needs cluster.allow_plaintext = true, as before", c.Plaintext)
	}
}

// openSecure reads the certificates by which peers know each other.
func (e *Engine) openSecure() (err error) {
	if !e.cfg.TLS.On() || e.alone() {
		return nil
	}
	var names []string
	for _, m := range e.nodes {
		names = append(names, m.name)
	}
	e.secure, err = certs.NewPeers(certs.PeersConfig{
		Files: e.cfg.TLS.Files(), Self: e.name, Nodes: names, Plaintext: e.cfg.TLS.Plaintext, Now: e.now, Logger: e.log,
	})
	if err != nil {
		return fmt.Errorf("[tls]: %w", err)
	}
	if p := e.cfg.TLS.Plaintext; p != certs.PlaintextNever {
		e.log.Warn("peers that do not authenticate are let in: finish with tls.plaintext = \"never\"", "plaintext", p)
	}
	return nil
}

// runSecure watches the certificates and what was opened by them.
func (e *Engine) runSecure(ctx context.Context) error {
	if e.secure == nil {
		<-ctx.Done()
		return nil
	}
	return e.secure.Run(ctx)
}

// secretly reports whether this engine calls others over TLS.
func (e *Engine) secretly() bool {
	return e.secure != nil && e.cfg.TLS.Plaintext != certs.PlaintextSend
}

// peerURL returns the base URL of another engine's peer listener.
func (e *Engine) peerURL(address string) string {
	if e.secretly() {
		return "https://" + address
	}
	return "http://" + address
}

// peerTransport connects to peer listeners.
func (e *Engine) peerTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: time.Second}
	return &http.Transport{
		MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute, DialContext: dialer.DialContext,
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			node, err := e.nodeAt(address, member.peerAddress)
			if err != nil {
				return nil, err
			}
			raw, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return e.secure.Client(ctx, raw, node, certs.HTTP)
		},
	}
}

// nodeAt returns who of cluster.nodes has an address: nobody else is called over
// TLS, as nobody else's certificate would be accepted.
func (e *Engine) nodeAt(address string, of func(member) string) (string, error) {
	for _, m := range e.nodes {
		if of(m) == address {
			return m.name, nil
		}
	}
	return "", fmt.Errorf("no node of cluster.nodes has the address %s", address)
}

// secretStream is Raft's network over TLS.
type secretStream struct {
	*certs.Listener
	e     *Engine
	plain consensus.StreamLayer // dials, and owns what Listener listens on
}

func newSecretStream(e *Engine, plain consensus.StreamLayer) consensus.StreamLayer {
	return &secretStream{e.secure.Listen(plain, certs.Raft), e, plain}
}

// Dial connects to another node's Raft within the timeout.
func (s *secretStream) Dial(address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	node, err := s.e.nodeAt(address, member.raftAddress)
	if err != nil {
		return nil, err
	}
	raw, err := s.plain.Dial(address, timeout)
	if err != nil {
		return nil, err
	}
	end := context.AfterFunc(ctx, func() { raw.Close() })
	defer end()
	return s.e.secure.Client(ctx, raw, node, certs.Raft)
}

// secretWire is gossip's network over TLS.
type secretWire struct {
	*certs.Listener
	secure *certs.Peers
	dialer net.Dialer
}

var _ detect.Wire = (*secretWire)(nil)

// lostAfter is how long the other end of a connection for packets may acknowledge
// nothing: TCP would go on for minutes, and be slow to find a network that healed.
const lostAfter = 2 * time.Second

func newSecretWire(secure *certs.Peers, address string) (*secretWire, error) {
	l, err := listen(address, "cluster.nodes")
	if err != nil {
		return nil, err
	}
	w := &secretWire{Listener: secure.Listen(l, certs.GossipPackets, certs.GossipStream), secure: secure}
	w.dialer.Control = func(_, _ string, c syscall.RawConn) (err error) {
		if failed := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(lostAfter.Milliseconds()))
		}); failed != nil {
			return failed
		}
		return err
	}
	return w, nil
}

// Accept waits for a connection of a member.
func (w *secretWire) Accept() (net.Conn, bool, error) {
	c, err := w.Listener.Accept()
	if err != nil {
		return nil, false, err
	}
	secret, ok := c.(*certs.Conn)
	return c, ok && secret.Protocol() == certs.GossipPackets, nil
}

// Dial connects to a member.
func (w *secretWire) Dial(ctx context.Context, address, name string, packets bool) (net.Conn, error) {
	raw, err := w.dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	protocol := certs.GossipStream
	if packets {
		protocol = certs.GossipPackets
	}
	return w.secure.Client(ctx, raw, name, protocol)
}
