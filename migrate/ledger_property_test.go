package migrate

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stratoswarm/forestall"
)

// anyCommand draws a command over few names, so that most of them fit.
func anyCommand(t *rapid.T, s *State) Command {
	node := rapid.SampledFrom([]string{"n1", "n2", "n3"}).Draw(t, "node")
	name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "workload")
	w := s.Workloads[name]
	migration, epoch, attempt := "none", forestall.Epoch(0), 0
	if w != nil && w.Migration != "" {
		migration, attempt = w.Migration, s.Open[w.Migration].Attempt
	}
	if w != nil {
		epoch = w.Epoch
	}
	gpus := []int{rapid.IntRange(0, 3).Draw(t, "gpu"), rapid.IntRange(0, 4).Draw(t, "gpu2")}
	holder := Holder{Node: node, Epoch: epoch}
	if w != nil && len(w.Holders) > 0 {
		holder = rapid.SampledFrom(w.Holders).Draw(t, "holder")
	}
	how := rapid.SampledFrom([]How{HowConfirmed, HowExited, HowLeaseExpired}).Draw(t, "how")
	action := rapid.SampledFrom([]forestall.Action{forestall.ActionStart, forestall.ActionRecover, forestall.ActionMigrate, forestall.ActionDrain}).Draw(t, "action")
	component := rapid.SampledFrom([]forestall.Component{forestall.Node(node), forestall.GPU(node, gpus[0]), forestall.Agent(name)}).Draw(t, "component")
	propose := act(fmt.Sprint("d", s.Index), action, name)
	propose.Decision.Component = component
	cp := forestall.Checkpoint{ID: fmt.Sprint("c", s.Index), Workload: name, Epoch: max(1, epoch), Sequence: rapid.Uint64Range(0, 50).Draw(t, "sequence")}
	if c := forward(s, name); c != nil && rapid.Bool().Draw(t, "forward") {
		return c
	}
	return rapid.SampledFrom([]Command{
		&Join{Name: node, GPUs: 4},
		&Leave{node},
		&NodeFailed{Name: node, Evidence: []string{"silent"}},
		&NodeBack{node},
		&Declare{job(name, 2)},
		&Declare{job(name, rapid.IntRange(0, 2).Draw(t, "need"))},
		&Retire{name},
		&SetBudget{Budget{rapid.IntRange(0, 3).Draw(t, "concurrent"), 5, time.Minute}},
		propose, propose, propose,
		&Saved{migration, cp},
		&Head{cp},
		&Grant{Migration: migration, Node: node, GPUs: gpus},
		&Grant{Migration: migration, Node: node, GPUs: gpus, Unsaved: "source is gone"},
		&Grant{Migration: migration, Node: node},
		&Retry{Migration: migration, Attempt: attempt + 1, Node: node, GPUs: gpus},
		&Fenced{migration, epoch, []string{"n1"}},
		&Stopped{Workload: name, Node: holder.Node, Epoch: holder.Epoch, How: how, Completed: gpus[0] == 0},
		&Stopped{Workload: name, Node: holder.Node, Epoch: holder.Epoch, How: how},
		&Done{migration, epoch},
		&Abort{migration, "no"},
		&GiveUp{migration, "no"},
		&Wait{migration, "full"},
		&Resumed{name, "d1"},
		&FailureSeen{Failure: forestall.Failure{Component: component, Kind: forestall.AgentFailure}},
		&FailureSeen{Failure: forestall.Failure{Component: forestall.GPU(node, gpus[0]), Kind: forestall.GPUFailure}},
		&IncidentClose{Component: forestall.GPU(node, gpus[0]), Kind: forestall.GPUFailure},
		&Intervened{forestall.Intervention{Decision: "d"}},
		&HeldOut{forestall.Intervention{Decision: "d"}},
		&Observed{forestall.Decision{ID: "d", Mode: forestall.Observe}},
		&Settled{forestall.Outcome{Decision: "d"}},
		step(rapid.SampledFrom(modelSteps).Draw(t, "step"), rapid.SampledFrom([]string{"a", "b"}).Draw(t, "model")),
	}).Draw(t, "command")
}

