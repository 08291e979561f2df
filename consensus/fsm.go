package consensus

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// FSM is the state machine that the log drives. All three methods are called
// from one goroutine at a time, so they need no lock against each other; the
// FSM's readers elsewhere do.
type FSM interface {
	// Apply applies a committed command. Every node applies the same commands
	// at the same indexes, which grow but have gaps. The outcome must depend on
	// nothing but the state and the arguments: no clock, no randomness, no map
	// order, no I/O. The value goes to the proposer, if it proposed here. cmd
	// must not be modified or kept.
	Apply(index uint64, cmd []byte) any

	// Snapshot returns the whole state, in a format of the FSM's own.
	Snapshot() ([]byte, error)

	// Restore replaces the whole state with a snapshot. An error leaves the
	// node unusable.
	Restore(snapshot []byte) error
}

// machine lets Raft drive an FSM.
type machine struct {
	fsm     FSM
	applied atomic.Uint64 // index of the newest command that the FSM has taken in
}

var _ raft.FSM = (*machine)(nil)

// Apply passes a command on.
func (m *machine) Apply(l *raft.Log) any {
	value := m.fsm.Apply(l.Index, l.Data)
	m.applied.Store(l.Index)
	return value
}

// Snapshot takes the whole state.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	b, err := m.fsm.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("snapshot the state machine: %w", err)
	}
	return snapshot(b), nil
}

// Restore reads a snapshot to its end, which Raft has checked by its checksum.
func (m *machine) Restore(r io.ReadCloser) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	return m.fsm.Restore(b)
}

// snapshot is a state on its way to the disk.
type snapshot []byte

// Persist writes the snapshot.
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := sink.Write(s); err != nil {
		_ = sink.Cancel()
		return fmt.Errorf("write snapshot: %w", err)
	}
	return sink.Close()
}

// Release has nothing to give back.
func (s snapshot) Release() {}
