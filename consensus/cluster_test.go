package consensus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

func TestSingleNode(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	a := c.leader()
	if res := c.propose("one"); res.Index == 0 || res.Value != 1 {
		t.Errorf("Propose = %+v, want the index and the FSM's value 1", res)
	}
	if err := a.Barrier(t.Context()); err != nil {
		t.Errorf("Barrier: %v", err)
	}
	if id, address, ok := a.Leader(); id != "a" || address != c.peers[0].Address || !ok {
		t.Errorf("Leader = %q, %q, %v", id, address, ok)
	}
	if d := a.LastContact(); d != 0 {
		t.Errorf("LastContact of the leader = %s, want 0", d)
	}
	before := a.Stats()
	if before.State != "Leader" || before.AppliedIndex == 0 || before.CommitIndex < before.AppliedIndex || len(before.Servers) != 1 {
		t.Errorf("Stats = %+v", before)
	}

	c.stop("a")
	if _, err := a.Propose(t.Context(), []byte("late")); !errors.Is(err, ErrShutdown) || errors.Is(err, ErrUncertain) {
		t.Errorf("Propose after the end: %v, want ErrShutdown alone", err)
	}
	if err := a.Verify(t.Context()); err == nil {
		t.Error("Verify after the end: nil")
	}
	b := c.restart("a")
	c.propose("two")
	if got := c.once(b.fsm.history()); len(got) != 2 || got[0].Cmd != "one" || got[1].Cmd != "two" {
		t.Errorf("after a restart the history is %v", got)
	}
	if b.Term() <= before.Term {
		t.Errorf("term %d after a restart, was %d", b.Term(), before.Term)
	}
}

func TestClusterSurvivesItsLeader(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, steady)
	for i := range 10 {
		c.propose(fmt.Sprintf("first %d", i))
	}
	old := c.leader()
	oldID := old.cfg.ID
	follower := c.nodes[c.others(oldID)[0]]
	var notLeader *NotLeaderError
	if _, err := follower.Propose(t.Context(), []byte("x")); !errors.As(err, &notLeader) || notLeader.LeaderID != oldID {
		t.Errorf("Propose on a follower: %v, want NotLeaderError naming %s", err, oldID)
	}
	if err := follower.Verify(t.Context()); !errors.As(err, &notLeader) {
		t.Errorf("Verify on a follower: %v, want NotLeaderError", err)
	}
	if err := follower.Barrier(t.Context()); !errors.As(err, &notLeader) {
		t.Errorf("Barrier on a follower: %v, want NotLeaderError", err)
	}

	start := time.Now()
	c.kill(oldID)
	next := c.leader()
	t.Logf("new leader %s after the old one was killed", time.Since(start).Round(time.Millisecond))
	if err := next.Barrier(t.Context()); err != nil {
		t.Errorf("Barrier on the new leader: %v", err)
	}
	if got := len(c.once(next.fsm.history())); got != 10 {
		t.Errorf("new leader has applied %d commands after the barrier, want 10", got)
	}
	for i := range 10 {
		c.propose(fmt.Sprintf("second %d", i))
	}
	c.restart(oldID)
	if got := c.once(c.agree()); len(got) != 21 {
		t.Errorf("the common history has %d commands, want 21: %v", len(got), got)
	}
}

func TestOrderlyStopHandsOver(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, func(cfg *Config) {
		cfg.Timing.Heartbeat, cfg.Timing.Election, cfg.Timing.LeaderLease = 2*time.Second, 2*time.Second, time.Second
	})
	c.propose("x")
	old := c.leader().cfg.ID
	start := time.Now()
	c.stop(old)
	next := c.leader()
	took := time.Since(start)
	t.Logf("handed over in %s", took.Round(time.Millisecond))
	if took > 2*time.Second {
		t.Errorf("hand-over took %s, longer than an election timeout: nobody was asked to take over", took)
	}
	if next.cfg.ID == old {
		t.Errorf("%s still leads", old)
	}
}

func TestSnapshotReachesNewServer(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, func(cfg *Config) {
		steady(cfg)
		cfg.SnapshotThreshold, cfg.SnapshotInterval, cfg.TrailingLogs = 20, 20*time.Millisecond, 5
	})
	for i := range 60 {
		c.propose(fmt.Sprint(i))
	}
	leader := c.leader()
	await(t, "the log is cut behind a snapshot", func() bool {
		first, err := leader.store.log.FirstIndex()
		return err == nil && first > 20 && leader.Stats().SnapshotIndex > 20
	})

	l := c.listen("127.0.0.1:0")
	address := l.Addr().String()
	c.net.name(address, "d")
	d := c.open("d", l, nil)
	if err := leader.AddNonvoter(t.Context(), "d", address); err != nil {
		t.Fatalf("AddNonvoter: %v", err)
	}
	if got := c.once(c.agree()); len(got) != 61 {
		t.Errorf("history of %d commands, want 61", len(got))
	}
	if s := d.Stats(); s.SnapshotIndex == 0 || s.AppliedIndex < s.SnapshotIndex {
		t.Errorf("the new server came without a snapshot: %+v", s)
	}
	servers, err := leader.Servers(t.Context())
	if err != nil || !slices.Contains(servers, Server{ID: "d", Address: address}) {
		t.Errorf("Servers = %v, %v; want d as a non-voter", servers, err)
	}

	// It restarts from its snapshot, and leaves.
	c.stop("d")
	c.peers = append(c.peers, Server{ID: "d", Address: address})
	d = c.restart("d")
	if h := d.fsm.history(); len(h) == 0 {
		t.Error("nothing restored from the snapshot")
	}
	c.agree()
	if err := c.leader().Remove(t.Context(), "d"); err != nil {
		t.Errorf("Remove: %v", err)
	}
	c.stop("d")
}

