package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/migrate"
	"github.com/stratoswarm/forestall/workload"
)

// leaseRequest asks the leader for the right to go on, or to begin, with runs
// on Node.
type leaseRequest struct {
	Node string   `json:"node"`
	Runs []runKey `json:"runs"`
}

type runKey struct {
	Workload string          `json:"workload"`
	Epoch    forestall.Epoch `json:"epoch"`
}

// leaseReply answers each run of the request, in its order.
type leaseReply struct {
	Term   time.Duration `json:"term_ns"` // 0: without end
	Grants []leaseGrant  `json:"grants"`
	Index  uint64        `json:"index,omitempty"` // of the leader's ledger: whatever was agreed on before the question is in it
}

type leaseGrant struct {
	Granted    bool   `json:"granted"`
	Superseded bool   `json:"superseded,omitempty"` // a newer epoch exists: stop
	Reason     string `json:"reason,omitempty"`
}

// grantLeases is the leader's side. ADR 1 says why each step stands where it
// does: the ledger is asked and the booking made before the leadership is
// confirmed, and an unconfirmed booking only makes this leader wait longer.
func (e *Engine) grantLeases(ctx context.Context, q leaseRequest) (leaseReply, error) {
	if !e.leading() {
		return leaseReply{}, errNotLeader
	}
	reply := leaseReply{Term: e.leaseTerm()}
	e.ledger.View(func(s *migrate.State) {
		reply.Index = s.Index
		for _, r := range q.Runs {
			ok, reason := e.leases.Grant(r.Workload, q.Node, r.Epoch, s)
			w := s.Workloads[r.Workload]
			reply.Grants = append(reply.Grants, leaseGrant{
				Granted: ok, Reason: reason,
				Superseded: !ok && w != nil && w.Epoch > r.Epoch,
			})
		}
	})
	if err := e.node.Verify(ctx); err != nil {
		return leaseReply{}, errors.Join(errNotLeader, err)
	}
	if !e.leading() { // the ledger above may have been that of an earlier term
		return leaseReply{}, errNotLeader
	}
	return reply, nil
}

// leaseTerm returns how long a lease lasts; 0 means for ever, when there is no
// other node that could start the workload.
func (e *Engine) leaseTerm() time.Duration {
	if e.alone() {
		return 0
	}
	return e.timing.lease
}

// askLease asks the leader for one run's lease and returns its deadline, which
// counts from before the question was sent.
func (e *Engine) askLease(ctx context.Context, runs []runKey) (workload.Deadline, []leaseGrant, error) {
	ctx, cancel := whileLeads(ctx, e.node.Leader, e.node.LeaderChange)
	defer cancel()
	sent := workload.Now()
	reply, err := askLeader[leaseReply](ctx, e, "/peer/lease", leaseRequest{e.name, runs}, e.grantLeases)
	if err != nil {
		return 0, nil, err
	}
	if len(reply.Grants) != len(runs) {
		return 0, nil, errors.New("the leader answered for other leases than were asked for")
	}
	if reply.Term == 0 {
		return workload.NoDeadline, reply.Grants, nil
	}
	return sent.Add(reply.Term), reply.Grants, nil
}

// whileLeads returns a context that ends once another leads, or none. A leader that
// was cut off gives no answer, and what is left of a lease is needed to ask the next.
func whileLeads(ctx context.Context, leader func() (id, address string, ok bool), change func() <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	changed := change()
	first, _, _ := leader()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
			changed = change()
			now, _, _ := leader()
			if first == "" { // nobody was asked, or the one who leads now
				first = now
			}
			if now != first {
				cancel(fmt.Errorf("%w: %s leads no more", errNoLeader, first))
				return
			}
		}
	}()
	return ctx, func() { cancel(nil); <-ended }
}

// renewLeases keeps the leases of this node's runs alive until ctx ends. It
// has no fallback: a run whose lease is not renewed is killed by its shim.
func (e *Engine) renewLeases(ctx context.Context) error {
	defer e.renewals.Wait()
	every := e.timing.lease / 3
	for {
		wait := every
		if !e.renewOnce(ctx, every) {
			wait /= 8 // an election is soon over
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// renewOnce reports whether the leader answered.
func (e *Engine) renewOnce(ctx context.Context, within time.Duration) bool {
	var runs []runKey
	for _, s := range e.supervisor.List() {
		runs = append(runs, runKey{s.Workload.Name, s.Epoch})
	}
	if len(runs) == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	deadline, grants, err := e.askLease(ctx, runs)
	if err != nil {
		e.leaseTrouble(err)
		return false
	}
	e.leaseTrouble(nil)
	for i, g := range grants {
		// Side by side: a shim that does not answer must not cost the others
		// their leases.
		r := runs[i]
		if _, busy := e.renewing.LoadOrStore(r, true); busy {
			continue
		}
		e.renewals.Go(func() {
			defer e.renewing.Delete(r)
			e.takeGrant(r, g, deadline)
		})
	}
	return true
}

// takeGrant hands the leader's answer to the run.
func (e *Engine) takeGrant(r runKey, g leaseGrant, deadline workload.Deadline) {
	switch {
	case g.Granted:
		if err := e.supervisor.Renew(context.Background(), r.Workload, r.Epoch, deadline); err != nil {
			e.log.Warn("lease not renewed", "workload", r.Workload, "epoch", r.Epoch, "error", err)
		}
	case g.Superseded:
		e.log.Warn("a newer epoch exists, stopping", "workload", r.Workload, "epoch", r.Epoch, "reason", g.Reason)
		limit, cancel := context.WithTimeout(context.Background(), e.timing.lease)
		defer cancel()
		if _, err := e.supervisor.Stop(limit, r.Workload, r.Epoch, "superseded: "+g.Reason); err != nil {
			e.log.Error("cannot stop a superseded run; its lease will end it", "workload", r.Workload, "epoch", r.Epoch, "error", err)
		}
	default:
		e.log.Warn("lease refused", "workload", r.Workload, "epoch", r.Epoch, "reason", g.Reason)
	}
}

// leaseTrouble logs when leases begin and cease to be unobtainable.
func (e *Engine) leaseTrouble(err error) {
	had := e.noLease.Swap(err != nil)
	switch {
	case e.alone(): // its leases have no end
	case err != nil && !had:
		e.log.Warn("no leader grants leases; workloads on this node stop when theirs run out", "term", e.timing.lease, "error", err)
	case err == nil && had:
		e.log.Info("leases are granted again")
	}
}
