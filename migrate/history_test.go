package migrate

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
)

// TestIncidentStartsWhenTheHardwareFailed: what a node recorded of a dead GPU
// until the leader heard of it is no history before its failure.
func TestIncidentStartsWhenTheHardwareFailed(t *testing.T) {
	gpu := forestall.GPU("n1", 0)
	for name, tt := range map[string]struct{ before, want time.Duration }{
		"at once":                      {0, 0},
		"ten minutes without a leader": {10 * time.Minute, 10 * time.Minute},
		"a day":                        {maxFailureDelay, maxFailureDelay},
		"a clock that was wrong":       {30 * maxFailureDelay, 0},
		"a clock that is ahead":        {-time.Minute, 0},
	} {
		s := newScript(t)
		agreed := s.now.Add(time.Second)
		s.do(&FailureSeen{Failure: forestall.Failure{Component: gpu, Kind: forestall.GPUFailure, Time: agreed.Add(-tt.before)}})
		in, _ := s.ledger.state.Incident(gpu)
		if !in.Start.Equal(agreed.Add(-tt.want)) || !in.Agreed.Equal(agreed) {
			t.Errorf("%s: it starts at %s and was agreed on at %s; want %s and %s", name, in.Start, in.Agreed, agreed.Add(-tt.want), agreed)
		}
	}
	for name, tt := range map[string]struct{ before, want time.Duration }{
		"seen four seconds before": {4 * time.Second, 4 * time.Second},
		"not known":                {-1, 0},
	} {
		s := newScript(t)
		agreed := s.now.Add(2 * time.Second)
		c := &NodeFailed{Name: "n1"}
		if tt.before > 0 {
			c.LastSeen = agreed.Add(-tt.before)
		}
		s.do(&Join{Name: "n1"}, c)
		if in, _ := s.ledger.state.Incident(forestall.Node("n1")); !in.Start.Equal(agreed.Add(-tt.want)) || !in.Agreed.Equal(agreed) || !s.ledger.state.Nodes["n1"].Since.Equal(agreed) {
			t.Errorf("a node %s: %s, agreed on at %s, want %s and %s", name, in.Start, in.Agreed, agreed.Add(-tt.want), agreed)
		}
	}
	s := newScript(t)
	s.do(&FailureSeen{Failure: forestall.Failure{Component: gpu, Kind: forestall.GPUFailure}})
	s.now = s.now.Add(-time.Hour) // a new leader, whose clock is behind
	s.do(&IncidentClose{Component: gpu, Kind: forestall.GPUFailure})
	if in := s.ledger.state.Past[0]; in.End.Before(in.Start) {
		t.Errorf("it ends at %s, before it starts at %s", in.End, in.Start)
	}
}

// TestCrashingWorkloadsPushOutNoHardware: failures are remembered by kind, and the
// ledger says from when on it has them all.
func TestCrashingWorkloadsPushOutNoHardware(t *testing.T) {
	s := running(t)
	gpu := forestall.GPU("n1", 0)
	s.do(&FailureSeen{Failure: forestall.Failure{Component: gpu, Kind: forestall.GPUFailure}}, &IncidentClose{Component: gpu, Kind: forestall.GPUFailure})
	begun := s.ledger.state.Begun
	if !begun.Equal(t0.Add(time.Second)) || !s.ledger.state.KnownSince()["agent_failure"].Equal(begun) {
		t.Errorf("begun at %s, known since %v", begun, s.ledger.state.KnownSince())
	}
	a := forestall.Agent("a")
	for range maxHistory + 3 {
		s.do(&FailureSeen{Failure: forestall.Failure{Component: a, Kind: forestall.AgentFailure}}, &IncidentClose{Component: a, Kind: forestall.AgentFailure})
	}
	state := s.ledger.State()
	count := map[forestall.FailureKind]int{}
	var first Incident // that is left of the agent
	for _, in := range state.Past {
		if count[in.Kind]++; in.Kind == forestall.AgentFailure && count[in.Kind] == 1 {
			first = in
		}
	}
	if d := cmp.Diff(map[forestall.FailureKind]int{forestall.GPUFailure: 1, forestall.AgentFailure: maxHistory}, count); d != "" {
		t.Error(d)
	}
	since := state.KnownSince()
	if got := since["agent_failure"]; !got.After(begun) || got.After(first.Start) || !since["gpu_failure"].Equal(begun) || !since["moves"].Equal(begun) {
		t.Errorf("known since %v; the first agent failure that is left starts at %s", since, first.Start)
	}
	snapshot, err := s.ledger.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	restored := NewLedger()
	if err := restored.Restore(snapshot); err != nil {
		t.Fatal(err)
	}
	if !maps.EqualFunc(restored.state.KnownSince(), since, time.Time.Equal) {
		t.Errorf("restored: known since %v, want %v", restored.state.KnownSince(), since)
	}
}

