package certs_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stratoswarm/forestall/internal/certs"
	"github.com/stratoswarm/forestall/internal/certs/certstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// log is a log that can be read while it is written.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *log) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// await polls until ok, and fails the test after a long while.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) { // between two looks
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

var nodes = []string{"n1", "n2", "n3"}

// node is a Peers with a log, and, once it serves, an address.
type node struct {
	*certs.Peers
	log     *log
	files   certs.Files
	address string
}

func newNode(t *testing.T, self string, files certs.Files, change ...func(*certs.PeersConfig)) *node {
	t.Helper()
	n := &node{log: &log{}, files: files}
	cfg := certs.PeersConfig{Files: files, Self: self, Nodes: nodes, Plaintext: certs.PlaintextNever, Now: time.Now, Logger: n.log.logger()}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if n.Peers, err = certs.NewPeers(cfg); err != nil {
		t.Fatal(err)
	}
	return n
}

// serve echoes what nodes of the cluster send.
func (n *node) serve(t *testing.T, protocols ...string) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.address = inner.Addr().String()
	l := n.Listen(inner, protocols...)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { _, _ = io.Copy(c, c); c.Close() })
		}
	})
	t.Cleanup(func() { _ = l.Close(); running.Wait() })
}

// dial connects to an address as a node of that name.
func (n *node) dial(t *testing.T, address, name, protocol string) (net.Conn, error) {
	t.Helper()
	raw, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return n.Client(t.Context(), raw, name, protocol)
}

// echo sends a word and hears it again.
func echo(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 5))
	return err
}

func TestPeersKnowEachOther(t *testing.T) {
	ca, other := certstest.NewCA(t, "ours"), certstest.NewCA(t, "theirs")
	server := newNode(t, "n1", ca.Write(t, t.TempDir(), []string{"n1", "127.0.0.1"}))
	server.serve(t, certs.HTTP)
	for _, tc := range []struct {
		name        string
		files       func() certs.Files
		self, meant string
		protocol    string
		here, there string // in the logs; "": let in
	}{
		{"a node", func() certs.Files { return ca.Write(t, t.TempDir(), []string{"n2"}) }, "n2", "n1", certs.HTTP, "", ""},
		{"any node is meant", func() certs.Files { return ca.Write(t, t.TempDir(), []string{"n2"}) }, "n2", "", certs.HTTP, "", ""},
		{"another CA's", func() certs.Files { return other.Write(t, t.TempDir(), []string{"n2"}, ca, other) }, "n2", "n1", certs.HTTP, "refuses this one's certificate", "no CA that is trusted here signed it"},
		{"it trusts another CA", func() certs.Files { return other.Write(t, t.TempDir(), []string{"n2"}) }, "n2", "n1", certs.HTTP, "no CA that is trusted here signed it", "remote error: tls: bad certificate"},
		{"no node of the cluster", func() certs.Files { return ca.Write(t, t.TempDir(), []string{"web"}) }, "web", "n1", certs.HTTP, "refuses this one's certificate", "cluster.nodes has n1, n2, n3"},
		{"a wildcard", func() certs.Files { return ca.Write(t, t.TempDir(), []string{"*", "*.2"}) }, "*", "n1", certs.HTTP, "refuses this one's certificate", "cluster.nodes has n1, n2, n3"},
		{"another node is meant", func() certs.Files { return ca.Write(t, t.TempDir(), []string{"n2"}) }, "n2", "n3", certs.HTTP, "does not have the DNS name \\\"n3\\\"", "remote error: tls: bad certificate"},
		{"another port is meant", func() certs.Files { return ca.Write(t, t.TempDir(), []string{"n2"}) }, "n2", "n1", certs.Raft, "", "unsupported application protocols"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client := newNode(t, tc.self, tc.files())
			c, err := client.dial(t, server.address, tc.meant, tc.protocol)
			if err == nil {
				err = echo(c)
				c.Close()
			}
			if wanted := tc.here == "" && tc.there == ""; wanted != (err == nil) {
				t.Errorf("error %v", err)
			}
			if !strings.Contains(client.log.String(), tc.here) {
				t.Errorf("the caller's log does not have %q:\n%s", tc.here, client.log)
			}
			await(t, "the refusal is in the server's log: "+tc.there, func() bool { return strings.Contains(server.log.String(), tc.there) })
		})
	}
}

