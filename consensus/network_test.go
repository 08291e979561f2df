package consensus

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// network breaks connections between nodes. A connection belongs to the node
// that dialled it; what happens to it happens in both directions.
type network struct {
	mu    sync.Mutex
	names map[string]string // address -> ID
	cut   map[[2]string]bool
	wires map[*wire]struct{}
	held  map[string]chan struct{}
	muted map[string]bool
}

func newNetwork() *network {
	return &network{
		names: map[string]string{}, cut: map[[2]string]bool{}, wires: map[*wire]struct{}{},
		held: map[string]chan struct{}{}, muted: map[string]bool{},
	}
}

func (n *network) name(address, id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[address] = id
}

// sever cuts the pair and breaks its connections.
func (n *network) sever(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[[2]string{a, b}], n.cut[[2]string{b, a}] = true, true
	for w := range n.wires {
		if w.from == a && w.to == b || w.from == b && w.to == a {
			_ = w.Conn.Close()
		}
	}
}

func (n *network) isolate(id string, peers []Server) {
	for _, p := range peers {
		if p.ID != id {
			n.sever(id, p.ID)
		}
	}
}

func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.muted)
	clear(n.cut)
}

func (n *network) layer(id string, l StreamLayer) StreamLayer {
	return &hooked{StreamLayer: l, net: n, id: id}
}

type hooked struct {
	StreamLayer
	net *network
	id  string
}

// Dial connects unless the pair is cut, or was meanwhile.
func (h *hooked) Dial(address string, timeout time.Duration) (net.Conn, error) {
	h.net.mu.Lock()
	to := h.net.names[address]
	pair := [2]string{h.id, to}
	cut := h.net.cut[pair]
	h.net.mu.Unlock()
	if cut {
		return nil, fmt.Errorf("%s cannot reach %s", h.id, to)
	}
	c, err := h.StreamLayer.Dial(address, timeout)
	if err != nil {
		return nil, err
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.net.cut[pair] {
		_ = c.Close()
		return nil, fmt.Errorf("%s can reach %s no more", h.id, to)
	}
	w := &wire{Conn: c, net: h.net, from: h.id, to: to}
	h.net.wires[w] = struct{}{}
	return w, nil
}

// wire is a dialled connection.
type wire struct {
	net.Conn
	net      *network
	from, to string
	waiting  int // answers kept back; guarded by net.mu
}

// Read keeps the answer back while answers to the dialling node are held.
func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	w.net.mu.Lock()
	held := w.net.held[w.from]
	if held != nil {
		w.waiting++
	}
	w.net.mu.Unlock()
	if held != nil {
		<-held
	}
	return n, err
}

// Write loses what a muted node says.
func (w *wire) Write(b []byte) (int, error) {
	w.net.mu.Lock()
	muted := w.net.muted[w.from]
	w.net.mu.Unlock()
	if muted {
		return len(b), nil
	}
	return w.Conn.Write(b)
}

// Close ends the connection.
func (w *wire) Close() error {
	w.net.mu.Lock()
	delete(w.net.wires, w)
	w.net.mu.Unlock()
	return w.Conn.Close()
}

// hold keeps back what is answered to the node from now on, until the returned
// function is called.
func (n *network) hold(id string) (release func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	held := make(chan struct{})
	n.held[id] = held
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.held, id)
		close(held)
	}
}

// holding returns the nodes whose answers to id are being held.
func (n *network) holding(id string) map[string]bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := map[string]bool{}
	for w := range n.wires {
		if w.from == id && w.waiting > 0 {
			out[w.to] = true
		}
	}
	return out
}

// mute loses what the node says on connections that it dialled, from now on.
func (n *network) mute(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.muted[id] = true
}
