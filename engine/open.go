package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/consensus"
	"github.com/stratoswarm/forestall/detect"
	"github.com/stratoswarm/forestall/internal/certs"
	"github.com/stratoswarm/forestall/migrate"
	"github.com/stratoswarm/forestall/workload"
)

// openCheckpoints opens this node's store and what fills and copies it.
func (e *Engine) openCheckpoints() (err error) {
	ft := e.cfg.FaultTolerance
	options, err := e.cfg.storeOptions()
	if err != nil {
		return err
	}
	options.Now, options.Logger = e.now, e.log
	if e.chunks, err = checkpoint.OpenDir(ft.CheckpointStorage, options); err != nil {
		return fmt.Errorf("fault_tolerance.checkpoint_storage: %w", err)
	}
	e.closers = append(e.closers, e.chunks)
	metrics, err := checkpoint.NewMetrics(e.registry, e.now)
	if err != nil {
		return err
	}

	rc := checkpoint.DefaultReplicatorConfig()
	rc.Self = e.checkpointPeer(member{name: e.name})
	rc.Factor, rc.Consistency, rc.Geo = ft.ReplicationFactor, checkpoint.Consistency(ft.ConsistencyLevel), ft.GeoDistributed
	rc.ClusterSize = func() int { return max(1, len(e.nodes)) }
	rc.Granted = e.granted
	rc.Zones = func() int { return len(e.zones()) }
	rc.Client, rc.Now, rc.Logger, rc.Metrics = e.client, e.now, e.log, metrics
	if e.replicas, err = checkpoint.NewReplicator(e.chunks, rc, e.checkpointPeers); err != nil {
		return err
	}

	mc := checkpoint.DefaultManagerConfig()
	mc.Shortest = e.cfg.Checkpoint.Shortest.Duration
	keep := e.cfg.retention()
	mc.Interval, mc.Retention, mc.Tiers, mc.MaxBytes = ft.CheckpointInterval.Duration, keep.All, keep.Tiers, keep.MaxBytes
	mc.Scrub = e.cfg.Checkpoint.ScrubWithin.Duration
	mc.Now, mc.Logger, mc.Metrics = e.now, e.log, metrics
	e.manager, err = checkpoint.NewManager(e.chunks, e.replicas, mc, checkpoint.Hooks{
		Targets: e.checkpointTargets,
		Quiesce: e.quiesce,
		Commit: func(ctx context.Context, c forestall.Checkpoint) error {
			ctx, cancel := context.WithTimeout(ctx, e.cfg.Cluster.LeaderElectionTimeout.Duration)
			defer cancel()
			err := e.propose(ctx, "", &migrate.Head{Checkpoint: c})
			if err == nil && e.offsite != nil {
				e.offsite.Add(c)
			}
			return err
		},
		Keep:        e.isKept,
		FailureRate: e.failureRate,
	})
	return err
}

// granted reports whether an epoch of a workload, or a later one, was ever granted.
// An error: this node's replica of the ledger is behind, and may only not know yet.
func (e *Engine) granted(ctx context.Context, workload string, epoch forestall.Epoch) (bool, error) {
	known := func() (yes bool) {
		e.ledger.View(func(s *migrate.State) {
			w := s.Workloads[workload]
			yes = w != nil && w.Epoch >= epoch
		})
		return yes
	}
	if known() {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.timing.lease)
	defer cancel()
	if !e.caughtUp(ctx) {
		return false, fmt.Errorf("whether epoch %s of %s was granted is not known: %w", epoch, workload, context.Cause(ctx))
	}
	return known(), nil
}

// checkpointTargets lists what runs here and may write checkpoints: not a run
// that stands still for a migration, whose last checkpoint is taken.
func (e *Engine) checkpointTargets() []checkpoint.Target {
	var targets []checkpoint.Target
	for _, s := range e.supervisor.List() {
		t := checkpoint.Target{Workload: s.Workload.Name, Epoch: s.Epoch, StateDir: s.Workload.StateDir}
		e.ledger.View(func(state *migrate.State) {
			if w := state.Workloads[s.Workload.Name]; w != nil {
				t.Interval, t.Level = w.Spec.Interval, checkpoint.LevelOf(w.Spec.Compression)
				if w.Head != nil {
					t.Sequence = w.Head.Sequence
				}
			}
		})
		targets = append(targets, t)
	}
	return targets
}

