package migrate

import (
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/stratoswarm/forestall"
)

// world is a model of three nodes in virtual time: one event at a time, in an
// order that the seed decides. It moves one workload with the real ledger,
// mover, policy and lease table; what is modelled is the rest: consensus,
// network, clocks, launchers, shims and replicas.
type world struct {
	rng    *rand.Rand
	now    time.Duration // true time, which no node can read
	queue  events
	serial uint64
	steps  int             // events run so far
	before func(steps int) // called before each event; may inject a fault
	faulty bool            // the network delays, repeats and drops
	cut    [3][3]bool      // pairs that cannot talk
	nodes  []*modelNode    //
	log    [][]byte        // committed entries; the index of the first is 1
	term   int             //
	leader *modelNode      // of term
	broken mutation        // what is left out, to see the model catch it
	faults []string        // violated invariants
	saved  map[string]int  // migration -> work in its final checkpoint
	ran    map[forestall.Epoch]int
	notes  []string
}

// mutation leaves a part of the protocol out.
type mutation struct {
	noLeaseWait    bool // the leader doesn't wait for a lease to run out
	noElectionWait bool // a new leader trusts its empty table of bookings
	noStartCheck   bool // a node starts without a lease and without asking the replicas
	noVerify       bool // a leader answers without a quorum's confirmation
	noShimCheck    bool // a shim that comes late doesn't look whether it was stopped meanwhile
	fromReceipt    bool // a node counts its lease from when the answer came
	noFenceCheck   bool // a node starts with a lease, without asking the replicas
}

const modelTerm = time.Second

// modelNode is one machine. What survives the engine is the shim's; what
// survives the machine is durable.
type modelNode struct {
	name  string
	index int
	rate  float64 // of its boot clock

	up          bool // the engine
	life        int  // counts its starts
	pausedUntil time.Duration

	ledger    *Ledger
	applied   int
	leading   bool // as it believes itself
	term      int  // in which it was elected
	leases    *Leases
	mover     *mover
	inCall    *call
	token     int // of the deed under way; 0: none
	policy    PolicyState
	seen      map[string]time.Duration
	proposing bool
	launching forestall.Epoch

	run   *modelRun // the shim and its workload
	shims int       // counts the machine's crashes: a shim of before it is gone

	launched forestall.Epoch // durable: the newest epoch that a shim was started for
	stopped  forestall.Epoch // durable: no shim goes on to start a workload up to it
	fence    forestall.Epoch // durable: of the replica
}

// modelRun is a live copy of the workload under its shim.
type modelRun struct {
	epoch     forestall.Epoch
	deadline  time.Duration // by the node's clock
	frozenFor string        // migration
	resumed   map[string]bool
}

var modelSpec = forestall.Workload{Name: "w", Kind: forestall.KindAgent, Command: []string{"w"}, StateDir: "/w", Hook: forestall.Hook{Kind: forestall.HookNone}}

func newWorld(seed uint64) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 1)), saved: map[string]int{}, ran: map[forestall.Epoch]int{}}
	for i := range 3 {
		n := &modelNode{name: fmt.Sprintf("n%d", i+1), index: i, rate: 0.955 + 0.09*w.rng.Float64()}
		n.ledger = NewLedger()
		w.nodes = append(w.nodes, n)
		w.boot(n)
	}
	w.elect(w.nodes[w.rng.IntN(3)])
	for _, n := range w.nodes {
		w.commit(w.leader, &Join{Name: n.name})
	}
	w.commit(w.leader, &SetBudget{Budget{100, 1000, time.Hour}})
	w.commit(w.leader, &Declare{modelSpec})
	w.periodically(100*time.Millisecond, func() bool { w.vote(); return true })
	return w
}

func (n *modelNode) clock(now time.Duration) time.Duration {
	return time.Duration(float64(now) * n.rate)
}

func (w *world) notef(format string, args ...any) {
	w.notes = append(w.notes, fmt.Sprintf("%8.3f ", w.now.Seconds())+fmt.Sprintf(format, args...))
}

func (w *world) violated(format string, args ...any) {
	w.notef("VIOLATED "+format, args...)
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

// Events.

type event struct {
	at       time.Duration
	serial   uint64
	do       func()
	periodic bool
}

type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].serial < q[j].serial
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(event)) }
func (q *events) Pop() any     { e := (*q)[len(*q)-1]; *q = (*q)[:len(*q)-1]; return e }

func (w *world) after(d time.Duration, do func()) {
	w.serial++
	heap.Push(&w.queue, event{at: w.now + d, serial: w.serial, do: do})
}

// periodically runs do at each interval while it wants to go on.
func (w *world) periodically(d time.Duration, do func() bool) {
	w.serial++
	heap.Push(&w.queue, event{at: w.now + d, serial: w.serial, periodic: true, do: func() {
		if do() {
			w.periodically(d, do)
		}
	}})
}

// on runs do in a node's engine: never if the engine dies before, and late if
// it is paused.
func (w *world) on(n *modelNode, d time.Duration, do func()) {
	life := n.life
	var run func()
	run = func() {
		switch {
		case !n.up || n.life != life:
		case w.now < n.pausedUntil:
			w.after(n.pausedUntil-w.now, run)
		default:
			do()
		}
	}
	w.after(d, run)
}

// everyOn runs do in a node's engine until that dies.
func (w *world) everyOn(n *modelNode, d time.Duration, do func()) {
	life := n.life
	w.periodically(d, func() bool {
		alive := n.up && n.life == life
		if alive && w.now >= n.pausedUntil {
			do()
		}
		return alive
	})
}

