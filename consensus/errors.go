package consensus

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// What a proposal can end in besides success. They differ in what the caller
// may conclude: only after ErrUncertain may the command still take effect.
var (
	// ErrNoQuorum: no leader with a quorum of the voters behind it is known
	// here. The command was not accepted and will not be applied.
	ErrNoQuorum = errors.New("no quorum: no leader is known to this node")

	// ErrUncertain: the command was accepted and its fate is unknown; it may be
	// applied now, later or never. Propose it again with the same command ID.
	ErrUncertain = errors.New("outcome uncertain: the command may or may not be committed")

	// ErrTooLarge: the command exceeds Config.MaxCommandBytes. Not accepted.
	ErrTooLarge = errors.New("command too large")

	// ErrShutdown: the node was shutting down or had ended when it was asked.
	// Not accepted. A command that was under way then ends in ErrUncertain.
	ErrShutdown = errors.New("consensus node is shut down")
)

// NotLeaderError says that another node leads. The command was not accepted
// and will not be applied; ask the leader.
type NotLeaderError struct {
	LeaderID      string
	LeaderAddress string // of its consensus listener
}

func (e *NotLeaderError) Error() string {
	return fmt.Sprintf("not the leader: ask %s (%s)", e.LeaderID, e.LeaderAddress)
}

// refusal returns the error of a node that doesn't lead: leaderID and
// leaderAddress are whom it takes for the leader, self is its own ID.
func refusal(self, leaderID, leaderAddress string) error {
	if leaderID == "" || leaderID == self {
		return ErrNoQuorum
	}
	return &NotLeaderError{LeaderID: leaderID, LeaderAddress: leaderAddress}
}

// proposalError maps what Raft says about a proposal to what the caller may
// conclude from it. refused is the error of a node that doesn't lead. Anything
// that isn't known to precede acceptance is uncertain.
func proposalError(err, refused error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader):
		return refused
	case errors.Is(err, ErrShutdown): // never reached Raft, unlike raft.ErrRaftShutdown
		return ErrShutdown
	case errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return fmt.Errorf("%w: leadership is being handed over", ErrNoQuorum)
	}
	return fmt.Errorf("%w: %w", ErrUncertain, err)
}

// questionError maps what Raft says about a question that changes nothing.
func questionError(err, refused error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrRaftShutdown):
		return ErrShutdown
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipLost):
		return refused
	case errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return fmt.Errorf("%w: leadership is being handed over", ErrNoQuorum)
	}
	return err
}
