package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stratoswarm/forestall/consensus"
	"github.com/stratoswarm/forestall/migrate"
)

// leading reports whether this engine leads and its ledger has caught up with
// everything agreed on before this very term.
func (e *Engine) leading() bool {
	term := e.leaderTerm.Load()
	return term != 0 && term == e.node.Term() && e.node.IsLeader()
}

// askLeader asks the leader on the peer port, or this engine itself when it
// leads.
func askLeader[Reply, Request any](ctx context.Context, e *Engine, path string, q Request, here func(context.Context, Request) (Reply, error)) (Reply, error) {
	if e.leading() {
		return here(ctx, q)
	}
	var none Reply
	leader, _, ok := e.node.Leader()
	if !ok || leader == e.name {
		return none, fmt.Errorf("%w: node %s knows of no leader", errNoLeader, e.name)
	}
	m, ok := e.peer(leader)
	if !ok {
		return none, fmt.Errorf("the leader %q has no address here", leader)
	}
	reply, err := call[Reply](ctx, e.client, e.peerURL(m), path, q)
	if err != nil {
		return none, fmt.Errorf("ask leader %s: %w", leader, err)
	}
	return reply, nil
}

// errNoLeader is wrapped by what fails for want of a leader: a minority, or an
// election under way.
var errNoLeader = errors.New("no leader")

// proposal is a ledger entry that a node asks the leader to get agreed on.
type proposal struct {
	Command []byte `json:"command"`
}

type proposed struct {
	Index uint64 `json:"index"`
}

// propose gets a command agreed on, wherever the leader is, and returns the
// ledger's refusal as an error. A command whose fate is not known is proposed
// again with the same ID until ctx ends; the ledger applies it once.
func (e *Engine) propose(ctx context.Context, id string, c migrate.Command) error {
	b, err := migrate.Encode(id, e.now(), c)
	if err != nil {
		return err
	}
	wait := 50 * time.Millisecond
	for {
		_, err := askLeader(ctx, e, "/peer/propose", proposal{b}, e.proposeHere)
		if err == nil || !mayRetry(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (gave up waiting: %w)", err, ctx.Err())
		case <-time.After(wait):
			wait = min(2*wait, time.Second)
		}
	}
}

// mayRetry tells a cluster that cannot agree at the moment from a refusal, and from
// a command that can't even be proposed.
func mayRetry(err error) bool {
	var refused peerError
	if errors.As(err, &refused) {
		return refused.Code == "not_leader" || refused.Code == "uncertain"
	}
	var ledger ledgerRefusal
	return !errors.As(err, &ledger) && !errors.Is(err, migrate.ErrBadCommand)
}

// ledgerRefusal is an error that the ledger returned: agreed on, and final.
type ledgerRefusal struct{ error }

func (r ledgerRefusal) Unwrap() error { return r.error }

func (e *Engine) proposeHere(ctx context.Context, p proposal) (proposed, error) {
	result, err := e.node.Propose(ctx, p.Command)
	if err != nil {
		var elsewhere *consensus.NotLeaderError
		if errors.As(err, &elsewhere) || errors.Is(err, consensus.ErrNoQuorum) || errors.Is(err, consensus.ErrShutdown) { // of a leader that is about to end
			return proposed{}, errors.Join(errNotLeader, err)
		}
		return proposed{}, err
	}
	if err, refused := result.Value.(error); refused && !errors.Is(err, migrate.ErrDuplicate) {
		return proposed{}, ledgerRefusal{err}
	}
	return proposed{result.Index}, nil
}

// proposeRaw is what the executor needs: the index and the ledger's answer.
func (e *Engine) proposeRaw(ctx context.Context, b []byte) (uint64, any, error) {
	result, err := e.node.Propose(ctx, b)
	return result.Index, result.Value, err
}
