package migrate

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/stratoswarm/forestall"
)

// snapshotMagic begins a snapshot; the digit is the format's version. See
// docs/format/ledger.md.
const snapshotMagic = "forestall-ledger 1 "

// ErrBadSnapshot is wrapped by every refusal of a snapshot.
var ErrBadSnapshot = errors.New("unreadable ledger snapshot")

// Snapshot returns the state in canonical bytes: equal states give equal ones.
func (l *Ledger) Snapshot() ([]byte, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	body, err := json.Marshal(l.state)
	if err != nil {
		return nil, fmt.Errorf("encode ledger: %w", err)
	}
	sum := sha256.Sum256(body)
	var b bytes.Buffer
	b.Grow(len(snapshotMagic) + hex.EncodedLen(len(sum)) + 1 + len(body))
	b.WriteString(snapshotMagic)
	b.WriteString(hex.EncodeToString(sum[:]))
	b.WriteByte('\n')
	b.Write(body)
	return b.Bytes(), nil
}

// Restore replaces the state by a snapshot's. After an error, which wraps
// [ErrBadSnapshot], the state is as it was.
func (l *Ledger) Restore(snapshot []byte) error {
	header, body, ok := bytes.Cut(snapshot, []byte{'\n'})
	sum, magic := bytes.CutPrefix(header, []byte(snapshotMagic))
	if !ok || !magic {
		return fmt.Errorf("%w: it begins with %.24q, not with %q", ErrBadSnapshot, header, snapshotMagic)
	}
	if got := sha256.Sum256(body); hex.EncodeToString(got[:]) != string(sum) {
		return fmt.Errorf("%w: its checksum does not match; restore another one or let the node fetch it from the leader", ErrBadSnapshot)
	}
	s := newState()
	if err := strictJSON(body, s); err != nil {
		return fmt.Errorf("%w: %w", ErrBadSnapshot, err)
	}
	if err := s.adopt(); err != nil {
		return fmt.Errorf("%w: %w", ErrBadSnapshot, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = s
	l.signal()
	return nil
}

// adopt makes a decoded state usable and reports what no ledger can hold.
func (s *State) adopt() error {
	for name, n := range s.Nodes {
		if n == nil || n.Name != name {
			return fmt.Errorf("node %q is not itself", name)
		}
	}
	for name, w := range s.Workloads {
		if w == nil || w.Spec.Name != name {
			return fmt.Errorf("workload %q is not itself", name)
		}
		if w.Migration != "" && s.Open[w.Migration] == nil {
			return fmt.Errorf("workload %q is in migration %q, which is not open", name, w.Migration)
		}
	}
	for kind, r := range s.Models {
		if r == nil || r.Candidate == nil != (r.Step == "") {
			return fmt.Errorf("the models of %s have no roles, or a candidate no step", kind)
		}
	}
	for id, m := range s.Open {
		if m == nil || m.ID != id || s.Workloads[m.Workload] == nil {
			return fmt.Errorf("migration %q has no workload", id)
		}
		if m.At == nil {
			m.At = map[forestall.Phase]time.Time{}
		}
	}
	if s.Nodes == nil {
		s.Nodes = map[string]*Node{}
	}
	if s.Workloads == nil {
		s.Workloads = map[string]*WorkloadState{}
	}
	if s.Open == nil {
		s.Open = map[string]*forestall.Migration{}
	}
	if s.Incidents == nil {
		s.Incidents = map[string]Incident{}
	}
	s.recent = make(map[string]struct{}, len(s.Recent))
	for _, id := range s.Recent {
		s.recent[id] = struct{}{}
	}
	return nil
}
