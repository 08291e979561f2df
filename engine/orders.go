package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/detect"
	"github.com/stratoswarm/forestall/migrate"
	"github.com/stratoswarm/forestall/workload"
)

// saveOrder asks a node for a workload's final checkpoint.
type saveOrder struct {
	Workload  string          `json:"workload"`
	Epoch     forestall.Epoch `json:"epoch"`
	Migration string          `json:"migration"`
}

// resumeOrder lets a workload go on after its migration was aborted.
type resumeOrder struct {
	Workload  string          `json:"workload"`
	Epoch     forestall.Epoch `json:"epoch"`
	Migration string          `json:"migration"`
}

// stopOrder ends every run of a workload up to an epoch.
type stopOrder struct {
	Workload string          `json:"workload"`
	UpTo     forestall.Epoch `json:"up_to"`
	Reason   string          `json:"reason"`
}

type done struct{}

// save takes the final checkpoint: the workload stands still afterwards, until
// it is resumed or stopped. Asked again for the same migration, it answers
// with the same checkpoint.
func (e *Engine) save(ctx context.Context, o saveOrder) (forestall.Checkpoint, error) {
	if err := e.runsEpoch(o.Workload, o.Epoch); err != nil {
		return forestall.Checkpoint{}, err
	}
	if c, saved, err := e.holds.begin(o); saved || err != nil {
		return c, err
	}
	c, err := e.manager.Create(ctx, checkpoint.Request{Workload: o.Workload, Label: "before migration " + o.Migration, Final: true})
	if err != nil {
		return c, fmt.Errorf("final checkpoint of %s: %w", o.Workload, err)
	}
	stands, goOn := e.holds.finish(o, c)
	if stands {
		return c, nil
	}
	err = fmt.Errorf("migration %s was aborted", o.Migration)
	if goOn {
		err = errors.Join(err, e.supervisor.Thaw(ctx, o.Workload, o.Epoch))
	}
	return c, err
}

func (e *Engine) resume(ctx context.Context, o resumeOrder) (done, error) {
	if err := e.runsEpoch(o.Workload, o.Epoch); err != nil {
		return done{}, err
	}
	if !e.holds.resume(o) {
		return done{}, nil
	}
	return done{}, e.supervisor.Thaw(ctx, o.Workload, o.Epoch)
}

func (e *Engine) stop(ctx context.Context, o stopOrder) (done, error) {
	_, err := e.supervisor.Stop(ctx, o.Workload, o.UpTo, o.Reason)
	if err == nil {
		e.heartbeatsEnd(o.Workload)
		e.holds.end(o.Workload)
	}
	return done{}, err
}

// start is step 5 of ADR 1: lease, fence, restore, launch. One order at a time:
// the state directory of a run must not be replaced by a start that came twice.
func (e *Engine) start(ctx context.Context, o migrate.StartOrder) (done, error) {
	name := o.Workload.Name
	unlock, err := e.starts.lock(ctx, name)
	if err != nil {
		return done{}, fmt.Errorf("start %s: another start is under way: %w", name, err)
	}
	defer unlock()
	if slices.ContainsFunc(e.supervisor.List(), func(s workload.Status) bool { return s.Workload.Name == name && s.Epoch == o.Epoch }) {
		return done{}, nil
	}
	if floor := e.supervisor.Floor(name); o.Epoch <= floor {
		return done{}, fmt.Errorf("start %s: epoch %d was launched or forbidden here before (floor %d): %w", name, o.Epoch, floor, forestall.ErrStaleEpoch)
	}
	if _, err := e.leaseFor(ctx, name, o.Epoch); err != nil {
		return done{}, err
	}
	fenced, err := e.replicas.Fenced(ctx, name)
	if err != nil {
		return done{}, fmt.Errorf("start %s: ask a quorum for its fence: %w", name, err)
	}
	if fenced > o.Epoch {
		return done{}, fmt.Errorf("start %s with epoch %d: a quorum is fenced at %d: %w", name, o.Epoch, fenced, forestall.ErrStaleEpoch)
	}
	if e.runsHere(name) {
		return done{}, fmt.Errorf("start %s with epoch %d: an earlier run is still alive here", name, o.Epoch)
	}
	w := o.Workload
	if w.StateDir == "" {
		w.StateDir = filepath.Join(e.cfg.Engine.DataDir, "state", name)
	}
	if err := e.cfg.checkStateDir(w.StateDir); err != nil {
		return done{}, fmt.Errorf("%w: %s: state_dir: %w", migrate.ErrWorkload, name, err)
	}
	if err := e.restore(ctx, o, w.StateDir); err != nil {
		return done{}, err
	}
	// Restoring can take longer than a lease lasts: the launch has one of its own.
	deadline, err := e.leaseFor(ctx, name, o.Epoch)
	if err != nil {
		return done{}, err
	}
	err = e.supervisor.Start(ctx, workload.Launch{
		Workload: w, Epoch: o.Epoch, Node: e.name, GPUs: o.GPUs, Deadline: deadline,
		HeartbeatURL: e.api.URL() + "/v1/heartbeats/" + w.Component().String(),
	})
	if errors.Is(err, workload.ErrWorkload) { // not this node's fault
		return done{}, fmt.Errorf("%w on %s: %w", migrate.ErrWorkload, e.name, err)
	}
	if err != nil {
		return done{}, fmt.Errorf("start %s on %s: %w", name, e.name, err)
	}
	e.watch(w, o.Epoch)
	return done{}, nil
}

