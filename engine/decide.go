package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/migrate"
	"github.com/stratoswarm/forestall/workload"
)

// checkpointOrder asks a node for a checkpoint ahead of its time.
type checkpointOrder struct {
	Workload string          `json:"workload"`
	Epoch    forestall.Epoch `json:"epoch"`
	Label    string          `json:"label"`
	Verify   bool            `json:"verify,omitempty"`
}

func (e *Engine) checkpointNow(ctx context.Context, o checkpointOrder) (forestall.Checkpoint, error) {
	if err := e.runsEpoch(o.Workload, o.Epoch); err != nil {
		return forestall.Checkpoint{}, err
	}
	return e.manager.Create(ctx, checkpoint.Request{Workload: o.Workload, Label: o.Label, Verify: o.Verify})
}

// decide shows the policy what is known and has its decisions carried out or,
// in mode observe, written down.
func (e *Engine) decide(ctx context.Context) {
	now := e.now()
	var decisions []forestall.Decision
	e.ledger.View(func(s *migrate.State) {
		e.policyState, decisions = e.policy.Decide(e.policyState, migrate.Evidence{
			Now: now, Risks: e.reports.risks(now, e.timing.fresh), Failures: e.lapsed(s, now), Ledger: s, Costs: measuredCosts(s), Joining: e.joining(s, now),
		})
	})
	for _, d := range decisions {
		e.carryOut(ctx, d)
	}
}

// joining reports whether this engine leads since a moment ago and nodes of
// cluster.nodes are not in the ledger yet. Without it the first to join would get
// every workload.
func (e *Engine) joining(s *migrate.State, now time.Time) bool {
	return now.Sub(e.leadsSince).Abs() < e.timing.fresh &&
		slices.ContainsFunc(e.nodes, func(m member) bool { return !s.Alive(m.name) })
}

// lapsed returns the workloads that should be running and whose lease has run
// out on every clock: their node neither renewed it nor said why. It may have
// lost its data directory, or its engine may be stuck.
func (e *Engine) lapsed(s *migrate.State, now time.Time) (failures []forestall.Failure) {
	for _, name := range s.WorkloadNames() {
		w := s.Workloads[name]
		holder, held := w.Holder()
		if !held || !w.Running {
			continue
		}
		if expired, _ := e.leases.Expired(name, holder.Node, holder.Epoch); !expired {
			continue
		}
		established := now
		if !now.After(w.Started) { // by the clock of a leader that was ahead of this one's
			established = w.Started.Add(1)
		}
		kind := forestall.ServiceFailure
		if w.Spec.Kind == forestall.KindAgent {
			kind = forestall.AgentFailure
		}
		failures = append(failures, forestall.Failure{
			Component: w.Spec.Component(), Kind: kind, Time: established,
			Evidence: []string{fmt.Sprintf("the lease of epoch %d ran out and node %s has not said why", holder.Epoch, holder.Node)},
		})
	}
	return failures
}

func (e *Engine) carryOut(ctx context.Context, d forestall.Decision) {
	log := e.log.With("action", d.Action, "workload", d.Workload, "component", d.Component, "why", strings.Join(d.Reasons, "; "))
	switch {
	case d.HeldOut:
		log.Info("held out: left undone on purpose", "id", d.ID)
		err := e.propose(ctx, "held-out/"+d.ID, &migrate.HeldOut{Intervention: forestall.Intervention{
			Decision: d.ID, Component: d.Component, Action: d.Action, Time: d.Time,
		}})
		if err != nil && ctx.Err() == nil && !errors.Is(err, migrate.ErrDuplicate) {
			e.log.Warn("held-out decision not recorded", "decision", d.ID, "error", err)
		}
	case d.Mode != forestall.Act:
		e.observe(ctx, d, log)
	case d.Action == forestall.ActionCheckpoint:
		log.Info("preemptive checkpoint")
		e.checkpoints.Go(func() { e.preempt(ctx, d) })
	default:
		err := e.propose(ctx, "propose/"+d.ID, &migrate.Propose{Decision: d})
		switch {
		case err == nil:
			log.Info("agreed", "id", d.ID)
		case errors.Is(err, migrate.ErrDuplicate), errors.Is(err, migrate.ErrBusy):
			log.Debug("not agreed", "id", d.ID, "reason", err)
		case ctx.Err() == nil:
			log.Warn("not agreed", "id", d.ID, "reason", err)
		}
	}
}

// observe writes a decision down once, for those who judge the policy before it acts.
func (e *Engine) observe(ctx context.Context, d forestall.Decision, log *slog.Logger) {
	log.Info("would act; the policy observes", "id", d.ID)
	var known bool
	e.ledger.View(func(s *migrate.State) { known = s.HasObserved(d.ID) })
	if known {
		return
	}
	err := e.propose(ctx, "observed/"+d.ID, &migrate.Observed{Decision: d})
	if err != nil && ctx.Err() == nil && !errors.Is(err, migrate.ErrDuplicate) {
		log.Warn("the decision was not recorded", "id", d.ID, "error", err)
	}
}

