package certs

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Listener takes connections of nodes of the cluster; others never reach Accept.
type Listener struct {
	net.Listener
	peers     *Peers
	protocols []string
	accepted  chan acceptance
	closed    <-chan struct{}
	stop      context.CancelFunc
	running   sync.WaitGroup
}

type acceptance struct {
	conn net.Conn
	err  error
}

// Listen takes connections in one of the protocols from a listener, which it owns
// from then on.
func (p *Peers) Listen(inner net.Listener, protocols ...string) *Listener {
	ctx, stop := context.WithCancel(context.Background())
	l := &Listener{Listener: inner, peers: p, protocols: protocols, accepted: make(chan acceptance), closed: ctx.Done(), stop: stop}
	l.running.Go(func() { l.take(ctx) })
	return l
}

// Accept waits for the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case a := <-l.accepted:
		return a.conn, a.err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close stops listening, ends handshakes under way and waits for them.
func (l *Listener) Close() error {
	l.stop()
	err := l.Listener.Close()
	l.running.Wait()
	return err
}

// take shakes hands with each who comes, all at once: one who is slow holds up
// nobody.
func (l *Listener) take(ctx context.Context) {
	for ctx.Err() == nil {
		raw, err := l.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			l.give(acceptance{err: err})
			continue
		}
		l.running.Go(func() {
			if conn, ok := l.shake(ctx, raw); ok {
				l.give(acceptance{conn: conn})
			}
		})
	}
}

func (l *Listener) give(a acceptance) {
	select {
	case l.accepted <- a:
	case <-l.closed:
		if a.conn != nil {
			a.conn.Close()
		}
	}
}

// tlsHandshake is the first byte of every TLS connection, and of nothing that
// engines say without it.
const tlsHandshake = 22

// shake lets a node in. A refusal is logged here and told to the other end.
func (l *Listener) shake(listening context.Context, raw net.Conn) (net.Conn, bool) {
	ctx, cancel := context.WithTimeout(listening, handshakeTimeout)
	defer cancel()
	if l.peers.cfg.Plaintext != PlaintextNever {
		p, err := peek(ctx, raw)
		if err != nil {
			raw.Close()
			return nil, false
		}
		if p.first != tlsHandshake {
			return p, true
		}
		raw = p
	}
	set, name := l.peers.source.Current(), ""
	conn := tls.Server(raw, &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             l.protocols,
		Certificates:           []tls.Certificate{*set.Certificate},
		ClientAuth:             tls.RequireAnyClientCert, // VerifyConnection looks at it
		SessionTicketsDisabled: true,                     // every connection is verified
		VerifyConnection: func(state tls.ConnectionState) (err error) {
			if !slices.Contains(l.protocols, state.NegotiatedProtocol) {
				return fmt.Errorf("it speaks none of %v", l.protocols)
			}
			name, err = set.check(state, x509.ExtKeyUsageClientAuth, "", l.peers.cfg.Nodes, l.peers.cfg.Now())
			return err
		},
	})
	err := conn.HandshakeContext(ctx)
	if err == nil {
		return l.peers.track(conn, x509.ExtKeyUsageClientAuth, "", name), true
	}
	defer raw.Close()
	if listening.Err() != nil || gone(err) {
		return nil, false
	}
	var record tls.RecordHeaderError
	if errors.As(err, &record) && record.Conn != nil {
		err = errors.New("it does not speak TLS: an engine without a [tls] section, or another program")
		if slices.Contains(l.protocols, HTTP) {
			_ = raw.SetWriteDeadline(time.Now().Add(time.Second))
			const body = `{"error":"this engine takes orders over mutual TLS only: give this one a [tls] section"}` + "\n"
			fmt.Fprintf(raw, "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
		}
	}
	l.peers.refusals.say("a connection is refused", raw.RemoteAddr(), "", err)
	return nil, false
}

// gone reports whether the other end went away, or said nothing, rather than being
// refused: it was stopped, or looked whether the port is open.
func gone(err error) bool {
	for _, end := range []error{io.EOF, syscall.ECONNRESET, syscall.EPIPE, context.DeadlineExceeded} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

// peeked is a connection of which the first byte has been looked at.
type peeked struct {
	net.Conn
	rest  *bufio.Reader
	first byte
}

func peek(ctx context.Context, raw net.Conn) (*peeked, error) {
	end := context.AfterFunc(ctx, func() { _ = raw.SetReadDeadline(time.Unix(1, 0)) })
	p := &peeked{Conn: raw, rest: bufio.NewReaderSize(raw, 512)}
	b, err := p.rest.Peek(1)
	if !end() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	p.first = b[0]
	return p, nil
}

func (p *peeked) Read(b []byte) (int, error) { return p.rest.Read(b) }
