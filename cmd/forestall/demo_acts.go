package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/internal/worker"
)

// patience bounds every wait: long, because the machine may be busy.
const patience = time.Minute

const (
	demoFailure     = "thermal_runaway"
	demoFailureOver = 30 * time.Second
)

// demoFresh and demoStale bound how old the victim's newest checkpoint is when
// its GPU begins to fail. The alarm comes 19 to 23 s later, and periodic
// checkpoints each 9 to 10 s: it comes when a good part of an interval is
// unsaved, so that a preemptive checkpoint is worth its pause, and a second
// before the next periodic one. Right after one the policy rightly takes none.
const (
	demoFresh = 2300 * time.Millisecond
	demoStale = 3300 * time.Millisecond
)

// errNoVictim is wrapped when nothing fits to let it fail.
var errNoVictim = errors.New("no victim")

// formCluster waits for a leader, for running workloads with checkpoints, and
// until every GPU can be judged.
func (s *demoShow) formCluster(ctx context.Context) error {
	err := s.await(ctx, "a cluster of all nodes with a leader", patience, func(d demoSight) (bool, string) { return d.formed(s.plan.nodes) })
	if err != nil {
		return err
	}
	s.sum.check(true, "cluster formed", "%s, leader %s elected by Raft", textCount(s.plan.nodes, "node"), s.sight.status.Leader)
	if err := s.await(ctx, "every workload with a checkpoint", patience, demoSight.settled); err != nil {
		return err
	}
	s.sum.check(true, "workloads started", "%s, each with a checkpoint on a quorum of nodes", textCount(len(s.sight.workloads), "workload"))
	return s.await(ctx, "a known risk of every GPU", patience, func(d demoSight) (bool, string) {
		for _, n := range s.cluster.nodes {
			for g := range s.plan.gpus {
				if r := d.risk(forestall.GPU(n.name, g)); r.Grade == forestall.Unknown {
					return false, fmt.Sprintf("%s is unknown: %s", r.Component, r.Note)
				}
			}
		}
		return true, ""
	})
}

// degradeGPU lets a GPU under a workload fail slowly and follows how the
// workload leaves before.
func (s *demoShow) degradeGPU(ctx context.Context) error {
	victim, ok := pick(s.rng, s.sight.workloads, func(w api.WorkloadStatus) bool { return w.Node != s.sight.status.Leader && len(w.GPUs) > 0 })
	if !ok {
		return fmt.Errorf("%w: no workload is on another node than the leader", errNoVictim)
	}
	err := s.await(ctx, "a fresh checkpoint of "+victim.Name, patience, func(d demoSight) (bool, string) {
		victim = d.workload(victim.Name)
		if victim.Head == nil || len(victim.GPUs) == 0 {
			return false, "it has none"
		}
		age := d.at.Sub(victim.Head.Time)
		return age >= demoFresh && age < demoStale, "its newest one is never seen at an age of " + demoFresh.String() + " to " + demoStale.String()
	})
	if err != nil {
		return err
	}
	index := victim.GPUs[s.rng.IntN(len(victim.GPUs))]
	gpu := forestall.GPU(victim.Node, index)
	injected := time.Now()
	if err := s.cluster.node(victim.Node).api.Inject(ctx, index, demoFailure, demoFailureOver); err != nil {
		return fmt.Errorf("degrade %s: %w", gpu, err)
	}
	s.say("%s begins to overheat and will fail in %.0f s; %s runs on it. Forestall is not told", gpu, demoFailureOver.Seconds(), victim.Name)
	failsAt := injected.Add(demoFailureOver)
	f := &demoForestalled{Component: gpu, Mode: demoFailure, Workload: victim.Name, From: victim.Node}

	err = s.await(ctx, "a rising risk of "+gpu.String(), patience, func(d demoSight) (bool, string) {
		r := d.risk(gpu)
		f.Suspect, f.Reasons = secondsBetween(injected, r.Time), raising(r)
		return r.Grade >= forestall.Suspect, fmt.Sprintf("it is %s, %s", r.Grade, textRisk(r))
	})
	if err != nil {
		return err
	}
	s.sum.check(len(f.Reasons) > 0, "risk rose, with reasons", "%.1f s after it began: %s", f.Suspect, strings.Join(f.Reasons, "; "))

	var move forestall.Migration
	err = s.await(ctx, "the move of "+victim.Name, time.Until(failsAt)+patience/2, func(d demoSight) (bool, string) {
		if move, ok = d.move(victim.Name, gpu, injected); !ok {
			return false, fmt.Sprintf("none is agreed on; %s is %s", gpu, textRisk(d.risk(gpu)))
		}
		w := d.workload(victim.Name)
		return move.Phase == forestall.PhaseDone && w.Epoch >= move.Epoch && w.State == api.StateRunning, "it is " + string(move.Phase) + ", " + move.Note
	})
	if err != nil {
		return err
	}
	f.To, f.PauseEngine = move.To, move.Pause.Seconds()
	f.Decided, f.Lead = secondsBetween(injected, move.Time), secondsBetween(move.Time, failsAt)
	s.sum.Forestalled = f
	s.checkPreempted(ctx, f, injected)
	s.sum.check(f.Lead > 0 && move.To != move.From, "move agreed by Raft", "%s from %s to %s as epoch %s, decided %s ahead of the failure", move.Workload, move.From, move.To, move.Epoch, inSeconds(f.Lead))

	var failed forestall.Incident
	err = s.await(ctx, "the failure of "+gpu.String(), time.Until(failsAt)+patience, func(d demoSight) (bool, string) {
		failed, ok = d.incident(gpu)
		return ok, "it has not failed"
	})
	if err != nil {
		return err
	}
	users := s.sight.uses(gpu)
	s.sum.check(len(users) == 0, "it failed with nothing on it", "%s: %s; workloads on it: %s", gpu, strings.Join(failed.Evidence, "; "), cmp.Or(strings.Join(users, ", "), "none"))
	return s.checkMoved(ctx, f, move, failsAt)
}

