package migrate

import (
	"fmt"
	"sync"
)

// Ledger is the replicated state machine. Every replica that applies the same
// commands holds the same state and the same snapshot bytes.
//
// Apply, Restore and Snapshot may be called concurrently with View, State and
// Changed; consensus calls the first three one after the other.
type Ledger struct {
	mu      sync.RWMutex
	state   *State
	changed chan struct{} // closed and replaced at each change
}

// NewLedger returns an empty ledger. It takes no configuration, because what a
// command does may depend on nothing that differs between replicas: the leader
// sets the budget with [SetBudget].
func NewLedger() *Ledger {
	return &Ledger{state: newState(), changed: make(chan struct{})}
}

// Apply executes the command of the log entry with that index and returns nil,
// a value ([Propose]: the forestall.Migration; [Grant] and [Retry]: the
// forestall.Epoch) or an error that wraps one of this package's Err values. A
// command with an error changed nothing but the applied index.
func (l *Ledger) Apply(index uint64, cmd []byte) any {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.state
	if index <= s.Index {
		return fmt.Errorf("%w: index %d, the ledger is at %d", ErrReplayed, index, s.Index)
	}
	s.Index = index
	id, at, c, err := Decode(cmd)
	if err != nil {
		return err
	}
	if _, seen := s.recent[id]; seen {
		return fmt.Errorf("%w: command %s %q", ErrDuplicate, c.kind(), id)
	}
	value := c.apply(s, stamp{index, at})
	if err, refused := value.(error); refused {
		return fmt.Errorf("%s: %w", c.kind(), err)
	}
	if s.Time.IsZero() {
		s.Begun = at
	}
	s.Time = at
	s.remember(id)
	l.signal()
	return value
}

// remember keeps the ID of a command that took effect.
func (s *State) remember(id string) {
	if id == "" {
		return
	}
	s.Recent = append(s.Recent, id)
	s.recent[id] = struct{}{}
	if over := len(s.Recent) - maxRecent; over > 0 {
		for _, old := range s.Recent[:over] {
			delete(s.recent, old)
		}
		s.Recent = s.Recent[over:]
	}
}

// View calls fn with the live state, which fn may neither change nor keep.
// Nothing is applied while it runs.
func (l *Ledger) View(fn func(*State)) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	fn(l.state)
}

// State returns a copy of the state.
func (l *Ledger) State() State {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.state.clone()
}

// Changed returns a channel that is closed at the next change. Take it before
// looking, so that no change is missed.
func (l *Ledger) Changed() <-chan struct{} {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.changed
}

func (l *Ledger) signal() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// keepLast appends and drops the oldest beyond limit.
func keepLast[T any](list []T, v T, limit int) []T {
	list = append(list, v)
	if over := len(list) - limit; over > 0 {
		list = list[over:]
	}
	return list
}
