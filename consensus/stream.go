package consensus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
)

// StreamLayer carries the bytes between nodes. Its methods are called from many
// goroutines. Close also ends a Dial in progress.
type StreamLayer interface {
	net.Listener
	Dial(address string, timeout time.Duration) (net.Conn, error)
}

// TCP listens on address (host:port, port 0 for any free one) and dials without
// encryption. An occupied port is an error that says so.
func TCP(address string) (StreamLayer, error) {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listen for consensus on %s: the port is in use; stop the process that holds it or choose another address: %w", address, err)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for consensus on %s: %w", address, err)
	}
	return &tcp{Listener: l, closed: make(chan struct{})}, nil
}

type tcp struct {
	net.Listener
	once   sync.Once
	closed chan struct{}
}

// Close stops listening and dialling.
func (t *tcp) Close() error {
	t.once.Do(func() { close(t.closed) })
	return t.Listener.Close()
}

// Dial connects within the timeout.
func (t *tcp) Dial(address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-t.closed:
			cancel()
		case <-done:
		}
	}()
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

// streams is the StreamLayer as Raft sees it: it answers with the advertised
// address and remembers its connections, because Raft's transport leaves those
// it accepted open when it is closed.
type streams struct {
	StreamLayer
	advertise address

	mu       sync.Mutex
	closed   bool
	conns    map[*conn]struct{}
	handlers sync.WaitGroup // of accepted connections
}

var _ raft.StreamLayer = (*streams)(nil)

type address string

// Network returns "tcp".
func (a address) Network() string { return "tcp" }

func (a address) String() string { return string(a) }

func newStreams(layer StreamLayer, advertise string) *streams {
	return &streams{StreamLayer: layer, advertise: address(advertise), conns: map[*conn]struct{}{}}
}

// Addr returns the advertised address.
func (s *streams) Addr() net.Addr { return s.advertise }

// Accept waits for the next connection.
func (s *streams) Accept() (net.Conn, error) {
	c, err := s.StreamLayer.Accept()
	if err != nil {
		return nil, err
	}
	return s.track(c, true)
}

// Dial connects to another node.
func (s *streams) Dial(target raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	c, err := s.StreamLayer.Dial(string(target), timeout)
	if err != nil {
		return nil, err
	}
	return s.track(c, false)
}

func (s *streams) track(c net.Conn, accepted bool) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	t := &conn{Conn: c, from: s, accepted: accepted}
	s.conns[t] = struct{}{}
	if accepted {
		s.handlers.Add(1)
	}
	return t, nil
}

// closeAll closes every connection, now and to come, and waits until those who
// serve accepted ones have noticed.
func (s *streams) closeAll() {
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		_ = c.Conn.Close()
	}
	s.mu.Unlock()
	s.handlers.Wait()
}

type conn struct {
	net.Conn
	from     *streams
	accepted bool
	once     sync.Once
}

// Close closes the connection and forgets it.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.from.mu.Lock()
		delete(c.from.conns, c)
		c.from.mu.Unlock()
		if c.accepted {
			c.from.handlers.Done()
		}
	})
	return err
}
