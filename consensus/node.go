package consensus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// Node is one participant. Its methods may be called from any goroutine.
type Node struct {
	cfg     Config
	log     *slog.Logger
	raft    *raft.Raft
	machine *machine
	streams *streams
	net     *transport
	acks    *ackBook
	store   *store
	metrics *metrics
	leaders *leaders

	gate     sync.RWMutex // held for reading while a call is counted in
	closing  bool
	calls    sync.WaitGroup // calls that wait for an answer of Raft's
	stopOnce sync.Once
	stopped  chan struct{} // closed when everything has ended
	stopErr  error
}

// Open restores the node from its directory, or begins a new one there, and
// takes part in the cluster from then on; fsm.Restore has been called before it
// returns, but not yet Apply for the entries since. It owns cfg.Stream
// from the call on, also when it fails. Whoever opens a node must call Run or
// Close.
//
// It fails with an error that names the path when another process holds the
// directory, the store in it is damaged (ErrDamaged) or belongs to another
// cluster than cfg.Bootstrap's (ErrOtherCluster), and with the field's name when
// the configuration cannot work.
func Open(cfg Config, fsm FSM) (_ *Node, err error) {
	defer func() {
		if err != nil && cfg.Stream != nil {
			_ = cfg.Stream.Close()
		}
	}()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	log := newRaftLog(cfg.Logger)
	st, err := openStore(cfg.Dir, log)
	if err != nil {
		return nil, err
	}
	streams := newStreams(cfg.Stream, cfg.Advertise)
	acks := newAckBook()
	n := &Node{
		cfg: cfg, log: cfg.Logger, machine: &machine{fsm: fsm}, streams: streams, acks: acks, store: st,
		net: &transport{acks: acks, NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream: streams, MaxPool: 3, Timeout: rpcTimeout(cfg.Timing), Logger: log,
		})},
		stopped: make(chan struct{}),
	}
	if err := n.start(log); err != nil {
		_ = n.net.Close()
		streams.closeAll()
		_ = st.close()
		return nil, err
	}
	return n, nil
}

// rpcTimeout bounds how long a connection to a peer that vanished without a
// reset is waited on.
func rpcTimeout(t Timing) time.Duration {
	return min(max(10*t.Heartbeat, 2*time.Second), 10*time.Second)
}

func (n *Node) start(log hclog.Logger) error {
	conf := n.raftConfig(log)
	stored, err := n.store.readAll()
	if err != nil {
		return err
	}
	if err := n.store.bootstrap(conf, n.net, n.cfg.Bootstrap, stored); err != nil {
		return err
	}
	r, err := n.store.startRaft(conf, n.machine, n.net)
	if err != nil {
		return err
	}
	n.raft = r
	n.leaders = watchLeaders(r)
	n.metrics, err = newMetrics(n.cfg.Registerer, n)
	if err != nil {
		_ = r.Shutdown().Error()
		n.leaders.stop()
		return fmt.Errorf("register consensus metrics: %w", err)
	}
	n.leaders.run(r, n.metrics)
	return nil
}

func (n *Node) raftConfig(log hclog.Logger) *raft.Config {
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(n.cfg.ID)
	conf.HeartbeatTimeout = n.cfg.Timing.Heartbeat
	conf.ElectionTimeout = n.cfg.Timing.Election
	conf.LeaderLeaseTimeout = n.cfg.Timing.LeaderLease
	conf.CommitTimeout = n.cfg.Timing.Commit
	conf.SnapshotThreshold = n.cfg.SnapshotThreshold
	conf.SnapshotInterval = n.cfg.SnapshotInterval
	conf.TrailingLogs = n.cfg.TrailingLogs
	conf.ShutdownOnRemove = false // a removed node goes on as a follower of nobody
	conf.NoLegacyTelemetry = true
	conf.Logger = log
	return conf
}

// Run blocks until ctx ends, then takes the node out in order: no new calls,
// leadership handed to another voter if there is one, calls in flight answered,
// connections and store closed. It returns when everything the node started has
// ended. Call it once.
func (n *Node) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-n.stopped:
	}
	n.shutdown(true)
	return n.stopErr
}

// Close ends the node at once, as a crash would but for the closed files: a
// leader doesn't hand over. It returns when everything has ended.
func (n *Node) Close() error {
	n.shutdown(false)
	return n.stopErr
}

func (n *Node) shutdown(handOver bool) {
	n.stopOnce.Do(func() {
		defer close(n.stopped)
		n.gate.Lock()
		n.closing = true
		n.gate.Unlock()
		if handOver && n.IsLeader() && n.otherVoter() {
			if err := n.raft.LeadershipTransfer().Error(); err != nil {
				n.log.Info("leadership not handed over; the others will elect", "error", err)
			}
		}
		n.drain()
		ended := n.raft.Shutdown()
		_ = n.net.Close()
		n.net.CloseStreams()
		n.streams.closeAll() // ends requests to peers that no longer answer
		err := ended.Error()
		n.leaders.stop()
		n.metrics.unregister()
		n.stopErr = errors.Join(err, n.store.close())
	})
	<-n.stopped
}

// drain waits until the calls in flight are answered, while Raft still runs:
// it forgets some when it is shut down. A leader answers all when it commits
// them or, for lack of a quorum, steps down.
func (n *Node) drain() {
	done := make(chan struct{})
	go func() {
		n.calls.Wait()
		close(done)
	}()
	limit := 10*time.Second + 2*n.cfg.Timing.Election
	select {
	case <-done:
	case <-time.After(limit):
		n.log.Warn("consensus calls unanswered at shutdown; does the state machine's Apply hang?", "waited", limit)
	}
}

// enter counts a call in; it fails once the node is closing.
func (n *Node) enter() error {
	n.gate.RLock()
	defer n.gate.RUnlock()
	if n.closing {
		return ErrShutdown
	}
	n.calls.Add(1)
	return nil
}
