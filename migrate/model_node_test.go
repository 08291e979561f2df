package migrate

import (
	"errors"
	"fmt"
	"time"

	"github.com/stratoswarm/forestall"
)

// boot starts a node's engine.
func (w *world) boot(n *modelNode) {
	n.up, n.pausedUntil, n.leading, n.launching, n.token, n.mover = true, 0, false, 0, 0, nil
	n.life++
	term := modelTerm
	if w.broken.noLeaseWait {
		term = 1
	}
	n.leases = NewLeases(term, func() time.Duration { return n.clock(w.now) })
	w.everyOn(n, modelTerm/3, func() { w.renew(n) })
	w.everyOn(n, 250*time.Millisecond, func() { w.tick(n) })
	w.everyOn(n, 20*time.Millisecond, func() { w.drive(n) })
}

// crashEngine kills the engine; the shim lives on.
func (w *world) crashEngine(n *modelNode, back time.Duration) {
	if !n.up {
		return
	}
	w.notef("%s: engine dies", n.name)
	n.up, n.leading = false, false
	n.life++
	w.after(back, func() {
		if !n.up {
			w.notef("%s: engine returns", n.name)
			w.boot(n)
		}
	})
}

// crashShim kills the shim and with it the workload.
func (w *world) crashShim(n *modelNode) {
	if n.run != nil {
		w.notef("%s: run %d dies", n.name, n.run.epoch)
		n.run = nil
	}
}

func (w *world) crashMachine(n *modelNode, back time.Duration) {
	n.shims++
	w.crashShim(n)
	w.crashEngine(n, back)
}

// launch is the shim's start: the only place where a copy comes to life.
func (w *world) launch(n *modelNode, epoch forestall.Epoch, deadline time.Duration) error {
	switch {
	case n.clock(w.now) >= deadline:
		return errors.New("the lease has run out")
	case n.run != nil:
		return fmt.Errorf("run %d holds the lock", n.run.epoch)
	case epoch <= n.stopped && !w.broken.noShimCheck:
		return errors.New("it was stopped before it began")
	}
	for _, other := range w.nodes {
		if other.run != nil {
			w.violated("epoch %d starts on %s while epoch %d is alive on %s", epoch, n.name, other.run.epoch, other.name)
		}
	}
	if w.ran[epoch]++; w.ran[epoch] > 1 {
		w.violated("epoch %d starts twice", epoch)
	}
	w.notef("%s: run %d starts", n.name, epoch)
	n.run = &modelRun{epoch: epoch, deadline: deadline, resumed: map[string]bool{}}
	w.watch(n, n.run)
	return nil
}

// watch kills the run at its deadline.
func (w *world) watch(n *modelNode, r *modelRun) {
	left := time.Duration(float64(r.deadline)/n.rate) - w.now + 1
	w.after(max(left, 0), func() {
		switch {
		case n.run != r:
		case n.clock(w.now) >= r.deadline:
			w.notef("%s: the lease of run %d has run out", n.name, r.epoch)
			n.run = nil
		default:
			w.watch(n, r)
		}
	})
}

// askLease asks somebody who takes himself for the leader.
func (w *world) askLease(n *modelNode, epoch forestall.Epoch, back func(deadline time.Duration, err error)) {
	var leaders []*modelNode
	for _, l := range w.nodes {
		if l.leading {
			leaders = append(leaders, l)
		}
	}
	if len(leaders) == 0 {
		w.on(n, w.delay(), func() { back(0, errModelNotLeader) })
		return
	}
	l := leaders[w.rng.IntN(len(leaders))]
	sent := n.clock(w.now)
	w.rpc(n, l, 2*modelTerm, func(reply func(any, error)) {
		confirmed := func() bool { return l.leading && (w.leads(l) || w.broken.noVerify) }
		book := func() error {
			var ok bool
			var reason string
			l.ledger.View(func(s *State) { ok, reason = l.leases.Grant("w", n.name, epoch, s) })
			if !ok {
				return errors.New(reason)
			}
			return nil
		}
		bookFirst := w.rng.IntN(2) == 0 // both orders are right
		var err error
		if bookFirst {
			err = book()
		}
		w.on(l, w.delay(), func() {
			if !confirmed() {
				reply(nil, errModelNotLeader)
				return
			}
			w.on(l, w.delay(), func() { // it may dawdle between the confirmation and the answer
				if !bookFirst {
					err = book()
				}
				reply(nil, err)
			})
		})
	}, func(_ any, err error) {
		from := sent
		if w.broken.fromReceipt {
			from = n.clock(w.now)
		}
		back(from+modelTerm, err)
	})
}

func (w *world) renew(n *modelNode) {
	r := n.run
	if r == nil {
		return
	}
	w.askLease(n, r.epoch, func(deadline time.Duration, err error) {
		if err == nil && n.run == r {
			r.deadline = max(r.deadline, deadline)
		}
	})
}

// report tells the leader of runs that the ledger has on this node and that
// are over. A shim may still be on its way, so its way is barred first.
func (w *world) report(n *modelNode) {
	if w.leader == nil || !w.connected(n, w.leader) || !w.leader.up {
		return
	}
	w.catchUp(n)
	var over []Holder
	n.ledger.View(func(s *State) {
		for _, h := range s.Workloads["w"].Holders {
			alive := n.run != nil && n.run.epoch == h.Epoch
			if h.Node == n.name && n.launched >= h.Epoch && !alive && n.launching != h.Epoch {
				over = append(over, h)
			}
		}
	})
	for _, h := range over {
		l := w.leader
		n.stopped = max(n.stopped, h.Epoch)
		w.send(n, l, func() {
			w.propose(l, "", &Stopped{Workload: "w", Node: h.Node, Epoch: h.Epoch, How: HowExited}, func(any, error) {})
		})
	}
}

