package consensus

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// Result is what became of a committed command.
type Result struct {
	Index uint64 // of its entry in the log
	Value any    // what the FSM of this node returned for it
}

// Propose asks the cluster to commit cmd and waits until the FSM of this node
// has applied it. It works on the leader only. cmd must not be modified any
// more. The error is or wraps
//
//   - *NotLeaderError, ErrNoQuorum, ErrTooLarge or ErrShutdown: the command was
//     not accepted and never will be applied;
//   - ErrUncertain: leadership was lost, or ctx or the node ended, while it was
//     under way.
//
// With a ctx that has already ended nothing is proposed and its error returned.
func (n *Node) Propose(ctx context.Context, cmd []byte) (Result, error) {
	if len(cmd) > n.cfg.MaxCommandBytes {
		return Result{}, fmt.Errorf("%w: %d bytes, at most %d are accepted", ErrTooLarge, len(cmd), n.cfg.MaxCommandBytes)
	}
	if err := ctx.Err(); err != nil {
		return Result{}, fmt.Errorf("nothing proposed: %w", err)
	}
	start := time.Now()
	f, err := ask(ctx, n, func() raft.ApplyFuture { return n.raft.Apply(cmd, 0) })
	if err != nil {
		return Result{}, proposalError(err, n.refusal())
	}
	n.metrics.commits.Observe(time.Since(start).Seconds())
	return Result{Index: f.Index(), Value: f.Response()}, nil
}

// Verify returns nil if a quorum of the voters took this node for their leader
// at some moment after the call: no other leader had been elected when the
// call was made. It costs one heartbeat and no disk write. Otherwise the error
// is *NotLeaderError, ErrNoQuorum, ErrShutdown or ctx's.
func (n *Node) Verify(ctx context.Context) error {
	term := n.raft.CurrentTerm()
	if !n.IsLeader() {
		return n.refusal()
	}
	began := n.acks.now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Raft's own question makes it send heartbeats now and reports lost
	// leadership; its yes is not enough (see ackBook).
	lost := make(chan error, 1)
	if err := n.enter(); err != nil {
		return err
	}
	go func() {
		defer n.calls.Done()
		if err := n.raft.VerifyLeader().Error(); err != nil {
			lost <- err
		}
	}()
	check := time.NewTicker(n.cfg.Timing.LeaderLease) // sees a step-down after Raft's yes
	defer check.Stop()
	for {
		ok, more := n.acks.confirmed(n.servers(), raft.ServerID(n.cfg.ID), term, began)
		switch {
		case !n.IsLeader() || n.raft.CurrentTerm() != term:
			return n.refusal()
		case ok:
			return nil
		}
		select {
		case <-more:
		case <-check.C:
		case err := <-lost:
			return questionError(err, n.refusal())
		case <-n.stopped:
			return ErrShutdown
		case <-ctx.Done():
			return fmt.Errorf("verify leadership: %w", ctx.Err())
		}
	}
}

// Barrier returns nil once the FSM of this node has applied everything that was
// committed before the call, in all earlier terms too. It works on the leader
// only and writes one small entry. Errors as Verify's.
func (n *Node) Barrier(ctx context.Context) error {
	_, err := ask(ctx, n, func() raft.Future { return n.raft.Barrier(0) })
	return questionError(err, n.refusal())
}

// ask puts a question to Raft and waits for its answer, ctx's end or the end of
// the node, whichever comes first. The answer is waited for in the background
// all the same: Raft's futures cannot be given up.
func ask[F raft.Future](ctx context.Context, n *Node, question func() F) (F, error) {
	var zero F
	if err := n.enter(); err != nil {
		return zero, err
	}
	type answer struct {
		future F
		err    error
	}
	answers := make(chan answer, 1)
	go func() {
		defer n.calls.Done()
		f := question()
		answers <- answer{f, f.Error()}
	}()
	select {
	case a := <-answers:
		return a.future, a.err
	case <-ctx.Done():
		return zero, ctx.Err()
	case <-n.stopped:
		return zero, raft.ErrRaftShutdown
	}
}

// refusal returns the error of a node that doesn't lead.
func (n *Node) refusal() error {
	id, address, _ := n.Leader()
	return refusal(n.cfg.ID, id, address)
}