// TestIntermediates: a certificate comes with those between it and the CA; without
// them it is signed by nobody.
func TestIntermediates(t *testing.T) {
	root := certstest.NewCA(t, "root")
	sub := root.Sub(t, "sub")
	server := newNode(t, "n1", root.Write(t, t.TempDir(), []string{"n1"}))
	server.serve(t, certs.Raft)
	files := sub.Write(t, t.TempDir(), []string{"n2"}, root)
	_, err := certs.NewPeers(certs.PeersConfig{Files: files, Self: "n2", Nodes: nodes, Now: time.Now, Logger: (&log{}).logger()})
	if !errors.Is(err, certs.ErrUntrusted) {
		t.Errorf("without the intermediate certificate: %v", err)
	}
	leaf, err := os.ReadFile(files.Cert)
	if err != nil {
		t.Fatal(err)
	}
	certstest.Replace(t, files.Cert, append(leaf, certstest.PEM(sub)...))
	client := newNode(t, "n2", files)
	c, err := client.dial(t, server.address, "n1", certs.Raft)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := echo(c); err != nil {
		t.Error(err)
	}
	who := certs.Who{Node: "n2", Uses: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	if found := files.Look(who, time.Now()); len(found) != 1 || found[0].Level != certs.OK {
		t.Errorf("looked at: %v", found)
	}
}

// TestPeersByDates: what has expired or is not valid yet, and what is not made for
// the use, lets nobody in; what expires closes what it opened.
func TestPeersByDates(t *testing.T) {
	ca := certstest.NewCA(t, "ours")
	server := newNode(t, "n1", ca.Write(t, t.TempDir(), []string{"n1"}))
	server.serve(t, certs.Raft)
	issue := func(change func(*x509.Certificate)) certs.Files {
		files := ca.Write(t, t.TempDir(), []string{"n2"})
		cert, key := ca.Issue(t, []string{"n2"}, change)
		certstest.Replace(t, files.Cert, cert)
		certstest.Replace(t, files.Key, key)
		return files
	}
	for want, change := range map[string]func(*x509.Certificate){
		"expired at":       func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) },
		"not valid before": func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) },
	} {
		client := newNode(t, "n2", issue(change))
		if !strings.Contains(client.log.String(), "level=ERROR") {
			t.Errorf("%s: not said at the start:\n%s", want, client.log)
		}
		if c, err := client.dial(t, server.address, "n1", certs.Raft); err == nil {
			if err := echo(c); err == nil {
				t.Errorf("%s: let in", want)
			}
			c.Close()
		}
		await(t, want+" is in the log", func() bool { return strings.Contains(server.log.String(), want) })
	}
	only := issue(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	_, err := certs.NewPeers(certs.PeersConfig{Files: only, Self: "n2", Nodes: nodes, Now: time.Now, Logger: (&log{}).logger()})
	if err == nil || !strings.Contains(err.Error(), "engines need both serverAuth and clientAuth") {
		t.Errorf("a certificate for servers only: %v", err)
	}
}

