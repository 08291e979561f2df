package migrate

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// script applies commands in order to a ledger, a second apart.
type script struct {
	t      testing.TB
	ledger *Ledger
	index  uint64
	now    time.Time
}

func newScript(t testing.TB) *script { return &script{t, NewLedger(), 0, t0} }

func (s *script) try(c Command) any {
	s.t.Helper()
	s.index++
	s.now = s.now.Add(time.Second)
	b, err := Encode("", s.now, c)
	if err != nil {
		s.t.Fatalf("encode %s: %v", c.kind(), err)
	}
	return s.ledger.Apply(s.index, b)
}

func (s *script) do(cs ...Command) {
	s.t.Helper()
	for _, c := range cs {
		if err, refused := s.try(c).(error); refused {
			s.t.Fatalf("%s %+v: %v", c.kind(), c, err)
		}
	}
}

func (s *script) refuse(want error, c Command) {
	s.t.Helper()
	before, _ := s.ledger.Snapshot()
	err, _ := s.try(c).(error)
	if !errors.Is(err, want) {
		s.t.Errorf("%s %+v: got %v, want %v", c.kind(), c, err, want)
	}
	after, _ := s.ledger.Snapshot()
	if d := cmp.Diff(sansIndex(before), sansIndex(after)); d != "" {
		s.t.Errorf("refused %s changed the ledger: %s", c.kind(), d)
	}
}

// sansIndex cuts the header and the applied index off a snapshot.
func sansIndex(b []byte) string {
	_, body, _ := strings.Cut(string(b), "\n")
	_, rest, _ := strings.Cut(body, ",")
	return rest
}

func (s *script) workload(name string) *WorkloadState { return s.ledger.State().Workloads[name] }

func job(name string, gpus int) forestall.Workload {
	return forestall.Workload{
		Name: name, Kind: forestall.KindAgent, Command: []string{name}, StateDir: "/state/" + name,
		Hook: forestall.Hook{Kind: forestall.HookNone}, Needs: forestall.Needs{GPUs: gpus},
	}
}

func act(id string, a forestall.Action, workload string) *Propose {
	return &Propose{forestall.Decision{ID: id, Action: a, Mode: forestall.Act, Time: t0, Component: forestall.Agent(workload), Workload: workload}}
}

// running returns a script with three nodes of 8 GPUs on which a runs on n1
// in epoch 6, with GPUs 0 and 1.
func running(t testing.TB) *script {
	s := newScript(t)
	s.do(&Join{Name: "n1", GPUs: 8}, &Join{Name: "n2", GPUs: 8}, &Join{Name: "n3", GPUs: 8}, &Declare{job("a", 2)})
	s.do(act("start-a", forestall.ActionStart, "a"), &Grant{Migration: "start-a", Node: "n1", GPUs: []int{1, 0}})
	s.do(&Fenced{"start-a", 6, []string{"n1", "n2"}}, &Done{"start-a", 6})
	return s
}

func TestLedgerFirstStart(t *testing.T) {
	s := running(t)
	w := s.workload("a")
	want := &WorkloadState{
		Spec: job("a", 2), Node: "n1", Epoch: 6, GPUs: []int{0, 1}, Running: true, Started: t0.Add(8 * time.Second),
		Holders: []Holder{{Node: "n1", Epoch: 6, GPUs: []int{0, 1}}}, Moves: 1, Runs: 1, Tries: 1, Tried: t0.Add(5 * time.Second),
	}
	if d := cmp.Diff(want, w); d != "" {
		t.Error(d)
	}
	m, ok := s.ledger.state.Migration("start-a")
	if !ok || m.Phase != forestall.PhaseDone || m.Pause != 3*time.Second {
		t.Errorf("migration %+v", m)
	}
}

func TestLedgerMove(t *testing.T) {
	s := running(t)
	cp := forestall.Checkpoint{ID: "c1", Workload: "a", Epoch: 6, Sequence: 1, Pause: time.Second}
	s.do(act("m", forestall.ActionMigrate, "a"))
	s.refuse(ErrBusy, act("m2", forestall.ActionMigrate, "a"))
	s.refuse(ErrPhase, &Grant{Migration: "m", Node: "n2", GPUs: []int{0, 1}}) // neither saved nor a reason not to
	s.do(&Saved{"m", cp})
	s.refuse(ErrTarget, &Grant{Migration: "m", Node: "n1", GPUs: []int{2, 3}})
	s.refuse(ErrCapacity, &Grant{Migration: "m", Node: "n2", GPUs: []int{0}})
	s.refuse(ErrCapacity, &Grant{Migration: "m", Node: "n2", GPUs: []int{7, 8}})
	s.refuse(ErrCapacity, &Grant{Migration: "m", Node: "n2", GPUs: []int{3, 3}})
	s.refuse(ErrUnknownNode, &Grant{Migration: "m", Node: "n9", GPUs: []int{0, 1}})
	s.do(&Grant{Migration: "m", Node: "n2", GPUs: []int{0, 1}})
	epoch := forestall.Epoch(s.index)
	s.refuse(ErrPhase, &Abort{"m", "too late"})
	late := cp
	late.ID, late.Sequence = "c2", 2
	s.refuse(forestall.ErrStaleEpoch, &Head{late})
	s.refuse(forestall.ErrStaleEpoch, &Fenced{"m", 6, []string{"n1", "n2"}})
	s.do(&Fenced{"m", epoch, []string{"n1", "n2"}})
	s.refuse(ErrPhase, &Done{"m", epoch})
	s.do(&Stopped{Workload: "a", Node: "n1", Epoch: 6, How: HowConfirmed}, &Done{"m", epoch})
	w := s.workload("a")
	if w.Node != "n2" || w.Epoch != epoch || !w.Running || len(w.Holders) != 1 || w.Head.ID != "c1" {
		t.Errorf("after the move: %+v", w)
	}
	m, _ := s.ledger.state.Migration("m")
	if m.Checkpoint != "c1" || m.From != "n1" || m.To != "n2" || m.Pause <= time.Second {
		t.Errorf("migration %+v", m)
	}
	s.refuse(ErrDuplicate, act("m", forestall.ActionMigrate, "a"))
}