// checkPreempted checks that a checkpoint was taken because of the risk, by
// what the node that took it has in its store. The final one of the move is
// none.
func (s *demoShow) checkPreempted(ctx context.Context, f *demoForestalled, injected time.Time) {
	const name = "preemptive checkpoint"
	all, err := s.cluster.node(f.From).api.Checkpoints(ctx, f.Workload)
	if err != nil {
		s.sum.check(false, name, "%v", err)
		return
	}
	c, ok := preemptive(all, f.Component, injected)
	if !ok {
		s.sum.check(false, name, "none of the %d checkpoints of %s was taken because of %s", len(all), f.Workload, f.Component)
		return
	}
	s.sum.check(true, name, "%s, %.1f s before the failure: %s", shortID(c.ID), demoFailureOver.Seconds()-secondsBetween(injected, c.Time), c.Label)
}

// preemptive finds the oldest checkpoint that was taken because of a component
// after a moment.
func preemptive(all []forestall.Checkpoint, because forestall.Component, after time.Time) (oldest forestall.Checkpoint, found bool) {
	for _, c := range all {
		if labelComponent(c.Label) == because && c.Time.After(after) && (!found || c.Time.Before(oldest.Time)) {
			oldest, found = c, true
		}
	}
	return oldest, found
}

// checkMoved reads from the journal what the move cost.
func (s *demoShow) checkMoved(ctx context.Context, f *demoForestalled, move forestall.Migration, failsAt time.Time) error {
	h, err := s.awaitHandover(ctx, f.Workload, move.Epoch)
	if err != nil {
		return err
	}
	f.Pause, f.Clear = h.pause().Seconds(), secondsBetween(h.resumed, failsAt)
	f.StepsRedone, f.StepsLost = h.redone, h.skipped
	s.sum.check(h.redone == 0 && h.skipped == 0 && f.Clear > 0, "the move lost nothing", "%s done twice, %d skipped, by its journal; on %s %s before the failure",
		textCount(int(h.redone), "step"), h.skipped, f.To, inSeconds(f.Clear))
	return nil
}

// awaitHandover waits until a workload's journal shows work in an epoch.
func (s *demoShow) awaitHandover(ctx context.Context, workload string, epoch forestall.Epoch) (h demoHandover, err error) {
	err = s.await(ctx, fmt.Sprintf("a step of %s in epoch %s", workload, epoch), patience, func(demoSight) (bool, string) {
		entries, err := worker.ReadJournals(demoJournal(s.cluster.dir, workload))
		if err == nil {
			h, err = handover(entries, epoch)
		}
		return err == nil, fmt.Sprint(err)
	})
	return h, err
}