// quiesce has the workload write its state down and stops it in its tracks.
// release lets it go on and says how long it stood still.
func (e *Engine) quiesce(ctx context.Context, name string, final bool) (func() time.Duration, error) {
	run, ok := e.run(name)
	if !ok {
		return nil, fmt.Errorf("%s does not run on node %s", name, e.name)
	}
	if run.Frozen && !final {
		return nil, fmt.Errorf("%s stands still for its migration", name)
	}
	thaw := func() error {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.timing.lease)
		defer cancel()
		return e.supervisor.Thaw(limit, name, run.Epoch)
	}
	if !run.Frozen {
		if err := e.supervisor.Hook(ctx, name, run.Epoch, final); err != nil {
			return nil, err
		}
	}
	began := e.now()
	if err := e.supervisor.Freeze(ctx, name, run.Epoch); err != nil {
		return nil, errors.Join(err, thaw())
	}
	return func() time.Duration {
		if err := thaw(); err != nil {
			e.stuck(run, err)
		}
		return e.now().Sub(began)
	}, nil
}

// stuck reports a run that stood still for its checkpoint and cannot go on, so
// that it is recovered. One that has ended meanwhile is told of by its exit.
func (e *Engine) stuck(run workload.Status, err error) {
	if errors.Is(err, workload.ErrNotRunning) || errors.Is(err, workload.ErrExited) || !e.runsHere(run.Workload.Name) {
		return
	}
	e.log.Error("a workload that stood still for its checkpoint cannot go on", "workload", run.Workload.Name, "error", err)
	failure, _ := detect.ExitFailure(run.Workload, forestall.Exit{Epoch: run.Epoch, Time: e.now(), Code: -1})
	failure.Evidence = []string{"it stood still for a checkpoint and cannot go on: " + err.Error()}
	e.outbox.add(failureReport{failure, run.Epoch})
}

func (e *Engine) run(name string) (workload.Status, bool) {
	list := e.supervisor.List()
	i := slices.IndexFunc(list, func(s workload.Status) bool { return s.Workload.Name == name })
	if i < 0 {
		return workload.Status{}, false
	}
	return list[i], true
}

func (e *Engine) checkpointPeer(m member) checkpoint.Peer {
	p := checkpoint.Peer{Name: m.name, URL: e.peerURL(m.peerAddress()) + "/peer/checkpoints"}
	if m.name == e.name {
		p.Zone = e.cfg.Engine.Zone
		return p
	}
	e.ledger.View(func(s *migrate.State) {
		if n := s.Nodes[m.name]; n != nil {
			p.Zone = n.Zone
		}
	})
	return p
}

// checkpointPeers lists the other members that gossip sees alive.
func (e *Engine) checkpointPeers() []checkpoint.Peer {
	var peers []checkpoint.Peer
	alive := e.gossip()
	for _, m := range e.nodes {
		if m.name != e.name && alive[m.name] == forestall.MemberAlive {
			peers = append(peers, e.checkpointPeer(m))
		}
	}
	return peers
}