func TestLedgerCountsRuns(t *testing.T) {
	s := newScript(t)
	s.do(&Join{Name: "n1"}, &Join{Name: "n2"}, &Declare{job("a", 0)})
	moves := 0
	to := func(action forestall.Action, node string) (id string, epoch forestall.Epoch) {
		moves++
		id = fmt.Sprint("m", moves)
		s.do(act(id, action, "a"), &Grant{Migration: id, Node: node, Unsaved: "for the test"})
		return id, forestall.Epoch(s.index)
	}
	run := func(action forestall.Action, node string) {
		id, epoch := to(action, node)
		for _, h := range s.workload("a").Holders {
			if h.Epoch != epoch {
				s.do(&Stopped{Workload: "a", Node: h.Node, Epoch: h.Epoch, How: HowConfirmed})
			}
		}
		s.do(&Fenced{id, epoch, []string{"n1"}}, &Done{id, epoch})
		s.refuse(ErrUnknownMigration, &Done{id, epoch}) // a repeated one is not counted
	}
	check := func(what string, runs, restarts int) {
		t.Helper()
		if w := s.workload("a"); w.Runs != runs || w.Restarts != restarts {
			t.Errorf("%s: %d runs and %d restarts, want %d and %d", what, w.Runs, w.Restarts, runs, restarts)
		}
	}
	check("declared", 0, 0)
	id, _ := to(forestall.ActionStart, "n1")
	s.do(&GiveUp{id, "no such program"})
	check("the start came to nothing", 0, 0)
	run(forestall.ActionRecover, "n1")
	check("first run", 1, 0)
	run(forestall.ActionMigrate, "n2")
	run(forestall.ActionDrain, "n1")
	check("two preemptive moves", 3, 0)
	run(forestall.ActionRecover, "n1")
	check("recovered", 4, 1)
	id, _ = to(forestall.ActionRecover, "n2")
	s.do(&GiveUp{id, "no such program"})
	check("a recovery came to nothing", 4, 1)
	run(forestall.ActionRecover, "n2")
	check("recovered again", 5, 2)
	s.do(&Retire{"a"}, &Declare{job("a", 0)})
	s.ledger = restarted(t, s.ledger)
	check("retired, declared anew and restored from a snapshot", 5, 2)
}

func TestLedgerRefuses(t *testing.T) {
	s := running(t)
	s.refuse(ErrUnknownWorkload, act("x", forestall.ActionRecover, "nobody"))
	s.refuse(ErrBusy, act("x", forestall.ActionStart, "a"))
	s.refuse(ErrNotRevoked, &Stopped{Workload: "a", Node: "n1", Epoch: 6, How: HowLeaseExpired})
	s.refuse(ErrUnknownMigration, &Done{"nope", 6})
	s.refuse(ErrUnknownNode, &NodeFailed{Name: "n9"})
	s.refuse(ErrUnknownIncident, &IncidentClose{Component: forestall.GPU("n1", 0), Kind: forestall.GPUFailure})
	s.refuse(forestall.ErrStaleEpoch, &Head{forestall.Checkpoint{ID: "c", Workload: "a", Epoch: 5}})
	s.refuse(forestall.ErrStaleEpoch, &FailureSeen{forestall.Failure{Component: forestall.Agent("a"), Kind: forestall.AgentFailure}, 5})
	s.do(&NodeFailed{Name: "n2"})
	to := act("x", forestall.ActionMigrate, "a")
	to.Decision.To = "n2"
	s.refuse(ErrTarget, to)
	s.do(&Retire{"a"})
	s.refuse(ErrRetired, act("x", forestall.ActionRecover, "a"))
	s.do(&Stopped{Workload: "a", Node: "n1", Epoch: 6, How: HowLeaseExpired}) // retiring has revoked it
}