// watch begins what goes with a run on this node.
func (e *Engine) watch(w forestall.Workload, epoch forestall.Epoch) {
	e.heartbeats.Track(w.Component(), e.now())
	e.metrics.epoch.WithLabelValues(w.Name).Set(float64(epoch))
	e.setLoads()
}

func (e *Engine) leaseFor(ctx context.Context, name string, epoch forestall.Epoch) (workload.Deadline, error) {
	deadline, grants, err := e.askLease(ctx, []runKey{{name, epoch}})
	if err != nil {
		return 0, fmt.Errorf("start %s: no lease: %w", name, err)
	}
	if !grants[0].Granted {
		return 0, fmt.Errorf("start %s: lease for epoch %d refused: %s", name, epoch, grants[0].Reason)
	}
	return deadline, nil
}

// restore puts the checkpoint in place of whatever the state directory holds.
// A workload without a checkpoint starts with the directory as it is.
func (e *Engine) restore(ctx context.Context, o migrate.StartOrder, dir string) error {
	if o.Checkpoint == "" {
		return os.MkdirAll(dir, 0o700)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	start := e.now()
	name, id := o.Workload.Name, o.Checkpoint
	err := e.chunks.Restore(ctx, id, dir)
	if errors.Is(err, checkpoint.ErrCorrupt) {
		e.log.Error("this node's copy of a checkpoint is damaged; asking its peers", "workload", name, "checkpoint", short(id), "error", err)
		_ = e.chunks.Verify(ctx, id) // moves everything that is rotten aside
	}
	if err != nil {
		if e.fetch(ctx, id, o.Replicas) == nil {
			err = e.chunks.Restore(ctx, id, dir)
		}
	}
	if err != nil {
		return fmt.Errorf("restore checkpoint %s of %s: %w; no peer could replace it; the state directory is as it was", short(id), name, err)
	}
	e.log.Info("state restored", "workload", name, "checkpoint", short(id), "took", e.now().Sub(start))
	return nil
}

func (e *Engine) runsEpoch(name string, epoch forestall.Epoch) error {
	for _, s := range e.supervisor.List() {
		if s.Workload.Name == name {
			if s.Epoch == epoch {
				return nil
			}
			return fmt.Errorf("%s runs epoch %d here, not %d: %w", name, s.Epoch, epoch, forestall.ErrStaleEpoch)
		}
	}
	return fmt.Errorf("%s does not run on node %s", name, e.name)
}

func (e *Engine) runsHere(name string) bool {
	return slices.ContainsFunc(e.supervisor.List(), func(s workload.Status) bool { return s.Workload.Name == name })
}

// setLoads makes simulated GPUs as busy as their workloads.
func (e *Engine) setLoads() {
	if e.sim == nil {
		return
	}
	load := make([]float64, e.gpuCount)
	for _, s := range e.supervisor.List() {
		for _, g := range s.GPUs {
			if g < len(load) {
				load[g] = 0.9
			}
		}
	}
	for g, l := range load {
		e.sim.SetLoad(g, l)
	}
}

// short abbreviates a checkpoint's ID for people.
func short(id string) string { return id[:min(len(id), 12)] }

// nodes carries the executor's orders to where they belong.
type nodes struct{ *Engine }

var _ migrate.Nodes = nodes{}

func order[Reply, Request any](ctx context.Context, e *Engine, node, path string, q Request, here func(context.Context, Request) (Reply, error)) (Reply, error) {
	if node == e.name {
		return here(ctx, q)
	}
	address, ok := e.peer(node)
	if !ok {
		var none Reply
		return none, fmt.Errorf("node %s has no known address", node)
	}
	reply, err := call[Reply](ctx, e.client, e.peerURL(address), path, q)
	if err != nil {
		return reply, fmt.Errorf("node %s: %w", node, err)
	}
	return reply, nil
}

func (n nodes) Save(ctx context.Context, node, name string, epoch forestall.Epoch, migration string) (forestall.Checkpoint, error) {
	return order(ctx, n.Engine, node, "/peer/order/save", saveOrder{name, epoch, migration}, n.save)
}

func (n nodes) Resume(ctx context.Context, node, name string, epoch forestall.Epoch, migration string) error {
	_, err := order(ctx, n.Engine, node, "/peer/order/resume", resumeOrder{name, epoch, migration}, n.resume)
	return err
}

func (n nodes) Fence(ctx context.Context, name string, epoch forestall.Epoch) ([]string, error) {
	acks, err := n.replicas.Fence(ctx, name, epoch)
	if err == nil && n.offsite != nil {
		n.offsite.Fence(name, epoch)
	}
	return acks, err
}

func (n nodes) Stop(ctx context.Context, node, name string, upTo forestall.Epoch, reason string) error {
	_, err := order(ctx, n.Engine, node, "/peer/order/stop", stopOrder{name, upTo, reason}, n.stop)
	return err
}

func (n nodes) Start(ctx context.Context, node string, o migrate.StartOrder) error {
	_, err := order(ctx, n.Engine, node, "/peer/order/start", o, n.start)
	return err
}

// watchExits tells the ledger that a run is over, and the leader that it
// failed if it was not meant to end.
func (e *Engine) watchExits(ctx context.Context) error {
	var telling sync.WaitGroup
	defer telling.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case exited := <-e.supervisor.Exits():
			e.setLoads()
			telling.Go(func() { e.exited(ctx, exited) })
		}
	}
}