// TestFilesOfAnotherNode: an engine does not start with what no peer would accept.
func TestFilesOfAnotherNode(t *testing.T) {
	ca, other := certstest.NewCA(t, "ours"), certstest.NewCA(t, "theirs")
	open := func(f certs.Files) error {
		_, err := certs.NewPeers(certs.PeersConfig{Files: f, Self: "n1", Nodes: nodes, Now: time.Now, Logger: (&log{}).logger()})
		return err
	}
	mixed := ca.Write(t, t.TempDir(), []string{"n1"})
	mixed.Key = ca.Write(t, t.TempDir(), []string{"n1"}).Key
	missing := ca.Write(t, t.TempDir(), []string{"n1"})
	missing.CA += ".none"
	for want, f := range map[string]certs.Files{
		`does not have the DNS name "n1", by which peers know this node`: ca.Write(t, t.TempDir(), []string{"n2"}),
		"no CA that is trusted here signed it":                           ca.Write(t, t.TempDir(), []string{"n1"}, other),
		"private key does not match":                                     mixed,
		"no such file":                                                   missing,
	} {
		if err := open(f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// TestRotation: certificates and the CA are replaced one after the other while
// connections are made all the time. None fails, and in the end those of the
// removed CA are closed.
func TestRotation(t *testing.T) {
	old, fresh := certstest.NewCA(t, "old"), certstest.NewCA(t, "new")
	dirs := []string{t.TempDir(), t.TempDir()}
	all := []*node{newNode(t, "n1", old.Write(t, dirs[0], []string{"n1"})), newNode(t, "n2", old.Write(t, dirs[1], []string{"n2"}))}
	for _, n := range all {
		n.serve(t, certs.Raft)
	}
	connect := func(from, to int) net.Conn {
		c, err := all[from].dial(t, all[to].address, nodes[to], certs.Raft)
		if err == nil {
			err = echo(c)
		}
		if err != nil {
			t.Fatalf("%s to %s: %v\n%s\n%s", nodes[from], nodes[to], err, all[0].log, all[1].log)
		}
		return c
	}
	both := func() {
		connect(0, 1).Close()
		connect(1, 0).Close()
	}
	lasting := []net.Conn{connect(0, 1), connect(1, 0)}
	both()
	for i := range all { // first both CAs are trusted everywhere
		certstest.Replace(t, all[i].files.CA, certstest.PEM(old, fresh))
		both()
	}
	for i := range all { // then each node gets a certificate of the new one, its two files not at once
		cert, key := fresh.Issue(t, []string{nodes[i]})
		certstest.Replace(t, all[i].files.Cert, cert)
		both()
		if !strings.Contains(all[i].log.String(), "changed certificates are not used") {
			t.Errorf("not said that key and certificate do not fit:\n%s", all[i].log)
		}
		certstest.Replace(t, all[i].files.Key, key)
		both()
	}
	for _, n := range all {
		n.Recheck(n.Source().Current())
	}
	for _, c := range lasting {
		if err := echo(c); err != nil {
			t.Errorf("a connection of before is cut while its CA is trusted: %v", err)
		}
	}
	for i := range all { // at last the old one is trusted no more
		certstest.Replace(t, all[i].files.CA, certstest.PEM(fresh))
		both()
	}
	for _, n := range all {
		n.Recheck(n.Source().Current())
	}
	for _, c := range lasting {
		if err := echo(c); err == nil {
			t.Error("a connection under the CA that was removed goes on")
		}
		c.Close()
	}
	both()
}

// TestPlaintextSteps: each step of the way to TLS and back speaks with the ones
// before and after it.
func TestPlaintextSteps(t *testing.T) {
	ca := certstest.NewCA(t, "ours")
	var all []*node
	for i, mode := range []certs.Plaintext{certs.PlaintextSend, certs.PlaintextAccept, certs.PlaintextNever} {
		n := newNode(t, nodes[i], ca.Write(t, t.TempDir(), []string{nodes[i]}), func(c *certs.PeersConfig) { c.Plaintext = mode })
		n.serve(t, certs.Raft)
		all = append(all, n)
	}
	for from, client := range all {
		for to, server := range all {
			c, err := client.dial(t, server.address, nodes[to], certs.Raft)
			if err == nil {
				err = echo(c)
				_, secret := c.(*certs.Conn)
				if secret != (from > 0) {
					t.Errorf("step %d to %d: TLS %v", from, to, secret)
				}
				c.Close()
			}
			if want := from > 0 || to < 2; want != (err == nil) {
				t.Errorf("step %d to %d: error %v", from, to, err)
			}
		}
	}
	plain, err := net.Dial("tcp", all[1].address)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if err := echo(plain); err != nil {
		t.Errorf("an engine without [tls] to one that accepts it: %v", err)
	}
}

// TestPlaintextIsTold: an engine without [tls] hears what it lacks, and one with
// it what the other lacks.
func TestPlaintextIsTold(t *testing.T) {
	ca := certstest.NewCA(t, "ours")
	server := newNode(t, "n1", ca.Write(t, t.TempDir(), []string{"n1"}))
	server.serve(t, certs.HTTP)
	r, err := http.Post("http://"+server.address+"/peer/report", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(r.Body)
	r.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if r.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), "mutual TLS only") {
		t.Errorf("%s %s", r.Status, body)
	}
	await(t, "it is in the log", func() bool { return strings.Contains(server.log.String(), "it does not speak TLS") })

	plain := &http.Server{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = plain.Serve(l) }()
	defer func() { _ = plain.Close(); <-ended }()
	if _, err := server.dial(t, l.Addr().String(), "n2", certs.HTTP); err == nil || !strings.Contains(err.Error(), "does not speak TLS; has its engine a [tls] section?") {
		t.Errorf("error %v", err)
	}
	known, err := tls.LoadX509KeyPair(server.files.Cert, server.files.Key)
	if err != nil {
		t.Fatal(err)
	}
	old := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{known}, NextProtos: []string{certs.HTTP}}
	if _, err := (&tls.Dialer{Config: old}).DialContext(context.Background(), "tcp", server.address); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("in TLS 1.2: %v", err)
	}
}