// TestRecoveriesPushOutNoMoves: rows of telemetry that a move followed are known
// as such for as long as moves are.
func TestRecoveriesPushOutNoMoves(t *testing.T) {
	s := newState()
	at := func(i int) stamp { return stamp{at: t0.Add(time.Duration(i) * time.Minute)} }
	end := func(i int, a forestall.Action) {
		s.Workloads["a"] = &WorkloadState{}
		m := &forestall.Migration{Decision: forestall.Decision{ID: fmt.Sprint(i), Action: a, Workload: "a"}, At: map[forestall.Phase]time.Time{}}
		s.closeMigration(m, forestall.PhaseDone, "", at(i))
	}
	end(0, forestall.ActionMigrate)
	for i := range maxClosed + 5 {
		end(1+i, forestall.ActionRecover)
	}
	if len(s.Closed) != maxClosed+1 || s.Closed[0].ID != "0" || s.Closed[1].ID != "6" {
		t.Errorf("%d closed, the first %s and %s", len(s.Closed), s.Closed[0].ID, s.Closed[1].ID)
	}
	if len(s.Forgotten) != 0 {
		t.Errorf("forgotten: %v; a recovery is no move", s.Forgotten)
	}
	for i := range maxMoves {
		end(1000+i, forestall.ActionDrain)
	}
	if got := s.KnownSince()[HistoryMoves]; !got.Equal(t0) {
		t.Errorf("moves are known since %s, want %s", got, t0)
	}
}

// TestObserved: what the policy only observed is kept once each, the newest of each
// action, apart from what was done.
func TestObserved(t *testing.T) {
	s := running(t)
	wanted := func(id string, a forestall.Action) forestall.Decision {
		return forestall.Decision{ID: id, Action: a, Mode: forestall.Observe, Time: t0, Component: forestall.GPU("n1", 0), Workload: "a", Reasons: []string{"it is hot"}}
	}
	s.do(&Observed{wanted("move", forestall.ActionMigrate)})
	s.refuse(ErrDuplicate, &Observed{wanted("move", forestall.ActionMigrate)})
	for i := range maxObserved + 3 {
		s.do(&Observed{wanted(fmt.Sprint("save-", i), forestall.ActionCheckpoint)})
	}
	state := s.ledger.State()
	if n := len(state.Observed); n != maxObserved+1 {
		t.Fatalf("%d decisions are kept", n)
	}
	for id, want := range map[string]bool{"move": true, "save-2": false, "save-3": true} {
		if state.HasObserved(id) != want {
			t.Errorf("%s is kept: %v", id, !want)
		}
	}
	if len(state.Interventions)+len(state.HeldOut)+len(state.Spent) > 0 {
		t.Error("an observed decision counts as something that was done")
	}
	act := wanted("x", forestall.ActionMigrate)
	act.Mode = forestall.Act
	for _, d := range []forestall.Decision{act, wanted("", forestall.ActionMigrate)} {
		if _, err := Encode("", t0, &Observed{d}); !errors.Is(err, ErrBadCommand) {
			t.Errorf("%+v: %v", d, err)
		}
	}
}
