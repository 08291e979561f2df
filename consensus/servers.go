package consensus

import (
	"context"
	"strconv"

	"github.com/hashicorp/raft"
)

// servers returns the newest configuration, which may not be committed yet.
func (n *Node) servers() []raft.Server {
	return n.raft.GetConfiguration().Configuration().Servers
}

func (n *Node) otherVoter() bool {
	for _, s := range n.servers() {
		if s.Suffrage == raft.Voter && s.ID != raft.ServerID(n.cfg.ID) {
			return true
		}
	}
	return false
}

// Servers returns the participants as this node knows them, in the order in
// which they were added. The newest change may not be committed yet.
func (n *Node) Servers(context.Context) ([]Server, error) {
	if err := n.enter(); err != nil {
		return nil, err
	}
	defer n.calls.Done()
	return fromRaft(n.servers()), nil
}

func fromRaft(servers []raft.Server) []Server {
	out := make([]Server, len(servers))
	for i, s := range servers {
		out[i] = Server{ID: string(s.ID), Address: string(s.Address), Voter: s.Suffrage == raft.Voter}
	}
	return out
}

// AddVoter adds a server that counts towards quorums, makes a non-voter one, or
// gives a server its new address. It works on the leader only; repeating it is
// harmless. Errors as Propose's.
func (n *Node) AddVoter(ctx context.Context, id, address string) error {
	return n.change(ctx, func() raft.IndexFuture {
		return n.raft.AddVoter(raft.ServerID(id), raft.ServerAddress(address), 0, 0)
	})
}

// AddNonvoter adds a server that receives the log without counting towards
// quorums. A voter of that ID stays one. Otherwise as AddVoter.
func (n *Node) AddNonvoter(ctx context.Context, id, address string) error {
	return n.change(ctx, func() raft.IndexFuture {
		return n.raft.AddNonvoter(raft.ServerID(id), raft.ServerAddress(address), 0, 0)
	})
}

// Remove takes a server out; an unknown one is not an error. A leader that
// removes itself steps down. Otherwise as AddVoter.
func (n *Node) Remove(ctx context.Context, id string) error {
	return n.change(ctx, func() raft.IndexFuture { return n.raft.RemoveServer(raft.ServerID(id), 0, 0) })
}

func (n *Node) change(ctx context.Context, f func() raft.IndexFuture) error {
	_, err := ask(ctx, n, f)
	return proposalError(err, n.refusal())
}

// TransferLeadership hands leadership to the voter with the newest log. It
// works on the leader only.
func (n *Node) TransferLeadership(ctx context.Context) error {
	_, err := ask(ctx, n, func() raft.Future { return n.raft.LeadershipTransfer() })
	return questionError(err, n.refusal())
}

// Stats is where a node stands.
type Stats struct {
	ID            string
	State         string // Follower, Candidate, Leader or Shutdown
	Leader        string // ID; empty when none is known
	Term          uint64
	LastIndex     uint64 // newest entry on this node's disk
	CommitIndex   uint64 // newest entry known to be committed
	AppliedIndex  uint64 // newest command that the FSM has taken in; Raft's own entries leave gaps
	SnapshotIndex uint64 // newest entry that a snapshot on this node's disk covers; 0: none
	Servers       []Server
}

// Stats returns where the node stands, also after it has ended.
func (n *Node) Stats() Stats {
	leader, _, _ := n.Leader()
	snapshot, _ := strconv.ParseUint(n.raft.Stats()["last_snapshot_index"], 10, 64)
	return Stats{
		ID: n.cfg.ID, State: n.raft.State().String(), Leader: leader, Term: n.Term(),
		LastIndex: n.raft.LastIndex(), CommitIndex: n.raft.CommitIndex(),
		AppliedIndex: max(n.machine.applied.Load(), snapshot), SnapshotIndex: snapshot,
		Servers: fromRaft(n.servers()),
	}
}
