package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"
)

// Protocols that nodes speak over one connection. Both ends must name the same
// one, so that nobody can lead a connection that is meant for one port to another.
const (
	HTTP          = "http/1.1"
	Raft          = "forestall-raft"
	GossipPackets = "forestall-gossip-packets"
	GossipStream  = "forestall-gossip-stream"
)

// Plaintext says what is done without TLS, while a cluster goes over to it.
type Plaintext string

// Steps on the way from plaintext to TLS, and back.
const (
	PlaintextNever  Plaintext = "never"  // TLS only
	PlaintextAccept Plaintext = "accept" // connections are made with TLS, and taken with and without
	PlaintextSend   Plaintext = "send"   // connections are made without TLS, and taken with and without
)

const (
	handshakeTimeout = 5 * time.Second
	lookEvery        = 5 * time.Second // at the files, and at open connections
)

// PeersConfig is what NewPeers needs; all but Plaintext has no default.
type PeersConfig struct {
	Files     Files
	Self      string   // this node
	Nodes     []string // of the cluster, this one too
	Plaintext Plaintext
	Now       func() time.Time
	Logger    *slog.Logger
}

// Peers makes and takes connections between nodes. Its methods may be called from
// any goroutine.
type Peers struct {
	cfg      PeersConfig
	source   *Source
	refusals refusals

	mu   sync.Mutex
	open map[*Conn]struct{}
}

// NewPeers reads the files. It is an error if other nodes would not know this one
// by them; that the certificate has expired is only logged, as a renewal mends it.
func NewPeers(cfg PeersConfig) (*Peers, error) {
	p := &Peers{cfg: cfg, open: map[*Conn]struct{}{}}
	p.refusals = refusals{log: cfg.Logger, now: cfg.Now, said: map[string]bool{}}
	var err error
	if p.source, err = Open(cfg.Files, p.fits, cfg.Logger); err != nil {
		return nil, err
	}
	leaf := p.source.Current().Certificate.Leaf
	level := slog.LevelInfo
	if cfg.Now().After(leaf.NotAfter) || cfg.Now().Before(leaf.NotBefore) {
		level = slog.LevelError // no peer will accept it
	}
	cfg.Logger.Log(context.Background(), level, "peers are known by certificates", "names", leaf.DNSNames, "valid_from", leaf.NotBefore, "expires", leaf.NotAfter, "plaintext", cfg.Plaintext)
	return p, nil
}

// fits says whether this node can use a set: peers must know it by the certificate
// under the same CA.
func (p *Peers) fits(s *Set) error {
	leaf := s.Certificate.Leaf
	if _, ok := named(leaf, []string{p.cfg.Self}); !ok {
		return fmt.Errorf("%s: %s, does not have the DNS name %q, by which peers know this node", p.cfg.Files.Cert, Describe(leaf), p.cfg.Self)
	}
	chain, err := chainOf(s.Certificate)
	if err != nil {
		return fmt.Errorf("%s: %w", p.cfg.Files.Cert, err)
	}
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		at := leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2) // its dates are another matter
		if now := p.cfg.Now(); now.After(leaf.NotBefore) && now.Before(leaf.NotAfter) {
			at = now
		}
		if err := s.verify(chain, use, at); err != nil {
			return fmt.Errorf("%s under %s: %w", p.cfg.Files.Cert, p.cfg.Files.CA, err)
		}
	}
	return nil
}

func chainOf(c *tls.Certificate) (chain []*x509.Certificate, err error) {
	for _, der := range c.Certificate {
		one, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		chain = append(chain, one)
	}
	return chain, nil
}

// Source returns the certificates that peers are shown.
func (p *Peers) Source() *Source { return p.source }

// Run looks at the files and at open connections until ctx ends: a connection
// whose other end would not be accepted any more is closed.
func (p *Peers) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		p.recheck(p.source.Current())
	}
}

// recheck closes connections whose other end is not accepted now. It looks at each:
// one may have been made under what the files held before, and a CA expires too.
func (p *Peers) recheck(set *Set) {
	now := p.cfg.Now()
	p.mu.Lock()
	open := slices.Collect(maps.Keys(p.open))
	p.mu.Unlock()
	for _, c := range open {
		if _, err := set.check(c.state, c.use, c.meant, p.cfg.Nodes, now); err != nil {
			p.refusals.say("a connection is closed: its other end is not accepted any more", c.RemoteAddr(), c.node, err)
			_ = c.Close()
		}
	}
}

