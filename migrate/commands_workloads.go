package migrate

import (
	"fmt"
	"reflect"

	"github.com/stratoswarm/forestall"
)

// Declare makes a workload wanted, or changes its description, which counts
// from its next start. Declaring again a workload that was given up lets its
// recovery be tried anew. May be repeated.
type Declare struct {
	Workload forestall.Workload `json:"workload"`
}

func (*Declare) kind() string { return "declare" }

func (c *Declare) check() error {
	if err := c.Workload.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrBadCommand, err)
	}
	return nil
}

func (c *Declare) apply(s *State, _ stamp) any {
	w := s.Workloads[c.Workload.Name]
	if w == nil {
		if len(s.Workloads) >= maxWorkloads {
			return fmt.Errorf("%w: %d workloads", ErrFull, maxWorkloads)
		}
		s.Workloads[c.Workload.Name] = &WorkloadState{Spec: c.Workload}
		return nil
	}
	if w.Retired || w.GaveUp != "" || !reflect.DeepEqual(w.Spec, c.Workload) {
		w.Tries, w.GaveUp = 0, ""
	}
	if w.Retired {
		w.Retired, w.Completed = false, false
	}
	w.Spec = c.Workload
	return nil
}

// Retire makes a workload unwanted: its open migration ends, its runs are
// revoked, and the executor stops them. Its newest checkpoint stays known. May
// be repeated.
type Retire struct {
	Workload string `json:"workload"`
}

func (*Retire) kind() string   { return "retire" }
func (c *Retire) check() error { return checkName("workload", c.Workload) }

func (c *Retire) apply(s *State, at stamp) any {
	w, err := s.workload(c.Workload)
	if err != nil {
		return err
	}
	if m := s.Open[w.Migration]; m != nil {
		s.closeMigration(m, forestall.PhaseAborted, "the workload was retired", at)
	}
	w.halt(at.at)
	w.Retired, w.Thaw, w.GaveUp = true, "", ""
	w.revokeAll()
	for _, kind := range failureKinds {
		s.closeIncident(w.Spec.Component(), kind, at)
	}
	return nil
}

// Head records a checkpoint that counts. It is refused with
// forestall.ErrStaleEpoch unless the workload's newest grant wrote it and it
// is newer than the present head. May be repeated.
type Head struct {
	Checkpoint forestall.Checkpoint `json:"checkpoint"`
}

func (*Head) kind() string   { return "head" }
func (c *Head) check() error { return checkCheckpoint(c.Checkpoint) }

func checkCheckpoint(cp forestall.Checkpoint) error {
	if cp.ID == "" || cp.Epoch == 0 {
		return fmt.Errorf("%w: a checkpoint needs an id and an epoch", ErrBadCommand)
	}
	return checkName("workload", cp.Workload)
}

func (c *Head) apply(s *State, _ stamp) any {
	w, err := s.workload(c.Checkpoint.Workload)
	if err != nil {
		return err
	}
	if w.Head != nil && w.Head.ID == c.Checkpoint.ID {
		return nil
	}
	if err := w.fitsHead(c.Checkpoint); err != nil {
		return err
	}
	head := c.Checkpoint
	w.Head = &head
	return nil
}

// fitsHead reports why a checkpoint cannot become the head.
func (w *WorkloadState) fitsHead(cp forestall.Checkpoint) error {
	if cp.Epoch != w.Epoch {
		return fmt.Errorf("%w: checkpoint %.12s of %s is of epoch %d, the newest grant is %d", forestall.ErrStaleEpoch, cp.ID, cp.Workload, cp.Epoch, w.Epoch)
	}
	if w.Head != nil && !cp.NewerThan(*w.Head) {
		return fmt.Errorf("%w: checkpoint %.12s of %s has sequence %d, the head has %d", forestall.ErrStaleEpoch, cp.ID, cp.Workload, cp.Sequence, w.Head.Sequence)
	}
	return nil
}

// How is the way in which a run came to be known as over.
type How string

// The ways.
const (
	HowConfirmed    How = "confirmed"     // its node stopped it and lets no such epoch start again
	HowExited       How = "exited"        // its node saw it end by itself
	HowLeaseExpired How = "lease_expired" // it was revoked, and its lease has run out on every clock
)

// Stopped records that the run of an epoch on a node is over and can't start
// again; the run is then no holder any more. A run that is no holder is passed
// over without an error. With HowLeaseExpired it is refused with
// [ErrNotRevoked] unless the holder was revoked.
type Stopped struct {
	Workload  string          `json:"workload"`
	Node      string          `json:"node"`
	Epoch     forestall.Epoch `json:"epoch"`
	How       How             `json:"how"`
	Completed bool            `json:"completed,omitempty"` // with HowExited: it had finished its work
}

func (*Stopped) kind() string { return "stopped" }

func (c *Stopped) check() error {
	switch c.How {
	case HowConfirmed, HowExited, HowLeaseExpired:
	default:
		return fmt.Errorf("%w: how %q is not one of confirmed, exited, lease_expired", ErrBadCommand, c.How)
	}
	if err := checkName("workload", c.Workload); err != nil {
		return err
	}
	return checkName("node", c.Node)
}

func (c *Stopped) apply(s *State, at stamp) any {
	w, err := s.workload(c.Workload)
	if err != nil {
		return err
	}
	i := w.holderIndex(c.Node, c.Epoch)
	if i < 0 {
		return nil
	}
	h := w.Holders[i]
	if c.How == HowLeaseExpired && !h.Revoked {
		return fmt.Errorf("%w: %s epoch %d on %s: grant, give up or retire first", ErrNotRevoked, c.Workload, c.Epoch, c.Node)
	}
	if h.Epoch == w.Epoch {
		w.halt(at.at)
		w.Thaw = ""
		if c.How == HowExited && c.Completed && !h.Revoked {
			s.complete(w, at)
		}
	}
	w.Holders = append(w.Holders[:i:i], w.Holders[i+1:]...)
	if m := s.Open[w.Migration]; m != nil {
		advance(m, w, at)
	}
	return nil
}

// complete ends what was to be done for a workload that finished by itself.
func (s *State) complete(w *WorkloadState, at stamp) {
	w.Completed = true
	if m := s.Open[w.Migration]; m != nil {
		s.closeMigration(m, forestall.PhaseAborted, "the workload finished by itself", at)
	}
}

func (w *WorkloadState) holderIndex(node string, epoch forestall.Epoch) int {
	for i, h := range w.Holders {
		if h.Node == node && h.Epoch == epoch {
			return i
		}
	}
	return -1
}

func (s *State) workload(name string) (*WorkloadState, error) {
	w := s.Workloads[name]
	if w == nil {
		return nil, fmt.Errorf("%w: %q; declare it first", ErrUnknownWorkload, name)
	}
	return w, nil
}
