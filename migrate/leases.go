package migrate

import (
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
)

// Leases is the leader's table of who was told that it may run what. It lives
// in memory: a new leader begins with none and takes every holder's lease to
// run for one whole term from its election.
//
// A node counts the term from when it asked; the table books it from when the
// leader answers and adds a tenth, for clocks whose rates differ by less than
// that. See docs/adr/0001-fencing.md. Safe for concurrent use.
type Leases struct {
	term time.Duration
	now  func() time.Duration

	mu      sync.Mutex
	elected bool
	floor   time.Duration // no lease of an earlier leader runs longer
	until   map[leaseKey]time.Duration
}

type leaseKey struct {
	workload, node string
	epoch          forestall.Epoch
}

// maxBookings is how many bookings pile up before those that ran out go: one
// that is absent has run out as well.
const maxBookings = 4096

// NewLeases returns the table of a node that is not the leader yet. now reads
// a clock that never goes back and also runs while the machine sleeps
// (CLOCK_BOOTTIME). A term of 0 is for an engine that is alone: its leases
// never run out, so that a run ends only by being stopped.
func NewLeases(term time.Duration, now func() time.Duration) *Leases {
	return &Leases{term: term, now: now}
}

// Term returns the length of a lease, counted by the holder from when it
// asked; 0 is without end.
func (l *Leases) Term() time.Duration { return l.term }

// margin is the term as the leader counts it.
func (l *Leases) margin() time.Duration { return l.term + l.term/10 }

// Elected begins a term of leadership. Call it at each election, once the
// ledger has applied everything from before it; until then Grant refuses.
func (l *Leases) Elected() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.elected = true
	l.floor = l.now() + l.margin()
	l.until = map[leaseKey]time.Duration{}
}

// Deposed ends the term of leadership: Grant refuses and nothing expires.
func (l *Leases) Deposed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.elected = false
	l.until = nil
}

// Grant answers a node that asks to run an epoch, for the first time or to
// renew, and books the answer. It says no, with the reason, unless the ledger
// holds exactly this run: the newest grant, not revoked, and no earlier holder
// left.
//
// The caller has had a quorum confirm its leadership after the question came,
// and passes the live state inside [Ledger.View], so that no entry is applied
// between the check and the booking.
func (l *Leases) Grant(workload, node string, epoch forestall.Epoch, s *State) (ok bool, reason string) {
	if reason := unleasable(workload, node, epoch, s); reason != "" {
		return false, reason
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.elected {
		return false, "this node is not the leader"
	}
	now := l.now()
	if len(l.until) >= maxBookings {
		maps.DeleteFunc(l.until, func(_ leaseKey, end time.Duration) bool { return end <= now })
	}
	l.until[leaseKey{workload, node, epoch}] = now + l.margin()
	return true, ""
}

func unleasable(workload, node string, epoch forestall.Epoch, s *State) string {
	w := s.Workloads[workload]
	if w == nil {
		return fmt.Sprintf("workload %q is unknown", workload)
	}
	h, held := w.Holder()
	switch {
	case !held:
		return fmt.Sprintf("%s is granted to nobody", workload)
	case h.Node != node || h.Epoch != epoch:
		return fmt.Sprintf("%s is granted to %s in epoch %d", workload, h.Node, h.Epoch)
	case len(w.Holders) > 1:
		old := w.Holders[0]
		return fmt.Sprintf("epoch %d of %s on %s is not known to be over", old.Epoch, workload, old.Node)
	}
	return ""
}

// Expired reports whether every lease that was ever given for the run has run
// out on every clock, and if not, how long that takes at most. It is worth
// something only for a revoked holder, since another can be leased anew.
// While leases have no end, remaining is [NoEnd].
func (l *Leases) Expired(workload, node string, epoch forestall.Epoch) (expired bool, remaining time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.term == 0 || !l.elected {
		return false, NoEnd
	}
	end := max(l.floor, l.until[leaseKey{workload, node, epoch}])
	if left := end - l.now(); left > 0 {
		return false, left
	}
	return true, 0
}

// NoEnd is how long a lease without end runs.
const NoEnd = time.Duration(1<<63 - 1)
