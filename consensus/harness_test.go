package consensus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quick is a timing for tests: a new leader within about 0.2 s, yet with room
// for a busy machine.
var quick = Timing{Heartbeat: 100 * time.Millisecond, Election: 100 * time.Millisecond, LeaderLease: 100 * time.Millisecond, Commit: 10 * time.Millisecond}

// steady is for tests that a change of leaders which they did not ask for would
// spoil: it takes a busy machine that stands still for a second.
func steady(cfg *Config) {
	cfg.Timing.Heartbeat, cfg.Timing.Election, cfg.Timing.LeaderLease = time.Second, time.Second, time.Second
}

// await polls until ok, and fails the test after a long while.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	stop := time.After(30 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-stop:
			t.Fatalf("waited 30 s in vain until %s", what)
		}
	}
}

// recorder is a state machine whose state is its history.
type recorder struct {
	mu      sync.Mutex
	entries []entry
}

type entry struct {
	Index uint64
	Cmd   string
}

func (r *recorder) Apply(index uint64, cmd []byte) any {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = append(r.entries, entry{index, string(cmd)})
	return len(r.entries)
}

func (r *recorder) Snapshot() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return json.Marshal(r.entries)
}

func (r *recorder) Restore(b []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = nil
	return json.Unmarshal(b, &r.entries)
}

func (r *recorder) history() []entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.entries)
}

// cluster is some nodes on loopback whose connections go through a network of
// the test's.
type cluster struct {
	t     testing.TB
	net   *network
	dir   string
	tune  func(*Config)
	peers []Server
	nodes map[string]*peer
	again map[string]bool // commands proposed more than once, as it was uncertain what became of them
}

type peer struct {
	*Node
	fsm  *recorder
	stop context.CancelFunc
	done chan error
}

// newCluster starts n voters named a, b, c...
func newCluster(t testing.TB, n int, tune func(*Config)) *cluster {
	t.Helper()
	c := &cluster{t: t, net: newNetwork(), dir: t.TempDir(), tune: tune, nodes: map[string]*peer{}, again: map[string]bool{}}
	var layers []StreamLayer
	for i := range n {
		id := string(rune('a' + i))
		l := c.listen("127.0.0.1:0")
		layers = append(layers, l)
		c.peers = append(c.peers, Server{ID: id, Address: l.Addr().String(), Voter: true})
		c.net.name(l.Addr().String(), id)
	}
	for i, s := range c.peers {
		c.open(s.ID, layers[i], c.peers)
	}
	t.Cleanup(func() {
		c.net.heal()
		for id := range c.nodes {
			c.stop(id)
		}
	})
	return c
}

func (c *cluster) listen(address string) StreamLayer {
	c.t.Helper()
	var l StreamLayer
	await(c.t, address+" is free", func() (ok bool) {
		var err error
		l, err = TCP(address)
		return err == nil
	})
	return l
}

func (c *cluster) open(id string, l StreamLayer, bootstrap []Server) *peer {
	c.t.Helper()
	p := &peer{fsm: &recorder{}, done: make(chan error, 1)}
	cfg := Config{ID: id, Dir: filepath.Join(c.dir, id), Stream: c.net.layer(id, l), Bootstrap: bootstrap, Timing: quick}
	if c.tune != nil {
		c.tune(&cfg)
	}
	n, err := Open(cfg, p.fsm)
	if err != nil {
		c.t.Fatalf("open %s: %v", id, err)
	}
	p.Node = n
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	go func() { p.done <- n.Run(ctx) }()
	c.nodes[id] = p
	return p
}

// stop ends a node in order.
func (c *cluster) stop(id string) {
	c.t.Helper()
	p := c.nodes[id]
	delete(c.nodes, id)
	p.stop()
	if err := <-p.done; err != nil {
		c.t.Errorf("run %s: %v", id, err)
	}
}

// kill cuts a node off and then ends it, so that it cannot say good-bye.
func (c *cluster) kill(id string) {
	c.t.Helper()
	c.net.isolate(id, c.peers)
	p := c.nodes[id]
	delete(c.nodes, id)
	if err := p.Close(); err != nil {
		c.t.Errorf("close %s: %v", id, err)
	}
	p.stop()
	if err := <-p.done; err != nil {
		c.t.Errorf("run %s: %v", id, err)
	}
}

// restart opens a node again from its directory, reachable.
func (c *cluster) restart(id string) *peer {
	c.t.Helper()
	c.net.heal()
	i := slices.IndexFunc(c.peers, func(s Server) bool { return s.ID == id })
	return c.open(id, c.listen(c.peers[i].Address), c.peers)
}

// leader waits until one of the named nodes (all, if none) leads and is
// confirmed by a quorum.
func (c *cluster) leader(among ...string) *peer {
	c.t.Helper()
	var found *peer
	await(c.t, fmt.Sprintf("one of %v leads", among), func() bool {
		for id, p := range c.nodes {
			if len(among) > 0 && !slices.Contains(among, id) || !p.IsLeader() {
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			err := p.Verify(ctx)
			cancel()
			if err == nil {
				found = p
				return true
			}
		}
		return false
	})
	return found
}

// others returns the IDs of the running nodes but one.
func (c *cluster) others(id string) []string {
	var out []string
	for other := range c.nodes {
		if other != id {
			out = append(out, other)
		}
	}
	slices.Sort(out)
	return out
}

// propose commits cmd through whoever leads, retrying while that is undecided.
func (c *cluster) propose(cmd string, among ...string) Result {
	c.t.Helper()
	var res Result
	await(c.t, "commit "+cmd, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		var err error
		res, err = c.leader(among...).Propose(ctx, []byte(cmd))
		if errors.Is(err, ErrTooLarge) || errors.Is(err, ErrShutdown) {
			c.t.Fatalf("propose %s: %v", cmd, err)
		}
		if errors.Is(err, ErrUncertain) {
			c.again[cmd] = true
		}
		return err == nil
	})
	return res
}

// once leaves out the second copies of what was proposed again.
func (c *cluster) once(history []entry) (out []entry) {
	seen := map[string]bool{}
	for _, e := range history {
		if !c.again[e.Cmd] || !seen[e.Cmd] {
			out = append(out, e)
		}
		seen[e.Cmd] = true
	}
	return out
}

// agree waits until all running nodes have applied the same history and
// returns it.
func (c *cluster) agree() []entry {
	c.t.Helper()
	c.propose("all together")
	var first []entry
	await(c.t, "all nodes hold the same history", func() bool {
		var histories [][]entry
		for _, p := range c.nodes {
			histories = append(histories, p.fsm.history())
		}
		first = histories[0]
		for _, h := range histories[1:] {
			if !slices.Equal(h, first) {
				return false
			}
		}
		return true
	})
	return first
}