// The node's side of Nodes.

func (w *world) serveSave(n *modelNode, st Step, reply func(any, error)) {
	r := n.run
	if r == nil || r.epoch != st.Epoch || r.resumed[st.Migration] {
		reply(nil, errors.New("does not run here, or goes on again"))
		return
	}
	r.frozenFor = st.Migration
	w.on(n, w.delay(), func() {
		if n.run != r || r.frozenFor != st.Migration {
			reply(nil, errors.New("died meanwhile"))
			return
		}
		cp := forestall.Checkpoint{ID: fmt.Sprintf("cp-%d-%s", r.epoch, st.Migration), Workload: "w", Epoch: r.epoch, Sequence: uint64(len(w.log))}
		reply(cp, nil)
	})
}

func (w *world) serveResume(n *modelNode, st Step, reply func(any, error)) {
	if r := n.run; r != nil && r.epoch == st.Epoch {
		r.resumed[st.Migration] = true
		if r.frozenFor == st.Migration {
			r.frozenFor = ""
			w.thawed(n, st)
		}
	}
	reply(nil, nil)
}

// thawed checks that nothing is done after a final checkpoint that counts.
func (w *world) thawed(n *modelNode, st Step) {
	truth := w.leader
	w.catchUp(truth)
	truth.ledger.View(func(s *State) {
		if m, ok := s.Migration(st.Migration); ok && m.Phase != forestall.PhaseAborted {
			w.violated("%s works on after the final checkpoint of %s, which is %s", n.name, st.Migration, m.Phase)
		}
	})
}

func (w *world) serveStop(n *modelNode, st Step, reply func(any, error)) {
	n.stopped = max(n.stopped, st.Epoch)
	w.on(n, w.delay(), func() {
		if n.run != nil && n.run.epoch <= st.Epoch {
			w.notef("%s: run %d is stopped", n.name, n.run.epoch)
			n.run = nil
		}
		reply(nil, nil)
	})
}

// serveFence asks every replica; two of three must take the epoch.
func (w *world) serveFence(l *modelNode, epoch forestall.Epoch, back func(any, error)) {
	var acks []string
	for _, n := range w.nodes {
		w.rpc(l, n, 400*time.Millisecond, func(reply func(any, error)) {
			if epoch < n.fence {
				reply(nil, forestall.ErrStaleEpoch)
				return
			}
			n.fence = epoch
			reply(nil, nil)
		}, func(_ any, err error) {
			if err == nil {
				if acks = append(acks, n.name); len(acks) == 2 {
					back(acks, nil)
				}
			}
		})
	}
	w.on(l, 450*time.Millisecond, func() {
		if len(acks) < 2 {
			back(nil, errors.New("no quorum of replicas"))
		}
	})
}

func (w *world) serveStart(n *modelNode, epoch forestall.Epoch, reply func(any, error)) {
	if n.run != nil && n.run.epoch == epoch {
		reply(nil, nil)
		return
	}
	if epoch <= max(n.launched, n.stopped) {
		reply(nil, forestall.ErrStaleEpoch)
		return
	}
	if w.broken.noStartCheck {
		w.begin(n, epoch, n.clock(w.now)+modelTerm, reply)
		return
	}
	w.askLease(n, epoch, func(deadline time.Duration, err error) {
		if err != nil {
			reply(nil, err)
			return
		}
		w.checkFence(n, epoch, func(err error) {
			if err != nil {
				reply(nil, err)
				return
			}
			w.begin(n, epoch, deadline, reply)
		})
	})
}

// begin writes the epoch as launched and starts the shim, a process of its
// own: it goes on whatever becomes of the engine.
func (w *world) begin(n *modelNode, epoch forestall.Epoch, deadline time.Duration, reply func(any, error)) {
	if epoch <= max(n.launched, n.stopped) {
		reply(nil, forestall.ErrStaleEpoch)
		return
	}
	n.launched, n.launching = epoch, epoch
	shim, life := n.shims, n.life
	w.after(w.delay(), func() {
		if n.shims != shim {
			return // the machine died
		}
		err := w.launch(n, epoch, deadline)
		if err != nil {
			err = fmt.Errorf("%w: %w", forestall.ErrStaleEpoch, err)
		}
		if n.up && n.life == life {
			n.launching = 0
			reply(nil, err)
		}
	})
}

func (w *world) checkFence(n *modelNode, epoch forestall.Epoch, back func(error)) {
	if w.broken.noFenceCheck {
		back(nil)
		return
	}
	at, answered, newer := 0, false, false
	for _, r := range w.nodes {
		w.rpc(n, r, 400*time.Millisecond, func(reply func(any, error)) { reply(r.fence, nil) }, func(v any, err error) {
			if err != nil || answered {
				return
			}
			switch f := v.(forestall.Epoch); {
			case f == epoch:
				at++
			case f > epoch:
				newer = true
			}
			if newer || at == 2 {
				answered = true
				if newer {
					back(forestall.ErrStaleEpoch)
					return
				}
				back(nil)
			}
		})
	}
	w.on(n, 450*time.Millisecond, func() {
		if !answered {
			answered = true
			back(errors.New("no quorum of replicas"))
		}
	})
}
