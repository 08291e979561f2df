package engine

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/detect"
	"github.com/stratoswarm/forestall/migrate"
)

// join waits until the cluster agrees again, then brings the ledger and this
// node to terms: the configured workloads are declared, and what an earlier
// engine left half done is put right.
func (e *Engine) join(ctx context.Context) error {
	if !e.caughtUp(ctx) {
		return nil
	}
	e.current.Store(true)
	if !e.await(ctx, func(s *migrate.State) bool { return s.Alive(e.name) }) {
		return nil
	}
	e.thawLeftovers(ctx)
	e.missRuns(ctx)
	for _, wc := range e.cfg.Workloads {
		e.declare(ctx, wc.workload())
	}
	<-ctx.Done()
	return nil
}

// caughtUp waits until this node's replica of the ledger holds all that had been
// agreed on when it was called; false when ctx ended. A replica begins with its
// newest snapshot and takes in the log from there: what it says meanwhile is long
// over, and a run that stands still for its migration looks as if none was open.
func (e *Engine) caughtUp(ctx context.Context) bool {
	for {
		limit, cancel := context.WithTimeout(ctx, e.timing.lease)
		reply, err := askLeader(limit, e, "/peer/lease", leaseRequest{Node: e.name}, e.grantLeases)
		cancel()
		if err == nil {
			return e.await(ctx, func(s *migrate.State) bool { return s.Index >= reply.Index })
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(e.timing.report):
		}
	}
}

// missRuns tells the ledger of runs that it holds on this node and that were
// not found when this engine started, as after the loss of their records.
func (e *Engine) missRuns(ctx context.Context) {
	var missing []runKey
	e.ledger.View(func(s *migrate.State) {
		for _, name := range s.WorkloadNames() {
			w := s.Workloads[name]
			if h, held := w.Holder(); held && w.Running && h.Node == e.name && w.Started.Before(e.started) && !e.runsHere(name) {
				missing = append(missing, runKey{name, h.Epoch})
			}
		}
	})
	for _, r := range missing {
		// Nothing of it may be alive or start here before that is said.
		if _, err := e.supervisor.Stop(ctx, r.Workload, r.Epoch, "not found when the engine started"); err != nil {
			e.log.Error("a run that was not found cannot be ruled out", "workload", r.Workload, "epoch", r.Epoch, "error", err)
			continue
		}
		spec, _ := e.spec(r.Workload)
		failure, _ := detect.ExitFailure(spec, forestall.Exit{Epoch: r.Epoch, Time: e.now(), Code: -1, Reason: "its run was not found when the engine of " + e.name + " started"})
		e.outbox.add(failureReport{failure, r.Epoch})
		err := e.propose(ctx, fmt.Sprintf("exit/%s/%d", r.Workload, r.Epoch), &migrate.Stopped{
			Workload: r.Workload, Node: e.name, Epoch: r.Epoch, How: migrate.HowExited,
		})
		if err != nil && ctx.Err() == nil {
			e.log.Warn("the end of a run was not taken", "workload", r.Workload, "epoch", r.Epoch, "error", err)
		}
	}
}

// declare makes the ledger know a configured workload as it is configured: one
// that was retired or given up is wanted again.
func (e *Engine) declare(ctx context.Context, w forestall.Workload) {
	have, ok := e.workloadState(w.Name)
	if ok && reflect.DeepEqual(have.Spec, w) && !have.Retired && have.GaveUp == "" {
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
			if run.Frozen {
				// It was told to be silent: that counts as a sign of life, so
				// that silence is counted anew once it goes on.
				_ = e.heartbeats.Beat(detect.Beat{Component: f.Component, Time: e.now(), ErrorRate: math.NaN(), ResponseSeconds: math.NaN()})
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
		e.telemetry.lanes.forget(w.Component())
	}
	e.metrics.epoch.DeleteLabelValues(name)
}
