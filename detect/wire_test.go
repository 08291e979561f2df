package detect

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/stratoswarm/forestall"
)

// plainWire is a Wire over TCP that begins each connection with what it is for.
type plainWire struct {
	net.Listener
	mu     sync.Mutex
	dialed []string // the names
}

func newPlainWire(t testing.TB) *plainWire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &plainWire{Listener: l}
}

func (w *plainWire) Accept() (net.Conn, bool, error) {
	c, err := w.Listener.Accept()
	if err != nil {
		return nil, false, err
	}
	var kind [1]byte
	if _, err := io.ReadFull(c, kind[:]); err != nil {
		c.Close()
		return nil, false, err
	}
	return c, kind[0] == 'p', nil
}

func (w *plainWire) Dial(ctx context.Context, address, name string, packets bool) (net.Conn, error) {
	w.mu.Lock()
	w.dialed = append(w.dialed, name)
	w.mu.Unlock()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	kind := []byte{'s'}
	if packets {
		kind[0] = 'p'
	}
	_, err = c.Write(kind)
	return c, err
}

// onWire gives every member a wire.
func onWire(t testing.TB) func(*MembersConfig) {
	return func(c *MembersConfig) { c.Wire = newPlainWire(t) }
}

// TestMembersGoOverToAWire: members in the clear, members that hear and send UDP
// beside their wire, that hear it, and that do not, find each neighbour on the way.
func TestMembersGoOverToAWire(t *testing.T) {
	steps := []func(*MembersConfig){
		func(*MembersConfig) {},
		func(c *MembersConfig) { c.Wire, c.HearUDP, c.SendUDP = clear{newPlainWire(t)}, true, true },
		func(c *MembersConfig) { c.Wire, c.HearUDP = clear{newPlainWire(t)}, true },
		func(c *MembersConfig) { c.Wire = clear{newPlainWire(t)} },
	}
	for i := range steps[1:] {
		all := group(t, 2, func(c *MembersConfig) {
			if c.Name == "n1" {
				steps[i](c)
			} else {
				steps[i+1](c)
			}
		})
		for _, m := range all {
			m.leave(t)
		}
	}
}

// clear is a wire that takes streams from members without one: it says nothing of
// what its connections are for, but reads the answer off what comes.
type clear struct{ *plainWire }

func (w clear) Accept() (net.Conn, bool, error) {
	c, err := w.Listener.Accept()
	if err != nil {
		return nil, false, err
	}
	p := &peekedConn{Conn: c}
	var kind [1]byte
	if _, err := io.ReadFull(c, kind[:]); err != nil {
		c.Close()
		return nil, false, err
	}
	switch kind[0] {
	case 'p', 's':
		return c, kind[0] == 'p', nil
	default:
		p.first = kind[:]
		return p, false, nil
	}
}

func (w clear) Dial(ctx context.Context, address, name string, packets bool) (net.Conn, error) {
	if packets {
		return w.plainWire.Dial(ctx, address, name, packets)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

type peekedConn struct {
	net.Conn
	first []byte
}

func (p *peekedConn) Read(b []byte) (int, error) {
	if n := copy(b, p.first); n > 0 {
		p.first = p.first[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}

// TestWireNamesWhomItCalls: packets to a known member go to a connection that is
// its own.
func TestWireNamesWhomItCalls(t *testing.T) {
	wires := map[string]*plainWire{}
	group(t, 2, func(c *MembersConfig) {
		wires[c.Name] = newPlainWire(t)
		c.Wire = wires[c.Name]
	})
	await(t, "n1 called n2 by its name", func() bool {
		wires["n1"].mu.Lock()
		defer wires["n1"].mu.Unlock()
		return slices.Contains(wires["n1"].dialed, "n2")
	})
}

// stuckWire never gets through.
type stuckWire struct{ *plainWire }

func (stuckWire) Dial(ctx context.Context, _, _ string, _ bool) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestPacketsDoNotWait: whoever sends to a member that does not answer goes on at
// once, and ends at once.
func TestPacketsDoNotWait(t *testing.T) {
	tr := newTransport(stuckWire{newPlainWire(t)}, nil, false, time.Now)
	for range 10 * packetQueue {
		if _, err := tr.WriteToAddress([]byte("ping"), memberlist.Address{Addr: "192.0.2.1:7073", Name: "n9"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.Shutdown(); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.WriteToAddress([]byte("ping"), memberlist.Address{Addr: "192.0.2.1:7073"}); err == nil {
		t.Error("a packet is taken after the end")
	}
}

// TestWireBreaks: a member whose connections are all cut is called anew and stays
// alive.
func TestWireBreaks(t *testing.T) {
	cut := &cuttable{plainWire: newPlainWire(t)}
	all := group(t, 2, func(c *MembersConfig) {
		c.Wire = newPlainWire(t)
		if c.Name == "n1" {
			_ = c.Wire.Close()
			c.Wire = cut
		}
	})
	for _, what := range []string{"n1 sends packets", "n1 calls again", "n1 calls once more"} {
		await(t, what, func() bool { return cut.cut() > 0 })
	}
	if s := all[1].sees("n1").State; s != forestall.MemberAlive {
		t.Errorf("n2 takes n1 for %s", s)
	}
}

// cuttable remembers what it dialled.
type cuttable struct {
	*plainWire
	conns []net.Conn
}

func (w *cuttable) Dial(ctx context.Context, address, name string, packets bool) (net.Conn, error) {
	c, err := w.plainWire.Dial(ctx, address, name, packets)
	if err == nil && packets {
		w.mu.Lock()
		w.conns = append(w.conns, c)
		w.mu.Unlock()
	}
	return c, err
}

func (w *cuttable) cut() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.conns)
	for _, c := range w.conns {
		c.Close()
	}
	w.conns = nil
	return n
}
