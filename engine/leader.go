package engine

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/detect"
	"github.com/stratoswarm/forestall/migrate"
	"github.com/stratoswarm/forestall/predict"
)

// reports is what the nodes told this engine while it leads.
type reports struct {
	mu      sync.Mutex
	nodes   map[string]*nodeReport
	version uint64 // counts changes of any node's risks
	kick    chan struct{}
}

type nodeReport struct {
	at     time.Time
	scored uint64
	risks  []forestall.Risk
	alarms map[string]predict.AlarmCounts
	models map[forestall.Kind]modelReport
}

func newReports() *reports {
	return &reports{nodes: map[string]*nodeReport{}, kick: make(chan struct{}, 1)}
}

// take books a report and returns whether its sender's newest risks are missing.
func (r *reports) take(q report, now time.Time) (lacks bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.nodes[q.Self.Name]
	if n == nil {
		n = &nodeReport{}
		r.nodes[q.Self.Name] = n
	}
	n.at = now
	switch {
	case q.Risks != nil:
		n.scored, n.risks, n.alarms, n.models = q.Scored, q.Risks, q.Alarms, q.Models
		r.version++
	case n.scored != q.Scored:
		return true
	}
	return false
}

// risks returns every node's, those of a silent node as Unknown.
func (r *reports) risks(now time.Time, fresh time.Duration) []forestall.Risk {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []forestall.Risk
	for _, n := range r.nodes {
		if silence := now.Sub(n.at); silence > fresh {
			all = append(all, unknown(n.risks, "its node has told nothing for "+silence.Round(time.Second).String())...)
			continue
		}
		all = append(all, n.risks...)
	}
	if all == nil {
		return nil
	}
	return mergeRisks(nil, all...)
}

// alarms adds up what the nodes have counted.
func (r *reports) alarms() map[string]predict.AlarmCounts {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[string]predict.AlarmCounts{}
	for _, n := range r.nodes {
		for digest, c := range n.alarms {
			sum := all[digest]
			sum.Add(c)
			all[digest] = sum
		}
	}
	return all
}

// decide asks the leader's loop to look again at once.
func (r *reports) decide() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// takeReport is the leader's side of a report.
func (e *Engine) takeReport(ctx context.Context, q report) (reportReply, error) {
	if !e.leading() {
		return reportReply{}, errNotLeader
	}
	now := e.now()
	for node, state := range q.Members {
		e.witnesses.Report(q.Self.Name, node, state, now)
	}
	if err := e.takeJoin(ctx, q.Self); err != nil {
		return reportReply{}, err
	}
	for _, f := range q.Failures {
		if err := e.takeFailure(ctx, q.Self.Name, f); err != nil {
			return reportReply{}, err
		}
	}
	for c, why := range q.Recovered {
		if err := e.propose(ctx, "", &migrate.IncidentClose{Component: c, Kind: forestall.GPUFailure, Closed: why}); err != nil {
			e.log.Debug("incident not closed", "component", c, "error", err)
			continue
		}
		e.log.Info("incident over", "component", c, "why", why)
	}
	reply := reportReply{Leader: e.name, Lacks: e.reports.take(q, now)}
	risks := e.reports.risks(now, e.timing.fresh)
	reply.Version = e.risksVersion(risks)
	if reply.Version != q.Known {
		reply.Risks, reply.Alarms = risks, e.reports.alarms()
		if risks == nil {
			reply.Risks = []forestall.Risk{}
		}
	}
	if len(q.Failures) > 0 {
		e.reports.decide()
	}
	return reply, nil
}

// risksVersion names a set of risks: it changes when any node scored anew and
// when one fell silent or came back.
func (e *Engine) risksVersion(risks []forestall.Risk) string {
	e.reports.mu.Lock()
	version := e.reports.version
	e.reports.mu.Unlock()
	known := 0
	for _, r := range risks {
		if r.Grade != forestall.Unknown {
			known++
		}
	}
	return fmt.Sprintf("%s-%d-%d-%d-%d", e.name, e.started.UnixNano(), version, len(risks), known)
}