// exited returns once the ledger knows, or ctx has ended: the next engine then
// tells it.
func (e *Engine) exited(ctx context.Context, x workload.Exited) {
	if !e.await(ctx, func(s *migrate.State) bool { return s.Workloads[x.Workload] != nil }) {
		return
	}
	e.heartbeatsEnd(x.Workload)
	e.holds.end(x.Workload)
	spec, _ := e.spec(x.Workload)
	failure, failed := detect.ExitFailure(spec, x.Exit)
	if failed {
		e.outbox.add(failureReport{failure, x.Epoch})
	}
	err := e.propose(ctx, fmt.Sprintf("exit/%s/%d", x.Workload, x.Epoch), &migrate.Stopped{
		Workload: x.Workload, Node: e.name, Epoch: x.Epoch, How: migrate.HowExited, Completed: !failed && !x.Expected,
	})
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		e.log.Warn("the end of a run was not taken", "workload", x.Workload, "epoch", x.Epoch, "error", err)
	}
	if err := e.supervisor.Acknowledge(x.Workload, x.Epoch); err != nil {
		e.log.Warn("the end of a run will be told again", "workload", x.Workload, "epoch", x.Epoch, "error", err)
	}
}

// thawLeftovers lets runs go on that an earlier engine left frozen in the
// middle of a checkpoint, unless a migration has them stand still.
func (e *Engine) thawLeftovers(ctx context.Context) {
	for _, s := range e.supervisor.List() {
		if !s.Frozen {
			continue
		}
		var open bool
		e.ledger.View(func(state *migrate.State) {
			w := state.Workloads[s.Workload.Name]
			open = w == nil || w.Migration != "" || w.Epoch != s.Epoch
		})
		if open {
			continue
		}
		if err := e.supervisor.Thaw(ctx, s.Workload.Name, s.Epoch); err != nil {
			e.log.Warn("a frozen workload cannot go on", "workload", s.Workload.Name, "error", err)
			continue
		}
		e.log.Info("thawed a workload that an earlier engine left frozen", "workload", s.Workload.Name, "frozen_for_at_most", time.Since(s.Started).Round(time.Second))
	}
}
