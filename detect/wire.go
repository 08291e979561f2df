package detect

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Wire carries gossip over connections whose both ends are known, where UDP would
// carry it in the clear: a Wire has one connection for the packets to each member
// and one for each longer exchange. Its methods are called from many goroutines.
type Wire interface {
	// Accept waits for a connection of another member, and says what it is for.
	Accept() (c net.Conn, packets bool, err error)
	// Dial connects to the member at host:port, which is to be the one of that name;
	// "" stands for any member.
	Dial(ctx context.Context, address, name string, packets bool) (net.Conn, error)
	Addr() net.Addr
	Close() error
}

const (
	packetQueue    = 256 // to one member; what is more is lost, as with UDP
	packetPatience = time.Second
	packetIdle     = 10 * time.Minute // of a connection that is not needed
)

// transport is memberlist's network over a Wire, and over UDP as long as other
// members use that.
type transport struct {
	wire    Wire
	udp     net.PacketConn // nil: none
	sendUDP bool
	now     func() time.Time
	packets chan *memberlist.Packet
	streams chan net.Conn

	ctx     context.Context // ends what memberlist began, which knows no contexts
	stop    context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex
	senders map[memberlist.Address]chan []byte
	closed  bool
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

func newTransport(wire Wire, udp net.PacketConn, sendUDP bool, now func() time.Time) *transport {
	t := &transport{
		wire: wire, udp: udp, sendUDP: sendUDP, now: now,
		packets: make(chan *memberlist.Packet), streams: make(chan net.Conn), senders: map[memberlist.Address]chan []byte{},
	}
	t.ctx, t.stop = context.WithCancel(context.Background())
	t.running.Go(t.accept)
	if udp != nil {
		t.running.Go(t.receiveUDP)
	}
	return t
}

// FinalAdvertiseAddr returns what others are told: the address given, or the one
// that is listened on.
func (t *transport) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	at, ok := t.wire.Addr().(*net.TCPAddr)
	if !ok {
		return nil, 0, fmt.Errorf("gossip listens on %v, which is not TCP", t.wire.Addr())
	}
	if ip != "" {
		at = &net.TCPAddr{IP: net.ParseIP(ip), Port: port}
	}
	if at.IP == nil || at.IP.IsUnspecified() {
		return nil, 0, errors.New("members Advertise: give the address under which others reach this one")
	}
	if v4 := at.IP.To4(); v4 != nil {
		return v4, at.Port, nil
	}
	return at.IP, at.Port, nil
}

// WriteTo sends a packet to the member at an address, whichever it is.
func (t *transport) WriteTo(b []byte, address string) (time.Time, error) {
	return t.WriteToAddress(b, memberlist.Address{Addr: address})
}

// WriteToAddress sends a packet to a member. It does not wait: like UDP it may
// lose the packet.
func (t *transport) WriteToAddress(b []byte, to memberlist.Address) (time.Time, error) {
	if len(b) > 0xffff {
		return time.Time{}, fmt.Errorf("a packet of %d bytes", len(b))
	}
	if t.sendUDP {
		at, err := net.ResolveUDPAddr("udp", to.Addr)
		if err == nil {
			_, err = t.udp.WriteTo(b, at)
		}
		return t.now(), err
	}
	frame := append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(b)), uint16(len(b))), b...)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return time.Time{}, net.ErrClosed
	}
	queue := t.senders[to]
	if queue == nil {
		queue = make(chan []byte, packetQueue)
		t.senders[to] = queue
		t.running.Go(func() { t.send(to, queue) })
	}
	select {
	case queue <- frame:
	default:
	}
	return t.now(), nil
}

// send carries packets to one member until its connection breaks or is long not
// needed. What is in the queue then is lost.
func (t *transport) send(to memberlist.Address, queue chan []byte) {
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.senders, to)
	}()
	dialing, cancel := context.WithTimeout(t.ctx, packetPatience)
	conn, err := t.wire.Dial(dialing, to.Addr, to.Name, true)
	cancel()
	if err != nil {
		return // the probes tell of it
	}
	broken := make(chan struct{})
	t.running.Go(func() { // nothing comes: this waits for the end
		defer close(broken)
		_, _ = conn.Read(make([]byte, 1))
	})
	defer func() { conn.Close(); <-broken }()
	idle := time.NewTimer(packetIdle)
	defer idle.Stop()
	for {
		select {
		case frame := <-queue:
			_ = conn.SetWriteDeadline(time.Now().Add(packetPatience))
			if _, err := conn.Write(frame); err != nil {
				return
			}
			idle.Reset(packetIdle)
		case <-idle.C:
			return
		case <-broken:
			return
		case <-t.ctx.Done():
			flush(conn, queue)
			return
		}
	}
}

// flush sends what is left: the last word of a member that leaves.
func flush(conn net.Conn, queue chan []byte) {
	_ = conn.SetWriteDeadline(time.Now().Add(packetPatience))
	for {
		select {
		case frame := <-queue:
			if _, err := conn.Write(frame); err != nil {
				return
			}
		default:
			return
		}
	}
}

// accept takes connections of other members.
func (t *transport) accept() {
	for t.ctx.Err() == nil {
		c, packets, err := t.wire.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // such as too many open files
			select {
			case <-time.After(100 * time.Millisecond):
			case <-t.ctx.Done():
			}
		case packets:
			t.running.Go(func() { t.receive(c) })
		default:
			select {
			case t.streams <- c:
			case <-t.ctx.Done():
				c.Close()
			}
		}
	}
}

// receive takes packets from one connection.
func (t *transport) receive(c net.Conn) {
	end := context.AfterFunc(t.ctx, func() { c.Close() })
	defer func() {
		end()
		c.Close()
	}()
	r := bufio.NewReader(c)
	for {
		var size [2]byte
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return
		}
		b := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(r, b); err != nil || !t.deliver(b, c.RemoteAddr()) {
			return
		}
	}
}

func (t *transport) receiveUDP() {
	for {
		b := make([]byte, 0xffff)
		n, from, err := t.udp.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) || err == nil && n > 0 && !t.deliver(b[:n:n], from) {
			return
		}
	}
}

func (t *transport) deliver(b []byte, from net.Addr) bool {
	if len(b) == 0 {
		return true
	}
	select {
	case t.packets <- &memberlist.Packet{Buf: b, From: from, Timestamp: t.now()}:
		return true
	case <-t.ctx.Done():
		return false
	}
}

// PacketCh returns what comes in packets.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// DialTimeout connects to the member at an address, whichever it is.
func (t *transport) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: address}, timeout)
}

// DialAddressTimeout connects to a member for one exchange.
func (t *transport) DialAddressTimeout(to memberlist.Address, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.ctx, timeout)
	defer cancel()
	return t.wire.Dial(ctx, to.Addr, to.Name, false)
}

// StreamCh returns the connections of others for longer exchanges.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// Shutdown ends everything and waits for it.
func (t *transport) Shutdown() error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.stop()
	err := t.wire.Close()
	if t.udp != nil {
		err = errors.Join(err, t.udp.Close())
	}
	t.running.Wait()
	return err
}