// takeJoin keeps the ledger's description of a node true. Whether one that failed
// is back is judgeMembers' to say, but for the leader itself: that it leads shows it,
// and nobody judges it.
func (e *Engine) takeJoin(ctx context.Context, j migrate.Join) error {
	var same bool
	e.ledger.View(func(s *migrate.State) {
		n := s.Nodes[j.Name]
		same = n != nil && n.Address == j.Address && n.API == j.API && n.Zone == j.Zone && n.GPUs == j.GPUs && n.MemoryBytes == j.MemoryBytes && n.GPUModel == j.GPUModel && n.GPUDriver == j.GPUDriver && n.State != forestall.MemberLeft &&
			(n.State != forestall.MemberFailed || j.Name != e.name)
	})
	if same {
		return nil
	}
	if err := e.propose(ctx, "", &j); err != nil {
		return fmt.Errorf("join %s: %w", j.Name, err)
	}
	e.log.Info("node joined", "name", j.Name, "address", j.Address, "gpus", j.GPUs, "zone", j.Zone)
	return nil
}

// takeFailure writes a failure into the ledger. A refusal is final: the
// failure is of a run that is over, or stands there already.
func (e *Engine) takeFailure(ctx context.Context, reporter string, f failureReport) error {
	var open bool
	e.ledger.View(func(s *migrate.State) {
		i, found := s.Incident(f.Component)
		open = found && i.Kind == f.Kind && i.Epoch == f.Epoch
	})
	if open {
		return nil // its GPU may say in three ways that it is gone
	}
	f.Observers = append(f.Observers, reporter)
	id := fmt.Sprintf("failure/%s/%s/%d/%d", f.Component, f.Kind, f.Epoch, f.Time.UnixNano())
	err := e.propose(ctx, id, &migrate.FailureSeen{Failure: f.Failure, Epoch: f.Epoch})
	if err != nil && mayRetry(err) {
		return err
	}
	if err != nil {
		e.log.Info("failure not recorded", "component", f.Component, "kind", f.Kind, "reason", err)
		return nil
	}
	e.detected.Detected(f.Failure)
	e.log.Warn("failure", "component", f.Component, "kind", f.Kind, "evidence", f.Evidence)
	return nil
}

// forget drops what was heard of and from a node that has left.
func (e *Engine) forget(node string) {
	e.witnesses.Forget(node)
	e.reports.mu.Lock()
	defer e.reports.mu.Unlock()
	delete(e.reports.nodes, node)
	e.reports.version++
}

// lead does the leader's work whenever this engine is it.
func (e *Engine) lead(ctx context.Context) error {
	leadership := e.node.Leadership()
	var stop context.CancelFunc
	var term sync.WaitGroup
	end := func() {
		if stop != nil {
			stop()
			term.Wait()
			stop = nil
		}
	}
	defer end()
	for {
		select {
		case <-ctx.Done():
			return nil
		case leads := <-leadership:
			end()
			if leads {
				termCtx, cancel := context.WithCancel(ctx)
				stop = cancel
				term.Go(func() { e.leadTerm(termCtx) })
			}
		}
	}
}

// leadTerm does the leader's work until ctx ends.
func (e *Engine) leadTerm(ctx context.Context) {
	term, ok := e.catchUp(ctx)
	if !ok {
		return
	}
	e.policyState, e.leftSince, e.leadsSince = migrate.PolicyState{}, map[string]time.Time{}, e.now()
	e.leases.Elected()
	e.leaderTerm.Store(term)
	e.metrics.leader.Set(1)
	e.log.Info("this engine leads", "term", term)
	// At once, not when all has ended; compared, because it may come as late as
	// in the next term.
	depose := func() { e.leaderTerm.CompareAndSwap(term, 0) }
	defer context.AfterFunc(ctx, depose)()
	defer func() {
		depose()
		e.leases.Deposed()
		e.metrics.leader.Set(0)
		e.log.Info("this engine leads no more", "term", term)
	}()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := e.executor.Run(ctx); err != nil {
			e.log.Error("executor ended", "error", err)
		}
	})
	e.decideLoop(ctx)
	wg.Wait()
	e.checkpoints.Wait()
}