// preempt has a workload's node take a checkpoint and records the intervention.
func (e *Engine) preempt(ctx context.Context, d forestall.Decision) {
	limit, cancel := context.WithTimeout(ctx, e.cfg.FaultTolerance.RecoveryTimeout.Duration)
	defer cancel()
	w, ok := e.workloadState(d.Workload)
	if !ok {
		return
	}
	c, err := order(limit, e, w.Node, "/peer/order/checkpoint", checkpointOrder{Workload: d.Workload, Epoch: w.Epoch, Label: "preemptive: " + d.Component.String()}, e.checkpointNow)
	if err != nil {
		if ctx.Err() == nil {
			e.log.Warn("preemptive checkpoint not taken", "workload", d.Workload, "error", err)
		}
		return
	}
	err = e.propose(limit, "intervened/"+d.ID, &migrate.Intervened{Intervention: forestall.Intervention{
		Decision: d.ID, Component: d.Component, Action: d.Action, Time: d.Time,
	}})
	if err != nil && ctx.Err() == nil && !errors.Is(err, migrate.ErrDuplicate) {
		e.log.Warn("intervention not recorded", "decision", d.ID, "error", err)
	}
	e.log.Info("preemptive checkpoint counts", "workload", d.Workload, "checkpoint", short(c.ID), "took", c.Took, "pause", c.Pause)
}

func (e *Engine) workloadState(name string) (w migrate.WorkloadState, ok bool) {
	e.ledger.View(func(s *migrate.State) {
		if state := s.Workloads[name]; state != nil {
			w, ok = *state, true
		}
	})
	return w, ok
}

// measuredCosts reads from the ledger what a workload's last moves and
// checkpoints cost it.
func measuredCosts(s *migrate.State) map[string]migrate.Costs {
	costs := map[string]migrate.Costs{}
	for name, w := range s.Workloads {
		if w.Head != nil {
			costs[name] = migrate.Costs{CheckpointPause: w.Head.Pause}
		}
	}
	for _, m := range s.Closed {
		if m.Phase != forestall.PhaseDone {
			continue
		}
		c := costs[m.Workload]
		switch m.Action {
		case forestall.ActionMigrate, forestall.ActionDrain:
			c.MovePause = m.Pause
		case forestall.ActionRecover:
			c.Recovery = m.At[forestall.PhaseDone].Sub(m.At[forestall.PhaseProposed])
		}
		costs[m.Workload] = c
	}
	return costs
}

// openMigrate makes the ledger's consumers: leases, policy and executor.
func (e *Engine) openMigrate() error {
	e.leases = migrate.NewLeases(e.leaseTerm(), bootClock)
	ft, m := e.cfg.FaultTolerance, e.cfg.Migration

	p := migrate.DefaultPolicyConfig()
	p.Modes = migrate.Modes{Checkpoint: e.cfg.Policy.Checkpoint, Migrate: e.cfg.Policy.Migrate, Drain: e.cfg.Policy.Drain}
	p.CheckpointInterval = ft.CheckpointInterval.Duration
	p.CheckpointGap = min(p.CheckpointGap, ft.CheckpointInterval.Duration/4)
	p.HoldOut = e.cfg.Policy.HoldOut
	p.MaxRiskAge = max(3*ft.PredictionInterval.Duration, e.timing.fresh)
	var err error
	if e.policy, err = migrate.NewPolicy(p); err != nil {
		return fmt.Errorf("policy: %w", err)
	}

	x := migrate.DefaultExecutorConfig()
	x.RecoveryStrategy, x.MigrationStrategy = migrate.Strategy(ft.RecoveryStrategy), migrate.Strategy(m.Strategy)
	x.KeepGPUsNear = m.PreserveGPUAffinity
	x.MaxAttempts, x.RecoveryTimeout = ft.MaxRecoveryAttempts, ft.RecoveryTimeout.Duration
	x.Breaker = migrate.BreakerConfig{
		Failures: e.cfg.CircuitBreaker.FailureThreshold, Reset: e.cfg.CircuitBreaker.ResetTimeout.Duration, HalfOpen: e.cfg.CircuitBreaker.HalfOpenRequests,
	}
	x.Now, x.Logger, x.Registerer = e.now, e.log, e.registry
	x.Conditions = func() migrate.Conditions {
		return migrate.Conditions{Risks: e.reports.risks(e.now(), e.timing.fresh)}
	}
	e.executor, err = migrate.NewExecutor(e.ledger, e.proposeRaw, nodes{e}, e.leases, x)
	return err
}

// bootClock reads CLOCK_BOOTTIME, which goes on while the machine sleeps.
func bootClock() time.Duration { return time.Duration(workload.Now()) }