// killNode ends a node without warning and follows how its workloads recover.
func (s *demoShow) killNode(ctx context.Context) error {
	err := s.await(ctx, "every workload with a checkpoint of its run", patience, demoSight.settled)
	if err != nil {
		return err
	}
	spared := s.sum.Forestalled.From // its GPU has failed; another one is to die
	victim, ok := pick(s.rng, s.cluster.nodes, func(n *demoNode) bool { return n.name != spared && len(s.sight.on(n.name)) > 0 })
	if !ok {
		return fmt.Errorf("%w: no node but %s has workloads", errNoVictim, spared)
	}
	before := s.sight.on(victim.name)
	r := &demoRecovered{Node: victim.name, Led: s.sight.status.Leader == victim.name}
	processes, err := demoProcesses(victim.dir)
	if err != nil {
		return err
	}
	r.Killed = len(processes)
	if err := victim.kill(); err != nil {
		return err
	}
	what := "a follower"
	if r.Led {
		what = "the leader"
	}
	s.say("%s, %s, dies: SIGKILL to its %d processes; on it: %s", victim.name, what, r.Killed, namesOf(before))

	var dead forestall.Incident
	err = s.await(ctx, "that the others notice the death of "+victim.name, patience, func(d demoSight) (bool, string) {
		dead, ok = d.incident(forestall.Node(victim.name))
		return ok, "no incident is open"
	})
	if err != nil {
		return err
	}
	r.Detection = secondsBetween(victim.killed, dead.Agreed)
	s.sum.Recovered = r
	s.sum.check(true, "death detected", "%s: %s", inSeconds(r.Detection), strings.Join(dead.Evidence, "; "))
	for _, w := range before {
		if err := s.followRecovery(ctx, r, w, victim); err != nil {
			return err
		}
	}
	s.sum.check(true, "its workloads recovered", "%s from their newest checkpoints", namesOf(before))
	return nil
}

// checkpointSlack is what the work lost may exceed the checkpoint interval by:
// the time until a checkpoint that falls due has been taken and counts.
const checkpointSlack = time.Second

// followRecovery waits until a workload of a dead node works elsewhere.
func (s *demoShow) followRecovery(ctx context.Context, r *demoRecovered, before api.WorkloadStatus, dead *demoNode) error {
	var now api.WorkloadStatus
	err := s.await(ctx, "the recovery of "+before.Name, patience, func(d demoSight) (bool, string) {
		now = d.workload(before.Name)
		ok := now.Epoch > before.Epoch && now.Node != dead.name && now.State == api.StateRunning
		return ok, fmt.Sprintf("it is %s on %s, epoch %s %s", now.State, now.Node, now.Epoch, now.Note)
	})
	if err != nil {
		return err
	}
	h, err := s.awaitHandover(ctx, before.Name, now.Epoch)
	if err != nil {
		return err
	}
	r.Workloads = append(r.Workloads, demoRecoveredOf{
		Workload: before.Name, To: now.Node, Recovery: secondsBetween(dead.killed, h.resumed), LostSteps: h.redone, Lost: h.undone.Seconds(),
	})
	s.sum.check(h.undone <= demoCheckpointInterval+checkpointSlack && h.skipped == 0, "work lost by "+before.Name+" is bounded",
		"%s, at most the checkpoint interval of %s and %s to take one; %d steps skipped", inSeconds(h.undone.Seconds()), demoCheckpointInterval, checkpointSlack, h.skipped)
	return nil
}

// verify reads all journals: what ran, and never two copies at once.
func (s *demoShow) verify(ctx context.Context) error {
	if err := s.await(ctx, "every workload running", patience, demoSight.settled); err != nil {
		return err
	}
	journals := map[string][]worker.Entry{}
	for _, w := range demoWorkloads {
		entries, err := worker.ReadJournals(demoJournal(s.cluster.dir, w.name))
		if err != nil {
			return fmt.Errorf("read the journal of %s: %w", w.name, err)
		}
		if len(entries) > 0 {
			journals[w.name] = entries
		}
	}
	c := countCopies(journals)
	s.sum.Copies = &c
	s.sum.check(len(journals) == len(demoWorkloads) && len(c.Overlaps) == 0 && c.Skipped == 0, "never two copies of a workload",
		"%s of %s; overlaps: %s", textCount(c.Runs, "run"), textCount(len(journals), "workload"), cmp.Or(strings.Join(c.Overlaps, "; "), "none"))
	return nil
}

func namesOf(workloads []api.WorkloadStatus) string {
	var names []string
	for _, w := range workloads {
		names = append(names, w.Name)
	}
	return strings.Join(names, ", ")
}

// pick chooses one of those that fit, in their order.
func pick[T any](rng *rand.Rand, all []T, fits func(T) bool) (chosen T, ok bool) {
	var fit []T
	for _, x := range all {
		if fits(x) {
			fit = append(fit, x)
		}
	}
	if len(fit) == 0 {
		return chosen, false
	}
	return fit[rng.IntN(len(fit))], true
}
