package migrate

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
)

// drive lets a leader take its next step: the executor's loop, in the model.
func (w *world) drive(n *modelNode) {
	if !n.leading {
		return
	}
	if n.inCall != nil && n.token != 0 { // break off what the ledger no longer wants
		var st Step
		n.ledger.View(func(s *State) { st = Next(s, "w") })
		if st != n.inCall.step {
			n.token, n.inCall = 0, nil
		}
	}
	if n.token != 0 {
		return
	}
	if n.mover == nil {
		n.mover = &mover{workload: "w", cfg: &modelConfig}
	}
	m := n.mover
	var d deed
	env := surroundings{now: modelEpochTime.Add(n.clock(w.now)), leases: n.leases, tripped: func(string) string { return "" }}
	n.ledger.View(func(s *State) { d = m.next(s, env) })
	if d.call == nil && d.command == nil {
		return
	}
	w.serial++
	token := int(w.serial)
	n.token, n.inCall = token, d.call
	mine := func(do func()) {
		if n.token == token && n.mover == m {
			n.token, n.inCall = 0, nil
			do()
			w.drive(n)
		}
	}
	now := func() time.Time { return modelEpochTime.Add(n.clock(w.now)) }
	if d.command != nil {
		w.propose(n, d.id, d.command, func(v any, err error) {
			if r, no := v.(error); no {
				err = refusal{r}
			}
			mine(func() { m.proposed(d.command, err, now()) })
		})
		return
	}
	w.serve(n, d.call, func(v any, err error) { mine(func() { m.called(d.call, v, err, now()) }) })
}

var modelConfig = func() ExecutorConfig {
	c := DefaultExecutorConfig()
	c.SaveTimeout, c.FenceTimeout, c.StopTimeout, c.StartTimeout = time.Second, 500*time.Millisecond, 500*time.Millisecond, time.Second
	c.RecoveryTimeout = 6 * time.Second
	return c
}()

func (w *world) serve(l *modelNode, c *call, back func(any, error)) {
	st := c.step
	if st.Kind == StepFence {
		w.serveFence(l, st.Epoch, back)
		return
	}
	n := w.node(st.Node)
	w.rpc(l, n, max(c.timeout, time.Millisecond), func(reply func(any, error)) {
		switch st.Kind {
		case StepThaw:
			w.serveResume(n, st, reply)
		case StepSave:
			w.serveSave(n, st, reply)
		case StepStop:
			w.serveStop(n, st, reply)
		case StepStart:
			w.serveStart(n, c.order.Epoch, reply)
		}
	}, back)
}

func (w *world) node(name string) *modelNode {
	for _, n := range w.nodes {
		if n.name == name {
			return n
		}
	}
	panic("no node " + name)
}

// tick reports the ends of runs and, on a leader, detects and decides.
func (w *world) tick(n *modelNode) {
	w.report(n)
	if !n.leading || n.proposing {
		return
	}
	put := func(id string, c Command) {
		n.proposing = true
		w.propose(n, id, c, func(any, error) { n.proposing = false })
	}
	state := n.ledger.State()
	for _, other := range w.nodes {
		if other.up && w.connected(n, other) && w.now >= other.pausedUntil {
			n.seen[other.name] = w.now
		}
		silent := w.now-n.seen[other.name] > 1200*time.Millisecond
		switch {
		case silent && state.Alive(other.name):
			put("", &NodeFailed{Name: other.name})
			return
		case !silent && state.Failed(other.name):
			put("", &NodeBack{Name: other.name})
			return
		}
	}
	p, err := NewPolicy(DefaultPolicyConfig())
	if err != nil {
		panic(err)
	}
	var ds []forestall.Decision
	n.policy, ds = p.Decide(n.policy, Evidence{Now: modelEpochTime.Add(n.clock(w.now)), Ledger: &state})
	for _, d := range ds {
		put("propose "+d.ID, &Propose{d})
		return
	}
}

// migrate proposes a preemptive move at whoever leads.
func (w *world) migrate() {
	l := w.leader
	if !l.up || !l.leading {
		return
	}
	s := l.ledger.State()
	ws := s.Workloads["w"]
	if !ws.Running || ws.Migration != "" {
		return
	}
	d := decision(forestall.ActionMigrate, ws, forestall.Node(ws.Node), modelEpochTime.Add(w.now), "model")
	w.propose(l, "propose "+d.ID, &Propose{d}, func(any, error) {})
}

// settled reports whether the workload runs, once, with nothing left to do.
func (w *world) settled() error {
	w.catchUp(w.leader)
	s := w.leader.ledger.State()
	ws := s.Workloads["w"]
	live := 0
	for _, n := range w.nodes {
		if n.run != nil {
			live++
			if n.run.epoch != ws.Epoch || n.run.frozenFor != "" {
				return fmt.Errorf("run %d on %s, frozen for %q, while the ledger is at epoch %d", n.run.epoch, n.name, n.run.frozenFor, ws.Epoch)
			}
		}
	}
	if live != 1 || !ws.Running || ws.Migration != "" || len(ws.Holders) != 1 || ws.Thaw != "" {
		return fmt.Errorf("%d runs alive; running %v, migration %q, holders %+v, thaw %q, gave up %q", live, ws.Running, ws.Migration, ws.Holders, ws.Thaw, ws.GaveUp)
	}
	return nil
}

// heal waits until the workload runs again and nothing is left to do, and
// returns what went wrong instead.
func (w *world) heal() error {
	w.faulty, w.cut = false, [3][3]bool{}
	for _, n := range w.nodes {
		n.pausedUntil = 0
	}
	for range 60 {
		w.runUntil(w.now + time.Second)
		if len(w.faults) > 0 {
			return errors.New(strings.Join(w.faults, "; "))
		}
		if w.settled() == nil {
			return nil
		}
	}
	return fmt.Errorf("a minute after every fault was healed: %w", w.settled())
}