func TestLedgerBudget(t *testing.T) {
	s := newScript(t)
	s.do(&Join{Name: "n1", GPUs: 8}, &SetBudget{Budget{Concurrent: 2, PerWindow: 3, Window: time.Minute}})
	for i := range 5 {
		name := fmt.Sprintf("w%d", i)
		s.do(&Declare{job(name, 1)}, act("start-"+name, forestall.ActionStart, name), &Grant{Migration: "start-" + name, Node: "n1", GPUs: []int{i}})
		e := forestall.Epoch(s.index)
		s.do(&Fenced{"start-" + name, e, []string{"n1"}}, &Done{"start-" + name, e})
	}
	s.do(act("m0", forestall.ActionMigrate, "w0"), act("m1", forestall.ActionMigrate, "w1"))
	s.refuse(ErrBudget, act("m2", forestall.ActionMigrate, "w2")) // two at once
	s.do(&Abort{"m0", "enough"}, act("m2", forestall.ActionMigrate, "w2"), &Abort{"m1", "enough"})
	s.refuse(ErrBudget, act("m3", forestall.ActionMigrate, "w3")) // three a minute
	s.do(act("r3", forestall.ActionRecover, "w3"))                // exempt
	s.do(&FailureSeen{Failure: forestall.Failure{Component: forestall.GPU("n1", 4), Kind: forestall.GPUFailure}})
	flee := act("m4", forestall.ActionMigrate, "w4")
	flee.Decision.Component = forestall.GPU("n1", 4)
	s.do(flee) // its GPU has failed: no prediction
	s.now = s.now.Add(time.Minute)
	s.do(act("m0b", forestall.ActionMigrate, "w0"))
}

func TestLedgerGiveUpRevokesForGood(t *testing.T) {
	s := running(t)
	s.do(act("r", forestall.ActionRecover, "a"), &Grant{Migration: "r", Node: "n2", GPUs: []int{0, 1}})
	s.do(&GiveUp{"r", "three targets tried"}, act("r2", forestall.ActionRecover, "a"))
	leases := NewLeases(time.Second, func() time.Duration { return 0 })
	leases.Elected()
	s.do(&Stopped{Workload: "a", Node: "n1", Epoch: 6, How: HowExited})
	epoch := s.workload("a").Epoch
	s.ledger.View(func(st *State) {
		if ok, _ := leases.Grant("a", "n2", epoch, st); ok {
			t.Error("a run that was given up is leased again")
		}
		if st.Incidents["agent/a agent_failure"].Evidence[0] != "gave up: three targets tried" {
			t.Errorf("incidents %+v", st.Incidents)
		}
	})
	s.do(&Stopped{Workload: "a", Node: "n2", Epoch: epoch, How: HowLeaseExpired})
	if n := len(s.workload("a").Holders); n != 0 {
		t.Errorf("%d holders left", n)
	}
}

func TestLedgerDuplicateCommand(t *testing.T) {
	l := NewLedger()
	b, err := Encode("failed n1 1", t0, &Join{Name: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	if v := l.Apply(3, b); v != nil {
		t.Fatal(v)
	}
	if err, _ := l.Apply(4, b).(error); !errors.Is(err, ErrDuplicate) {
		t.Errorf("the same command again: %v", err)
	}
	if err, _ := l.Apply(4, b).(error); !errors.Is(err, ErrReplayed) {
		t.Errorf("the same index again: %v", err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":       ``,
		"no JSON":       `join`,
		"version":       `{"v":2,"kind":"join","at":"2026-01-01T00:00:00Z","body":{"name":"n1"}}`,
		"kind":          `{"v":1,"kind":"jump","at":"2026-01-01T00:00:00Z","body":{}}`,
		"unknown field": `{"v":1,"kind":"leave","at":"2026-01-01T00:00:00Z","body":{"name":"n1","force":true}}`,
		"trailing":      `{"v":1,"kind":"leave","at":"2026-01-01T00:00:00Z","body":{"name":"n1"}} {}`,
		"name":          `{"v":1,"kind":"leave","at":"2026-01-01T00:00:00Z","body":{"name":"../n1"}}`,
		"too large":     `{"v":1,"kind":"leave","at":"2026-01-01T00:00:00Z","body":{"name":"` + strings.Repeat("n", MaxCommandBytes) + `"}}`,
	} {
		if _, _, _, err := Decode([]byte(in)); !errors.Is(err, ErrBadCommand) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRestoreRefuses(t *testing.T) {
	good, err := running(t).ledger.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	rotten := []byte(strings.Replace(string(good), `"epoch":6`, `"epoch":7`, 1))
	for name, b := range map[string][]byte{"empty": nil, "cut": good[:len(good)-3], "rotten": rotten, "other": []byte("forestall-ledger 2 \n{}")} {
		l := NewLedger()
		if err := l.Restore(b); !errors.Is(err, ErrBadSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestChanged(t *testing.T) {
	s := newScript(t)
	changed := s.ledger.Changed()
	s.try(&Leave{"n1"}) // refused
	select {
	case <-changed:
		t.Error("a refusal is no change")
	default:
	}
	s.do(&Join{Name: "n1"})
	<-changed
}