// catchUp waits until the ledger has applied everything from before the term
// in which this engine leads, and returns that term.
func (e *Engine) catchUp(ctx context.Context) (term uint64, ok bool) {
	for {
		term := e.node.Term()
		err := e.node.Barrier(ctx)
		switch {
		case ctx.Err() != nil || !e.node.IsLeader():
			return 0, false
		case err == nil && e.node.Term() == term:
			return term, true
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// decideLoop judges the members and lets the policy decide until ctx ends.
func (e *Engine) decideLoop(ctx context.Context) {
	e.putBudget(ctx)
	tick := time.NewTicker(e.timing.policy)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-e.reports.kick:
		}
		e.fitServers(ctx)
		e.judgeMembers(ctx)
		e.decide(ctx)
		e.judgeModels(ctx)
	}
}

func (e *Engine) putBudget(ctx context.Context) {
	budget := migrate.Budget{Concurrent: e.cfg.Migration.MaxConcurrent, PerWindow: e.cfg.Migration.MaxPerHour, Window: time.Hour}
	var have migrate.Budget
	e.ledger.View(func(s *migrate.State) { have = s.Budget })
	if have == budget {
		return
	}
	if err := e.propose(ctx, "", &migrate.SetBudget{Budget: budget}); err != nil && ctx.Err() == nil {
		e.log.Warn("action budget not set", "error", err)
	}
}

// longestDetection bounds how long before its failure is established a node's last
// word can be its last sign of life: gossip notices the death of a node sooner, so
// one that has said nothing for longer was alive meanwhile.
const longestDetection = time.Minute

// lastSeen returns when this engine last had a word of a node, if it can be the
// node's last sign of life. Zero: it is not known.
func (e *Engine) lastSeen(node string, now time.Time) time.Time {
	last := e.lastWord(node)
	if now.Sub(last) > longestDetection {
		return time.Time{}
	}
	return last
}

// lastWord returns when this engine last had a word of a node: its report, its
// answer to a probe, or, where the node leads or led before, to a report. Zero: it
// had none.
func (e *Engine) lastWord(node string) (last time.Time) {
	e.reports.mu.Lock()
	if n := e.reports.nodes[node]; n != nil {
		last = n.at
	}
	e.reports.mu.Unlock()
	if e.members != nil {
		for _, m := range e.members.List() {
			if m.Name == node && m.LastSeen.After(last) {
				last = m.LastSeen
			}
		}
	}
	e.mu.Lock()
	if e.cluster.leader == node && e.cluster.at.After(last) {
		last = e.cluster.at
	}
	if e.cluster.before == node && e.cluster.left.After(last) {
		last = e.cluster.left
	}
	e.mu.Unlock()
	return last
}

// judgeMembers counts the witnesses: a node on whose silence a quorum of
// voters agrees has failed, one that a quorum sees again is back.
func (e *Engine) judgeMembers(ctx context.Context) {
	if e.alone() {
		return
	}
	now := e.now()
	for node, state := range e.gossip() {
		e.witnesses.Report(e.name, node, state, now)
	}
	states := map[string]forestall.MemberState{}
	e.ledger.View(func(s *migrate.State) {
		for name, n := range s.Nodes {
			states[name] = n.State
		}
	})
	voters := e.voters()
	for name, state := range states {
		if name == e.name {
			continue
		}
		v := e.witnesses.Verdict(name, voters, now, e.timing.fresh)
		if v.State != forestall.MemberLeft {
			delete(e.leftSince, name)
		}
		switch {
		case v.State == forestall.MemberFailed && state == forestall.MemberAlive:
			f, _ := detect.NodeFailure(name, v, now, e.lastSeen(name, now))
			err := e.propose(ctx, "", &migrate.NodeFailed{Name: name, LastSeen: f.LastSeen, Evidence: v.Evidence, Observers: v.Observers})
			if err == nil {
				e.detected.Detected(f)
				e.log.Warn("node failed", "name", name, "evidence", v.Evidence, "observers", v.Observers)
			}
		case v.State == forestall.MemberAlive && state == forestall.MemberFailed:
			if err := e.propose(ctx, "", &migrate.NodeBack{Name: name}); err == nil {
				e.log.Info("node is back", "name", name, "observers", v.Observers)
			}
		case v.State == forestall.MemberLeft && state == forestall.MemberAlive:
			// An engine that was stopped in good order leaves its workloads
			// running and is given as long as their leases last to return.
			since, seen := e.leftSince[name]
			if !seen {
				e.leftSince[name] = now
				e.log.Info("node left; its workloads go on while their leases last", "name", name)
			} else if now.Sub(since) > e.timing.lease+e.timing.lease/10 {
				if err := e.propose(ctx, "", &migrate.Leave{Name: name}); err == nil {
					e.forget(name)
					e.log.Warn("node left and has not returned", "name", name)
				}
			}
		}
	}
}