// forward returns the command that takes the workload's open migration on, so
// that more than a few come to their end.
func forward(s *State, name string) Command {
	w := s.Workloads[name]
	if w == nil || s.Open[w.Migration] == nil {
		return nil
	}
	m := s.Open[w.Migration]
	switch m.Phase {
	case forestall.PhaseProposed, forestall.PhaseSaved:
		node, gpus, err := Choose(s, Placement{Strategy: LoadBalanced, Workload: name, Exclude: map[string]string{m.From: "left"}})
		if err != nil {
			return nil
		}
		return &Grant{Migration: m.ID, Node: node, GPUs: gpus, Unsaved: "in a hurry"}
	case forestall.PhaseGranted:
		return &Fenced{m.ID, m.Epoch, []string{"n1"}}
	case forestall.PhaseFenced:
		return &Stopped{Workload: name, Node: w.Holders[0].Node, Epoch: w.Holders[0].Epoch, How: HowConfirmed}
	}
	return &Done{m.ID, m.Epoch}
}

// checkState reports what no sequence of commands may lead to.
func checkState(s *State) error {
	epochs := map[forestall.Epoch]string{}
	gpus := map[string]string{}
	for _, name := range s.WorkloadNames() {
		w := s.Workloads[name]
		var last forestall.Epoch
		for i, h := range w.Holders {
			switch {
			case epochs[h.Epoch] != "":
				return fmt.Errorf("epoch %d is held by %s and by %s", h.Epoch, epochs[h.Epoch], name)
			case h.Epoch <= last:
				return fmt.Errorf("holders of %s are out of order: %+v", name, w.Holders)
			case h.Epoch > w.Epoch || uint64(h.Epoch) > s.Index:
				return fmt.Errorf("holder %+v of %s is ahead of epoch %d, index %d", h, name, w.Epoch, s.Index)
			case i < len(w.Holders)-1 && !h.Revoked:
				return fmt.Errorf("%s has an earlier holder that is not revoked: %+v", name, w.Holders)
			}
			epochs[h.Epoch], last = name, h.Epoch
			for _, g := range h.GPUs {
				gpu := forestall.GPU(h.Node, g).String()
				if by := gpus[gpu]; by != "" && by != name {
					return fmt.Errorf("%s is held by %s and by %s", gpu, by, name)
				}
				gpus[gpu] = name
			}
		}
		if w.Running && (len(w.Holders) != 1 || w.Holders[0].Epoch != w.Epoch || w.Holders[0].Revoked) {
			return fmt.Errorf("%s runs without being the only holder: %+v", name, w)
		}
		if m := s.Open[w.Migration]; w.Migration != "" && (m == nil || m.Phase.Final()) {
			return fmt.Errorf("%s is in migration %q, which is %+v", name, w.Migration, m)
		}
		if w.Restarts < 0 || w.Restarts > max(0, w.Runs-1) || uint64(w.Runs) > w.Moves {
			return fmt.Errorf("%s counts %d runs, %d of them restarts, in %d migrations", name, w.Runs, w.Restarts, w.Moves)
		}
		if w.Head != nil && w.Head.Epoch > w.Epoch {
			return fmt.Errorf("head of %s is of epoch %d, the newest grant is %d", name, w.Head.Epoch, w.Epoch)
		}
	}
	return nil
}

func TestLedgerProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one, two := NewLedger(), NewLedger()
		now := t0
		var index uint64
		for range rapid.IntRange(1, 120).Draw(t, "commands") {
			index += rapid.Uint64Range(1, 3).Draw(t, "step")
			now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "seconds")) * time.Second)
			before := one.State()
			c := anyCommand(t, one.state)
			b, err := Encode("", now, c)
			if err != nil {
				t.Fatal(err)
			}
			v1, v2 := one.Apply(index, b), two.Apply(index, b)
			if fmt.Sprint(v1) != fmt.Sprint(v2) {
				t.Fatalf("replicas answer %v and %v to %s", v1, v2, b)
			}
			s := one.state
			if err := checkState(s); err != nil {
				t.Fatalf("%s: %v", b, err)
			}
			for name, w := range before.Workloads {
				runs, restarts := countedBy(c, v1, &before, name)
				if got := s.Workloads[name]; got.Runs != w.Runs+runs || got.Restarts != w.Restarts+restarts {
					t.Fatalf("%s: %s counts %d runs and %d restarts after %d and %d", b, name, got.Runs, got.Restarts, w.Runs, w.Restarts)
				}
				if s.Workloads[name].Epoch < w.Epoch {
					t.Fatalf("epoch of %s went back from %d to %d", name, w.Epoch, s.Workloads[name].Epoch)
				}
				if e := s.Workloads[name].Epoch; e != w.Epoch && uint64(e) != index {
					t.Fatalf("epoch %d was granted by entry %d", e, index)
				}
			}
			if rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				two = restarted(t, two)
			}
		}
		a, b := snapshotOf(t, one), snapshotOf(t, two)
		if !bytes.Equal(a, b) {
			t.Fatalf("replicas differ:\n%s\n%s", a, b)
		}
	})
}