// TestRefusalsDoNotFillTheLog: a node that tries all the time is told of once a
// minute, and a stranger who makes up a new certificate for each attempt not without
// end, nor at length.
func TestRefusalsDoNotFillTheLog(t *testing.T) {
	ca := certstest.NewCA(t, "ours")
	var ahead atomic.Int64
	server := newNode(t, "n1", ca.Write(t, t.TempDir(), []string{"n1"}), func(c *certs.PeersConfig) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	server.serve(t, certs.HTTP)
	plain := func() {
		c, err := net.Dial("tcp", server.address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
		_, _ = io.ReadAll(c)
	}
	count := func() int { return strings.Count(server.log.String(), "it does not speak TLS") }
	for range 20 {
		plain()
		look, err := net.Dial("tcp", server.address) // is the port open?
		if err != nil {
			t.Fatal(err)
		}
		look.Close()
	}
	if n := count(); n != 1 || strings.Count(server.log.String(), "level=WARN") != 1 {
		t.Errorf("said %d times:\n%s", n, server.log)
	}
	ahead.Store(int64(61 * time.Second))
	plain()
	if n := count(); n != 2 {
		t.Errorf("said %d times after a minute", n)
	}
	other := certstest.NewCA(t, "theirs")
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf("name-%d", i))
	}
	for i := range 150 {
		names[0] = fmt.Sprintf("stranger-%d", i)
		cert, key := other.Issue(t, names)
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		c, err := tls.Dial("tcp", server.address, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}, NextProtos: []string{certs.HTTP}})
		if err == nil {
			_, _ = io.ReadAll(c)
			_ = c.Close()
		}
	}
	text := server.log.String()
	if n := strings.Count(text, "a connection is refused"); n != 101 { // and the one a minute before
		t.Errorf("%d refusals are told", n)
	}
	if n := strings.Count(text, "no more are told in this minute"); n != 1 || len(text) > 150*1000 {
		t.Errorf("that there are more is told %d times; the log has %d bytes", n, len(text))
	}
}