// openConsensus opens the log; it is agreed on alone or with cluster.nodes.
func (e *Engine) openConsensus() (err error) {
	e.witnesses = detect.NewWitnesses()
	dir := filepath.Join(e.cfg.Engine.DataDir, "raft")
	address, key := "127.0.0.1:0", "engine"
	self, inCluster := e.member(e.name)
	if inCluster {
		address, key = self.raftAddress(), "cluster.nodes"
	}
	bootstrap, err := e.firstVoters(dir)
	if err != nil {
		return err
	}
	stream, err := consensus.TCP(address)
	if err != nil {
		return fmt.Errorf("raft (%s): %w", key, err)
	}
	if e.secure != nil {
		stream = newSecretStream(e, stream)
	}
	if e.alone() {
		bootstrap = []consensus.Server{{ID: e.name, Address: stream.Addr().String(), Voter: true}}
	}
	times, err := consensus.ProfileTiming(e.cfg.Cluster.Profile)
	if err != nil {
		return err
	}
	if e.alone() {
		times, _ = consensus.ProfileTiming("fast") // nobody to wait for
	}
	e.node, err = consensus.Open(consensus.Config{
		ID: e.name, Dir: dir, Stream: stream, Bootstrap: bootstrap,
		Timing: times, Logger: e.log, Registerer: e.registry,
	}, e.ledger)
	if err != nil {
		return err
	}
	if inCluster {
		return e.openGossip(self)
	}
	return nil
}

func (e *Engine) openGossip(self member) (err error) {
	cfg := detect.MembersConfig{
		Name: e.name, BindAddress: self.gossipAddress(), Seeds: e.seeds(),
		Profile: e.cfg.Cluster.Profile, Logger: e.log, Metrics: e.detected, Now: e.now,
	}
	if e.secure != nil {
		p := e.cfg.TLS.Plaintext
		cfg.HearUDP, cfg.SendUDP = p != certs.PlaintextNever, p == certs.PlaintextSend
		if cfg.Wire, err = newSecretWire(e.secure, self.gossipAddress()); err != nil {
			return err
		}
	}
	if e.members, err = detect.JoinMembers(cfg); err != nil {
		return err
	}
	e.closers = append(e.closers, e.members)
	return nil
}

func (e *Engine) seeds() (seeds []string) {
	for _, m := range e.nodes {
		if m.name != e.name {
			seeds = append(seeds, m.gossipAddress())
		}
	}
	return seeds
}

func (e *Engine) openAPI() error {
	remote, err := e.openRemoteAPI()
	if err != nil {
		return err
	}
	e.api, err = api.New(api.Config{
		Address: e.cfg.API.Address, Remote: remote, Admit: e.admit, LocalReads: e.cfg.API.Loopback == loopbackRead, Version: e.version, Registry: e.registry, Ready: e.ready, Logger: e.log, Now: e.now,
	}, view{e}.backend())
	if err != nil {
		return err
	}
	return e.api.Listen()
}

// ready says whether this engine can do its work.
func (e *Engine) ready() (bool, string) {
	if _, _, ok := e.node.Leader(); !ok {
		return false, "no leader is known: an election is under way, or this node is cut off from the majority"
	}
	if !(view{e}).hasQuorum() {
		return false, "the leader was not heard for " + e.node.LastContact().Round(time.Millisecond).String()
	}
	if !e.current.Load() {
		return false, "its ledger has not caught up with the leader's yet: what it says of workloads and incidents may be long over"
	}
	joined := false
	e.ledger.View(func(s *migrate.State) { joined = s.Alive(e.name) })
	if !joined {
		return false, "this node has not joined the ledger yet"
	}
	return true, ""
}

// gossip returns how the other members look from here.
func (e *Engine) gossip() map[string]forestall.MemberState {
	states := map[string]forestall.MemberState{e.name: forestall.MemberAlive}
	if e.members == nil {
		return states
	}
	for _, m := range e.members.List() {
		states[m.Name] = m.State
	}
	return states
}

// liveMembers counts the members that gossip sees alive, this one included.
func (e *Engine) liveMembers() int {
	n := 0
	for _, s := range e.gossip() {
		if s == forestall.MemberAlive {
			n++
		}
	}
	return n
}

// voters names the voters of the log.
func (e *Engine) voters() []string {
	servers, err := e.node.Servers(context.Background())
	if err != nil {
		return nil
	}
	var names []string
	for _, s := range servers {
		if s.Voter {
			names = append(names, s.ID)
		}
	}
	return names
}

func (e *Engine) isVoter(name string) bool { return slices.Contains(e.voters(), name) }