// countedBy returns what a command that was answered so adds to the counts of
// the workload, as it was before.
func countedBy(c Command, answer any, before *State, name string) (runs, restarts int) {
	done, ok := c.(*Done)
	if !ok || answer != nil || before.Open[done.Migration].Workload != name {
		return 0, 0
	}
	if before.Workloads[name].Runs > 0 && before.Open[done.Migration].Action == forestall.ActionRecover {
		restarts = 1
	}
	return 1, restarts
}

type fataler interface{ Fatal(args ...any) }

func snapshotOf(t fataler, l *Ledger) []byte {
	b, err := l.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func restarted(t fataler, l *Ledger) *Ledger {
	next := NewLedger()
	if err := next.Restore(snapshotOf(t, l)); err != nil {
		t.Fatal(err)
	}
	return next
}

func TestStateIsACopy(t *testing.T) {
	s := running(t)
	s.do(act("m", forestall.ActionMigrate, "a"))
	before := snapshotOf(t, s.ledger)
	c := s.ledger.State()
	c.Workloads["a"].Holders[0].Revoked = true
	c.Nodes["n1"].GPUs = 0
	c.Open["m"].At[forestall.PhaseDone] = t0
	delete(c.Nodes, "n2")
	if !bytes.Equal(before, snapshotOf(t, s.ledger)) {
		t.Error("changing the copy changed the ledger")
	}
}

// FuzzApply feeds arbitrary bytes to a ledger that knows something: nothing
// panics, invariants hold, and every state can be stored and read back.
func FuzzApply(f *testing.F) {
	for _, c := range []Command{
		&Join{Name: "n1", GPUs: 8},
		&Declare{job("b", 1)},
		act("d", forestall.ActionRecover, "a"),
		&Grant{Migration: "r", Node: "n2", GPUs: []int{0, 1}},
		&Stopped{Workload: "a", Node: "n1", Epoch: 6, How: HowExited},
		&FailureSeen{Failure: forestall.Failure{Component: forestall.GPU("n1", 0), Kind: forestall.GPUFailure}},
		&SetBudget{DefaultBudget()},
		orderOf(forestall.CheckpointPinned, "a"),
		orderOf(forestall.CheckpointDropped, "a"),
	} {
		b, err := Encode("id", t0, c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, b)
	}
	base := running(f)
	base.do(act("r", forestall.ActionRecover, "a"))
	snapshot, index := snapshotOf(f, base.ledger), base.index
	f.Fuzz(func(t *testing.T, a, b []byte) {
		l := NewLedger()
		if err := l.Restore(snapshot); err != nil {
			t.Fatal(err)
		}
		l.Apply(index+1, a)
		l.Apply(index+2, b)
		if err := checkState(l.state); err != nil {
			t.Fatal(err)
		}
		if again := restarted(t, l); !bytes.Equal(snapshotOf(t, l), snapshotOf(t, again)) {
			t.Fatal("the state changes on its way through a snapshot")
		}
	})
}

// FuzzRestore feeds arbitrary bodies under a right checksum: what is taken can
// be stored again and takes a command.
func FuzzRestore(f *testing.F) {
	_, body, _ := bytes.Cut(snapshotOf(f, running(f).ledger), []byte("\n"))
	f.Add(body)
	f.Add([]byte("{}"))
	cmd, err := Encode("", t0, &Abort{"m", "no"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		sum := sha256.Sum256(body)
		l := NewLedger()
		if l.Restore(fmt.Appendf(nil, "%s%x\n%s", snapshotMagic, sum, body)) == nil {
			snapshotOf(t, l)
			l.Apply(1<<62, cmd)
		}
	})
}

func BenchmarkApply(b *testing.B) {
	s := running(b)
	var cmds [][]byte
	for i := range uint64(b.N) {
		cmd, err := Encode("", t0, &Head{forestall.Checkpoint{ID: fmt.Sprint(i), Workload: "a", Epoch: 6, Sequence: i + 1}})
		if err != nil {
			b.Fatal(err)
		}
		cmds = append(cmds, cmd)
	}
	b.ResetTimer()
	for i, cmd := range cmds {
		if v := s.ledger.Apply(s.index+1+uint64(i), cmd); v != nil {
			b.Fatal(v)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}
