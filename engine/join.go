package engine

import (
	"context"
	"reflect"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/migrate"
)

// join waits until the cluster agrees again, then brings the ledger and this
// node to terms: the configured workloads are declared, and what an earlier
// engine left half done is put right.
func (e *Engine) join(ctx context.Context) error {
	if !e.await(ctx, func(s *migrate.State) bool { return s.Alive(e.name) }) {
		return nil
	}
	e.thawLeftovers(ctx)
	for _, wc := range e.cfg.Workloads {
		e.declare(ctx, wc.workload())
	}
	<-ctx.Done()
	return nil
}

// declare makes the ledger know a configured workload as it is configured.
func (e *Engine) declare(ctx context.Context, w forestall.Workload) {
	if have, ok := e.spec(w.Name); ok && reflect.DeepEqual(have, w) {
		return
	}
	err := e.propose(ctx, "", &migrate.Declare{Workload: w})
	switch {
	case err == nil:
		e.log.Info("workload declared", "workload", w.Name, "gpus", w.Needs.GPUs)
	case ctx.Err() == nil:
		e.log.Error("workload not declared", "workload", w.Name, "error", err)
	}
}

// await waits until the ledger fulfils the condition; false when ctx ended.
func (e *Engine) await(ctx context.Context, condition func(*migrate.State) bool) bool {
	for {
		changed := e.ledger.Changed()
		var ok bool
		e.ledger.View(func(s *migrate.State) { ok = condition(s) })
		if ok {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
}

// runMembers gossips until ctx ends.
func (e *Engine) runMembers(ctx context.Context) error {
	if e.members == nil {
		<-ctx.Done()
		return nil
	}
	return e.members.Run(ctx)
}

// addMembers makes the members that are no voters learn the log. Only the
// leader calls it.
func (e *Engine) addMembers(ctx context.Context) {
	servers, err := e.node.Servers(ctx)
	if err != nil {
		return
	}
	known := map[string]bool{}
	for _, s := range servers {
		known[s.ID] = true
	}
	for name, state := range e.gossip() {
		m, listed := e.member(name)
		if known[name] || !listed || state != forestall.MemberAlive {
			continue
		}
		if err := e.node.AddNonvoter(ctx, name, m.raftAddress()); err != nil {
			e.log.Warn("member not added to the log", "name", name, "error", err)
			continue
		}
		e.log.Info("member added to the log", "name", name)
	}
}

// watchHeartbeats reports agents and services that fell silent.
func (e *Engine) watchHeartbeats(ctx context.Context) error {
	tick := time.NewTicker(max(e.cfg.FaultTolerance.HeartbeatInterval.Duration/4, 50*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, f := range e.heartbeats.Check(e.now()) {
			run, ok := e.run(f.Component.Name)
			if !ok {
				continue
			}
			if run.Frozen { // it was told to be silent
				continue
			}
			f.Observers = []string{e.name}
			e.outbox.add(failureReport{f, run.Epoch})
		}
	}
}

// heartbeatsEnd stops expecting heartbeats of a workload that runs here no more.
func (e *Engine) heartbeatsEnd(name string) {
	if e.runsHere(name) { // again, under another epoch
		return
	}
	if w, ok := e.spec(name); ok {
		e.heartbeats.Forget(w.Component())
		e.telemetry.store.Forget(w.Component())
	}
	e.metrics.epoch.DeleteLabelValues(name)
}