// Conn is a connection whose other end is known.
type Conn struct {
	net.Conn
	peers *Peers
	state tls.ConnectionState
	use   x509.ExtKeyUsage // of the other end's certificate
	meant string           // the node that was called; "" of an incoming connection
	node  string
	once  sync.Once
}

// Protocol is what both ends speak; "" without TLS.
func (c *Conn) Protocol() string { return c.state.NegotiatedProtocol }

// Close closes the connection.
func (c *Conn) Close() error {
	c.once.Do(func() {
		c.peers.mu.Lock()
		delete(c.peers.open, c)
		c.peers.mu.Unlock()
	})
	return c.Conn.Close()
}

// Read reads. In TLS 1.3 the caller hears here that the other end has refused its
// certificate.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	var remote *net.OpError
	if errors.As(err, &remote) && remote.Op == "remote error" {
		c.peers.refusals.say("the other engine refuses this one's certificate; its log says why", c.RemoteAddr(), c.node, err)
	}
	return n, err
}

func (p *Peers) track(raw *tls.Conn, use x509.ExtKeyUsage, meant, node string) *Conn {
	c := &Conn{Conn: raw, peers: p, state: raw.ConnectionState(), use: use, meant: meant, node: node}
	p.mu.Lock()
	p.open[c] = struct{}{}
	p.mu.Unlock()
	return c
}

// Client makes a connection to node of one just made to its address; "" is any
// node of the cluster. It takes raw over, also when it fails.
func (p *Peers) Client(ctx context.Context, raw net.Conn, node, protocol string) (net.Conn, error) {
	if p.cfg.Plaintext == PlaintextSend {
		return raw, nil
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	set, name := p.source.Current(), ""
	c := tls.Client(raw, &tls.Config{
		MinVersion:           tls.VersionTLS13,
		NextProtos:           []string{protocol},
		InsecureSkipVerify:   true, // VerifyConnection does it, under the CA that holds now
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return set.Certificate, nil },
		VerifyConnection: func(state tls.ConnectionState) (err error) {
			if state.NegotiatedProtocol != protocol {
				return fmt.Errorf("the other end does not speak %s", protocol)
			}
			name, err = set.check(state, x509.ExtKeyUsageServerAuth, node, p.cfg.Nodes, p.cfg.Now())
			return err
		},
	})
	err := c.HandshakeContext(ctx)
	if err == nil {
		return p.track(c, x509.ExtKeyUsageServerAuth, node, name), nil
	}
	raw.Close()
	var record tls.RecordHeaderError
	var remote *net.OpError
	switch {
	case errors.As(err, &record):
		err = fmt.Errorf("%s does not speak TLS; has its engine a [tls] section? %w", raw.RemoteAddr(), err)
		fallthrough
	case errors.Is(err, ErrUntrusted), errors.Is(err, ErrNotMember):
		p.refusals.say("the other engine's certificate is not accepted", raw.RemoteAddr(), node, err)
	case errors.As(err, &remote) && remote.Op == "remote error":
		p.refusals.say("the other engine refuses this one's certificate; its log says why", raw.RemoteAddr(), node, err)
	}
	return nil, fmt.Errorf("TLS with %s: %w", raw.RemoteAddr(), err)
}

// refusals logs what peers are refused for, each once a minute, and so many in a
// minute: a stranger can make up as many as it likes.
type refusals struct {
	log *slog.Logger
	now func() time.Time

	mu    sync.Mutex
	began time.Time // of this minute
	said  map[string]bool
}

const (
	repeatRefusal = time.Minute
	maxRefusals   = 100
)

func (r *refusals) say(what string, remote net.Addr, node string, why error) {
	host, _, err := net.SplitHostPort(remote.String())
	if err != nil {
		host = remote.String()
	}
	key, now := what+host+node+why.Error(), r.now()
	r.mu.Lock()
	if now.Sub(r.began) >= repeatRefusal {
		r.began = now
		clear(r.said)
	}
	again := r.said[key] || len(r.said) > maxRefusals
	r.said[key] = r.said[key] || !again
	full := !again && len(r.said) > maxRefusals
	r.mu.Unlock()
	if again {
		return
	}
	if full {
		r.log.Warn("so many refusals that no more are told in this minute", "told", maxRefusals)
		return
	}
	attrs := []any{"remote", remote.String(), "error", why}
	if node != "" {
		attrs = append(attrs, "peer", node)
	}
	r.log.Warn(what, attrs...)
}