func TestTransferAndPromotion(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, steady)
	old := c.leader()
	if err := old.TransferLeadership(t.Context()); err != nil {
		t.Fatalf("TransferLeadership: %v", err)
	}
	next := c.leader(c.others(old.cfg.ID)...)
	if err := next.Remove(t.Context(), old.cfg.ID); err != nil {
		t.Fatalf("Remove: %v", err)
	}
	if err := next.AddVoter(t.Context(), old.cfg.ID, old.cfg.Advertise); err != nil {
		t.Fatalf("AddVoter: %v", err)
	}
	c.agree()
}

func TestMinorityRefuses(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, steady)
	c.propose("before")
	old := c.leader()
	rest := c.others(old.cfg.ID)
	leading := old.Leadership()
	if !<-leading {
		t.Error("Leadership of the leader begins with false")
	}
	await(t, "all know who leads", func() bool {
		return !slices.ContainsFunc(slices.Collect(maps.Values(c.nodes)), func(p *peer) bool { id, _, _ := p.Leader(); return id != old.cfg.ID })
	})
	changes := map[string]<-chan struct{}{}
	for id, p := range c.nodes {
		changes[id] = p.LeaderChange()
	}

	c.net.isolate(old.cfg.ID, c.peers)
	// Accepted by a leader that is cut off: it cannot say what becomes of it.
	_, err := old.Propose(t.Context(), []byte("lost"))
	if !errors.Is(err, ErrUncertain) && !errors.Is(err, ErrNoQuorum) {
		t.Errorf("Propose while being cut off: %v, want ErrUncertain or ErrNoQuorum", err)
	}
	await(t, "the cut-off leader steps down", func() bool { return !old.IsLeader() })
	if <-leading {
		t.Error("Leadership did not turn false")
	}
	for id, change := range changes {
		await(t, id+" is told that another leads, or none", func() bool {
			select {
			case <-change:
			default:
				return false
			}
			change = c.nodes[id].LeaderChange()
			leader, _, _ := c.nodes[id].Leader()
			return leader != old.cfg.ID
		})
	}
	var notLeader *NotLeaderError
	if _, err := old.Propose(t.Context(), []byte("never")); !errors.Is(err, ErrNoQuorum) && !errors.As(err, &notLeader) {
		t.Errorf("Propose in the minority: %v, want a refusal", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := old.Verify(ctx); err == nil {
		t.Error("Verify in the minority: nil")
	}
	await(t, "silence grows", func() bool { return old.LastContact() > 2*quick.Heartbeat })

	c.propose("majority", rest...)
	c.net.heal()
	history := c.agree()
	if slices.ContainsFunc(history, func(e entry) bool { return e.Cmd == "never" }) {
		t.Errorf("a refused command was applied: %v", history)
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, func(cfg *Config) { cfg.MaxCommandBytes = 8 })
	a := c.leader()
	if _, err := a.Propose(t.Context(), make([]byte, 9)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Propose of 9 bytes: %v, want ErrTooLarge", err)
	}
	if _, err := a.Propose(t.Context(), make([]byte, 8)); err != nil {
		t.Errorf("Propose of 8 bytes: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Propose(ctx, []byte("x")); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUncertain) {
		t.Errorf("Propose with an ended context: %v, want context.Canceled and nothing proposed", err)
	}
}

// TestVerifyWantsNewAnswers stops the leader's network as SIGSTOP would the
// leader: followers have answered a heartbeat, the answers lie in the sockets,
// nothing new gets through. A question put now must not be answered yes with
// the old answers.
func TestVerifyWantsNewAnswers(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, steady)
	leader := c.leader()
	release := c.net.hold(leader.cfg.ID)
	await(t, "both followers' answers are kept back", func() bool { return len(c.net.holding(leader.cfg.ID)) == 2 })
	c.net.mute(leader.cfg.ID)

	asked := leader.acks.now()
	verdict := make(chan error, 1)
	theirs := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	go func() { verdict <- leader.Verify(ctx) }()
	go func() { theirs <- leader.raft.VerifyLeader().Error() }()
	await(t, "the question is put", func() bool {
		leader.acks.mu.Lock()
		defer leader.acks.mu.Unlock()
		return leader.acks.count > asked
	})
	release()
	t.Logf("Raft's VerifyLeader said: %v", <-theirs)
	if err := <-verdict; err == nil {
		t.Error("Verify said yes on answers given before the question")
	} else {
		t.Logf("Verify said: %v", err)
	}
	c.net.isolate(leader.cfg.ID, c.peers) // breaks the connections that swallow
}
