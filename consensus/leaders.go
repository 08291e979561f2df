package consensus

import (
	"math"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Leader returns whom this node takes for the leader; ok is false while it
// knows of none.
func (n *Node) Leader() (id, address string, ok bool) {
	a, i := n.raft.LeaderWithID()
	return string(i), string(a), i != ""
}

// IsLeader reports whether this node believes that it leads. Another may have
// been elected already: what depends on it asks Verify.
func (n *Node) IsLeader() bool { return n.raft.State() == raft.Leader }

// Term returns the current term; it only grows.
func (n *Node) Term() uint64 { return n.raft.CurrentTerm() }

// LastContact returns the time since the leader was last heard: 0 on the leader
// itself, the greatest Duration when none was heard since the start.
func (n *Node) LastContact() time.Duration {
	if n.IsLeader() {
		return 0
	}
	last := n.raft.LastContact()
	if last.IsZero() {
		return math.MaxInt64
	}
	return time.Since(last)
}

// Leadership returns a new channel that yields whether this node leads: at once
// the present state, then each change. A reader that is slow gets the latest
// state only, and two equal values in a row mean that there was a change in
// between: true again is another term. It is closed when the node ends.
func (n *Node) Leadership() <-chan bool { return n.leaders.subscribe() }

// LeaderChange returns a channel that is closed once this node takes another for the
// leader than it does now, or none, and perhaps without. Who looks at Leader after
// having got the channel misses nothing.
func (n *Node) LeaderChange() <-chan struct{} { return n.leaders.next() }

// leaders passes Raft's news about leadership on.
type leaders struct {
	news    <-chan bool // Raft keeps its latest value in it
	seen    chan raft.Observation
	observe *raft.Observer
	quit    chan struct{}
	done    sync.WaitGroup

	mu      sync.Mutex
	leading bool
	closed  bool
	readers []chan bool
	change  chan struct{} // closed at the next change
}

func watchLeaders(r *raft.Raft) *leaders {
	l := &leaders{news: r.LeaderCh(), seen: make(chan raft.Observation, 16), quit: make(chan struct{}), change: make(chan struct{})}
	l.observe = raft.NewObserver(l.seen, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	return l
}

func (l *leaders) run(r *raft.Raft, m *metrics) {
	r.RegisterObserver(l.observe)
	l.done.Go(func() {
		defer r.DeregisterObserver(l.observe)
		for {
			select {
			case leading := <-l.news:
				l.tell(leading)
			case o := <-l.seen:
				l.changed()
				if o.Data.(raft.LeaderObservation).LeaderID != "" {
					m.leaderChanges.Inc()
				}
			case <-l.quit:
				return
			}
		}
	})
}

// stop tells the readers that it is over.
func (l *leaders) stop() {
	close(l.quit)
	l.done.Wait()
	l.tell(false)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, r := range l.readers {
		close(r)
	}
}

func (l *leaders) changed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.change)
	l.change = make(chan struct{})
}

func (l *leaders) next() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.change
}

func (l *leaders) tell(leading bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leading = leading
	for _, r := range l.readers {
		replace(r, leading)
	}
}

// replace puts the value into a channel of capacity 1 in place of an unread one.
// Only one goroutine may send on it at a time.
func replace(c chan bool, v bool) {
	select {
	case <-c:
	default:
	}
	c <- v
}

func (l *leaders) subscribe() <-chan bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := make(chan bool, 1)
	c <- l.leading
	if l.closed {
		close(c)
	} else {
		l.readers = append(l.readers, c)
	}
	return c
}