func (w *world) runUntil(t time.Duration) {
	for len(w.queue) > 0 && w.queue[0].at <= t && len(w.faults) == 0 {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		if !e.periodic {
			if w.before != nil {
				w.before(w.steps)
			}
			w.steps++
		}
		e.do()
	}
	w.now = max(w.now, t)
}

// Network.

func (w *world) connected(a, b *modelNode) bool { return a == b || !w.cut[a.index][b.index] }

func (w *world) delay() time.Duration {
	if !w.faulty {
		return time.Duration(1+w.rng.IntN(5)) * time.Millisecond
	}
	switch x := w.rng.IntN(100); {
	case x < 88:
		return time.Duration(1+w.rng.IntN(20)) * time.Millisecond
	case x < 96:
		return time.Duration(20+w.rng.IntN(400)) * time.Millisecond
	default:
		return time.Duration(w.rng.IntN(4000)) * time.Millisecond
	}
}

// send delivers a message never, once or twice.
func (w *world) send(from, to *modelNode, do func()) {
	copies := 1
	if w.faulty && from != to {
		switch x := w.rng.IntN(100); {
		case x < 3:
			copies = 0
		case x < 7:
			copies = 2
		}
	}
	for range copies {
		d := w.delay()
		w.after(d, func() {
			if w.connected(from, to) && to.up {
				w.on(to, 0, do)
			}
		})
	}
}

var errModelTimeout = errors.New("no answer in time")

// rpc asks a node and calls back once: with its answer or with a timeout.
func (w *world) rpc(from, to *modelNode, timeout time.Duration, ask func(reply func(any, error)), back func(any, error)) {
	answered := false
	once := func(v any, err error) {
		if !answered {
			answered = true
			back(v, err)
		}
	}
	w.send(from, to, func() {
		ask(func(v any, err error) { w.send(to, from, func() { once(v, err) }) })
	})
	w.on(from, timeout, func() { once(nil, errModelTimeout) })
}

// Consensus: a committed log, one leader a term, and leaders that learn late
// that they are none any more.

func (w *world) quorum(n *modelNode) bool {
	reach := 0
	for _, m := range w.nodes {
		if m.up && w.connected(n, m) {
			reach++
		}
	}
	return n.up && reach >= 2
}

func (w *world) leads(n *modelNode) bool {
	return n == w.leader && n.leading && n.term == w.term && w.quorum(n)
}

// vote elects another leader where the present one has no quorum.
func (w *world) vote() {
	if w.leader != nil && w.leader.leading && w.leader.term == w.term && w.quorum(w.leader) {
		return
	}
	var able []*modelNode
	for _, n := range w.nodes {
		if w.quorum(n) && w.now >= n.pausedUntil {
			able = append(able, n)
		}
	}
	if len(able) > 0 && w.rng.IntN(3) == 0 {
		w.elect(able[w.rng.IntN(len(able))])
	}
}

func (w *world) elect(n *modelNode) {
	if old := w.leader; old != nil && old != n && old.up {
		term := old.term
		w.on(old, time.Duration(w.rng.IntN(2000))*time.Millisecond, func() {
			if old.leading && old.term == term {
				w.depose(old)
			}
		})
	}
	w.term++
	w.leader, n.leading, n.term = n, true, w.term
	w.notef("%s leads term %d", n.name, w.term)
	w.catchUp(n)
	n.leases.Elected()
	if w.broken.noElectionWait {
		n.leases.floor = 0
	}
	n.mover, n.token, n.inCall, n.policy, n.proposing = nil, 0, nil, PolicyState{}, false
	n.seen = map[string]time.Duration{}
}

func (w *world) depose(n *modelNode) {
	w.notef("%s leads no more", n.name)
	n.leading, n.mover, n.token = false, nil, 0
	n.leases.Deposed()
}

// catchUp applies what was committed and returns the last entry's answer.
func (w *world) catchUp(n *modelNode) (answer any) {
	for n.applied < len(w.log) {
		n.applied++
		answer = n.ledger.Apply(uint64(n.applied), w.log[n.applied-1])
	}
	return answer
}

// commit appends a command and returns the leader's answer to it.
func (w *world) commit(n *modelNode, c Command) any {
	b, err := Encode("", modelEpochTime.Add(w.now), c)
	if err != nil {
		panic(err)
	}
	return w.append(n, b)
}

func (w *world) append(n *modelNode, b []byte) any {
	w.log = append(w.log, b)
	return w.catchUp(n)
}

var modelEpochTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

var errModelNotLeader = errors.New("not the leader, or no quorum")

// propose puts a command through consensus. A reply may be lost.
func (w *world) propose(n *modelNode, id string, c Command, back func(any, error)) {
	b, err := Encode(id, modelEpochTime.Add(n.clock(w.now)), c)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", c, err))
	}
	w.on(n, w.delay(), func() {
		if !w.leads(n) {
			w.on(n, w.delay(), func() { back(nil, errModelNotLeader) })
			return
		}
		value := w.append(n, b)
		w.notef("entry %d: %s by %s: %v", len(w.log), c.kind(), n.name, value)
		if w.faulty && w.rng.IntN(25) == 0 {
			w.on(n, w.delay(), func() { back(nil, errors.New("uncertain")) })
			return
		}
		w.on(n, w.delay(), func() { back(value, nil) })
	})
}
