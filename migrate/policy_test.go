package migrate

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stratoswarm/forestall"
)

func epochOf(e uint64) forestall.Epoch { return forestall.Epoch(e) }

func actingPolicy(t *testing.T, change ...func(*PolicyConfig)) Policy {
	t.Helper()
	cfg := DefaultPolicyConfig()
	cfg.Modes = Modes{forestall.Act, forestall.Act, forestall.Act}
	cfg.Confirm = 1
	for _, f := range change {
		f(&cfg)
	}
	p, err := NewPolicy(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// brief writes decisions as "action mode workload component to".
func brief(ds []forestall.Decision) (out []string) {
	for _, d := range ds {
		out = append(out, strings.TrimSpace(strings.Join([]string{string(d.Action), string(d.Mode), d.Workload, d.Component.String(), d.To}, " ")))
	}
	return out
}

func at(c forestall.Component, p float64, g forestall.Grade, now time.Time) forestall.Risk {
	r := risk(c, p, g)
	r.Time = now
	return r
}

func TestPolicyReacts(t *testing.T) {
	failure := func(c forestall.Component, k forestall.FailureKind) *FailureSeen {
		return &FailureSeen{Failure: forestall.Failure{Component: c, Kind: k, Evidence: []string{"seen"}}}
	}
	for name, c := range map[string]struct {
		prep []Command
		want []string
	}{
		"nothing":              {},
		"declared":             {prep: []Command{&Declare{job("b", 1)}}, want: []string{"start act b agent/b"}},
		"node failed":          {prep: []Command{&NodeFailed{Name: "n1"}}, want: []string{"recover act a node/n1"}},
		"node left":            {prep: []Command{&Leave{"n1"}}, want: []string{"recover act a node/n1"}},
		"other node failed":    {prep: []Command{&NodeFailed{Name: "n2"}}},
		"agent failed":         {prep: []Command{failure(forestall.Agent("a"), forestall.AgentFailure)}, want: []string{"recover act a agent/a n1"}},
		"exited":               {prep: []Command{&Stopped{Workload: "a", Node: "n1", Epoch: 6, How: HowExited}}, want: []string{"recover act a agent/a n1"}},
		"finished":             {prep: []Command{&Stopped{Workload: "a", Node: "n1", Epoch: 6, How: HowExited, Completed: true}}},
		"retired":              {prep: []Command{&Retire{"a"}}},
		"its GPU failed":       {prep: []Command{failure(forestall.GPU("n1", 1), forestall.GPUFailure)}, want: []string{"migrate act a gpu/n1/1"}},
		"another GPU failed":   {prep: []Command{failure(forestall.GPU("n1", 2), forestall.GPUFailure)}},
		"a partition was seen": {prep: []Command{failure(forestall.Node("n1"), forestall.NetworkPartition)}},
		"busy":                 {prep: []Command{act("m", forestall.ActionMigrate, "a"), &NodeFailed{Name: "n1"}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := running(t)
			s.do(c.prep...)
			p, err := NewPolicy(DefaultPolicyConfig()) // failures are answered whatever the modes
			if err != nil {
				t.Fatal(err)
			}
			_, ds := p.Decide(PolicyState{}, Evidence{Now: s.now, Ledger: s.ledger.state})
			if d := cmp.Diff(c.want, brief(ds)); d != "" {
				t.Error(d)
			}
			started := slices.DeleteFunc(brief(ds), func(d string) bool { return strings.HasPrefix(d, "start ") })
			_, joining := p.Decide(PolicyState{}, Evidence{Now: s.now, Ledger: s.ledger.state, Joining: true})
			if d := cmp.Diff(started, brief(joining), cmpopts.EquateEmpty()); d != "" {
				t.Errorf("while nodes join: %s", d)
			}
			_, again := p.Decide(PolicyState{}, Evidence{Now: s.now.Add(time.Second), Ledger: s.ledger.state})
			for i := range ds {
				if ds[i].ID != again[i].ID {
					t.Errorf("decided again as %s, not %s", again[i].ID, ds[i].ID)
				}
				if len(ds[i].Reasons) == 0 {
					t.Errorf("%s gives no reason", ds[i].ID)
				}
				s.do(&Propose{ds[i]})
			}
		})
	}
}

// The lease of a run has ended and its node has not said why: it may be stuck,
// or have lost its data.
func TestPolicyReactsToALapsedLease(t *testing.T) {
	s := running(t)
	p, err := NewPolicy(DefaultPolicyConfig())
	if err != nil {
		t.Fatal(err)
	}
	started := s.workload("a").Started
	lapsed := forestall.Failure{Component: forestall.Agent("a"), Kind: forestall.AgentFailure, Evidence: []string{"its lease ran out and its node has not said why"}}
	decide := func(established time.Time) []forestall.Decision {
		lapsed.Time = established
		_, ds := p.Decide(PolicyState{}, Evidence{Now: started.Add(time.Minute), Ledger: s.ledger.state, Failures: []forestall.Failure{lapsed}})
		return ds
	}
	if ds := decide(started.Add(-time.Second)); len(ds) != 0 {
		t.Errorf("a failure of an earlier run is answered: %v", brief(ds))
	}
	ds := decide(started.Add(time.Minute))
	if d := cmp.Diff([]string{"recover act a agent/a"}, brief(ds)); d != "" { // to no node in particular
		t.Fatal(d)
	}
	if d := cmp.Diff([]string{"agent/a failed", "its lease ran out and its node has not said why"}, ds[0].Reasons); d != "" {
		t.Error(d)
	}
	s.do(&Propose{ds[0]})
	if ds := decide(started.Add(time.Minute)); len(ds) != 0 {
		t.Errorf("answered twice: %v", brief(ds))
	}

	told := running(t) // its node has said what happened: it is tried there again
	told.do(&FailureSeen{Failure: lapsed, Epoch: 6})
	_, ds = p.Decide(PolicyState{}, Evidence{Now: told.now, Ledger: told.ledger.state, Failures: []forestall.Failure{lapsed}})
	if d := cmp.Diff([]string{"recover act a agent/a n1"}, brief(ds)); d != "" {
		t.Error(d)
	}
}

func TestPolicyBacksOff(t *testing.T) {
	s := running(t)
	p, err := NewPolicy(DefaultPolicyConfig())
	if err != nil {
		t.Fatal(err)
	}
	var waits []time.Duration
	for range 6 {
		s.do(&Stopped{Workload: "a", Node: s.workload("a").Node, Epoch: s.workload("a").Epoch, How: HowExited})
		died := s.now
		for {
			_, ds := p.Decide(PolicyState{}, Evidence{Now: s.now, Ledger: s.ledger.state})
			if len(ds) == 1 {
				s.do(&Propose{ds[0]}, &Grant{Migration: ds[0].ID, Node: "n1", GPUs: []int{0, 1}})
				e := forestall.Epoch(s.index)
				waits = append(waits, s.now.Sub(died).Truncate(2*time.Second)-2*time.Second)
				s.do(&Fenced{ds[0].ID, e, []string{"n1"}}, &Done{ds[0].ID, e})
				break
			}
			s.now = s.now.Add(500 * time.Millisecond)
		}
	}
	for i := 1; i < len(waits); i++ {
		if waits[i] < waits[i-1] {
			t.Errorf("pauses between restarts shrink: %v", waits)
		}
	}
	if waits[0] != 0 || waits[5] < 8*time.Second {
		t.Errorf("pauses between restarts: %v", waits)
	}
	s.now = s.now.Add(StableAfter)
	s.do(&Stopped{Workload: "a", Node: "n1", Epoch: s.workload("a").Epoch, How: HowExited})
	if _, ds := p.Decide(PolicyState{}, Evidence{Now: s.now, Ledger: s.ledger.state}); len(ds) != 1 {
		t.Errorf("after a stable run it has to wait: %+v", s.workload("a"))
	}
}

func TestPolicyPredicts(t *testing.T) {
	n1, g0, g1 := forestall.Node("n1"), forestall.GPU("n1", 0), forestall.GPU("n1", 1)
	for name, c := range map[string]struct {
		risks func(now time.Time) []forestall.Risk
		after time.Duration // since a started
		want  []string
	}{
		"healthy": {func(now time.Time) []forestall.Risk { return []forestall.Risk{at(g0, .0001, forestall.Healthy, now)} }, 3 * time.Minute, nil},
		"unknown": {func(now time.Time) []forestall.Risk { return []forestall.Risk{forestall.UnknownRisk(g0, now, "gone")} }, 3 * time.Minute, nil},
		"NaN": {func(now time.Time) []forestall.Risk {
			return []forestall.Risk{at(g0, math.NaN(), forestall.Failing, now)}
		}, 3 * time.Minute, nil},
		"stale": {func(now time.Time) []forestall.Risk {
			return []forestall.Risk{at(g0, .9, forestall.Failing, now.Add(-time.Hour))}
		}, 3 * time.Minute, nil},
		"suspect":                  {func(now time.Time) []forestall.Risk { return []forestall.Risk{at(g0, .3, forestall.Suspect, now)} }, 3 * time.Minute, []string{"checkpoint act a gpu/n1/0"}},
		"too soon":                 {func(now time.Time) []forestall.Risk { return []forestall.Risk{at(g0, .3, forestall.Suspect, now)} }, 30 * time.Second, nil},
		"failing":                  {func(now time.Time) []forestall.Risk { return []forestall.Risk{at(g1, .9, forestall.Failing, now)} }, 3 * time.Minute, []string{"migrate act a gpu/n1/1", "checkpoint act a gpu/n1/1"}},
		"failing but not worth it": {func(now time.Time) []forestall.Risk { return []forestall.Risk{at(g1, .05, forestall.Failing, now)} }, time.Second, nil},
		"elsewhere": {func(now time.Time) []forestall.Risk {
			return []forestall.Risk{at(forestall.GPU("n1", 5), .9, forestall.Failing, now), at(n1, .01, forestall.Healthy, now)}
		}, 30 * time.Second, nil},
		"node with two signs": {func(now time.Time) []forestall.Risk {
			return []forestall.Risk{at(forestall.GPU("n1", 5), .9, forestall.Failing, now), at(forestall.GPU("n1", 6), .8, forestall.Failing, now), at(n1, .01, forestall.Healthy, now)}
		}, 30 * time.Second, []string{"drain act a node/n1"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := running(t)
			now := s.workload("a").Started.Add(c.after)
			_, ds := actingPolicy(t).Decide(PolicyState{}, Evidence{Now: now, Ledger: s.ledger.state, Risks: c.risks(now)})
			if d := cmp.Diff(c.want, brief(ds)); d != "" {
				t.Error(d)
			}
			for _, d := range ds {
				if !(d.Price.Net() > 0) {
					t.Errorf("%s at a price of %+v", d.ID, d.Price)
				}
			}
		})
	}
}

func TestPolicyConfirmsRepeatsAndObserves(t *testing.T) {
	s := running(t)
	begin := s.workload("a").Started.Add(30 * time.Second)
	now := begin
	p := actingPolicy(t, func(c *PolicyConfig) { c.Confirm, c.Modes.Migrate = 3, forestall.Observe })
	var ps PolicyState
	var said []string
	for range 24 { // each scoring is looked at twice
		scored := begin.Add(now.Sub(begin).Truncate(10 * time.Second))
		ev := Evidence{Now: now, Ledger: s.ledger.state, Risks: []forestall.Risk{at(forestall.GPU("n1", 0), .8, forestall.Failing, scored)}}
		before := ps.Alarms()
		next, ds := p.Decide(ps, ev)
		if d := cmp.Diff(before, ps.Alarms()); d != "" {
			t.Fatalf("Decide changed its argument: %s", d)
		}
		ps = next
		for _, d := range ds {
			if d.Action == forestall.ActionMigrate {
				said = append(said, now.Sub(s.workload("a").Started).String()+" "+string(d.Mode))
			}
		}
		now = now.Add(5 * time.Second)
	}
	want := []string{"50s observe", "1m50s observe"} // the third scoring, and a minute later
	if d := cmp.Diff(want, said); d != "" {
		t.Error(d)
	}
}

// A checkpoint that costs next to nothing pays at any probability; only a
// component at risk is a reason for it.
func TestPolicyCheapCheckpointNeedsARisk(t *testing.T) {
	s := running(t)
	now := s.workload("a").Started.Add(3 * time.Minute)
	gpu := forestall.GPU("n1", 0)
	for name, c := range map[string]struct {
		risks []forestall.Risk
		want  []string
	}{
		"healthy":           {[]forestall.Risk{at(gpu, .02, forestall.Healthy, now)}, nil},
		"suspect":           {[]forestall.Risk{at(gpu, .02, forestall.Suspect, now)}, []string{"checkpoint act a gpu/n1/0"}},
		"suspect elsewhere": {[]forestall.Risk{at(gpu, .02, forestall.Healthy, now), at(forestall.GPU("n1", 7), .4, forestall.Suspect, now)}, nil},
		"suspect, and likelier by another model's scale": {
			[]forestall.Risk{at(gpu, .02, forestall.Suspect, now), at(forestall.Node("n1"), .04, forestall.Healthy, now)}, []string{"checkpoint act a gpu/n1/0"},
		},
	} {
		costs := map[string]Costs{"a": {CheckpointPause: 10 * time.Millisecond}}
		_, ds := actingPolicy(t).Decide(PolicyState{}, Evidence{Now: now, Ledger: s.ledger.state, Risks: c.risks, Costs: costs})
		if d := cmp.Diff(c.want, brief(ds)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// A move that had to be given up is not proposed again at each evaluation,
// which would spend the whole budget on it.
func TestPolicyRestsAfterAnAbortedMove(t *testing.T) {
	s := running(t)
	p := actingPolicy(t)
	gpu := forestall.GPU("n1", 0)
	moves := func(now time.Time) (moves []forestall.Decision) {
		_, ds := p.Decide(PolicyState{}, Evidence{Now: now, Ledger: s.ledger.state, Risks: []forestall.Risk{at(gpu, .9, forestall.Failing, now)}})
		for _, d := range ds {
			if d.Action == forestall.ActionMigrate {
				moves = append(moves, d)
			}
		}
		return moves
	}
	ds := moves(s.now.Add(time.Minute))
	if len(ds) != 1 {
		t.Fatal(brief(ds))
	}
	s.do(&Propose{ds[0]}, &Abort{ds[0].ID, "no room"}, &Resumed{"a", ds[0].ID})
	aborted := s.now.Add(-time.Second)
	if ds := moves(aborted.Add(59 * time.Second)); len(ds) != 0 {
		t.Errorf("proposed again at once: %v", brief(ds))
	}
	if ds := moves(aborted.Add(time.Minute)); len(ds) != 1 {
		t.Error("never proposed again")
	}
	s.do(&FailureSeen{Failure: forestall.Failure{Component: gpu, Kind: forestall.GPUFailure}})
	if ds := moves(s.now); len(ds) != 1 {
		t.Error("a GPU that has failed has to wait")
	}
}

func TestPolicyHoldOut(t *testing.T) {
	held := 0
	for i := range 10_000 {
		if heldOut(decision(forestall.ActionCheckpoint, &WorkloadState{Moves: uint64(i)}, forestall.Component{}, t0).ID, .1) {
			held++
		}
	}
	if held < 900 || held > 1100 {
		t.Errorf("%d of 10,000 held out at a share of 0.1", held)
	}
	if heldOut("x", 0) {
		t.Error("held out at a share of 0")
	}
}

// A checkpoint that is held out is said as such, and the same one each time: a new
// leader holds out no other. Moves and observed tiers are never held out.
func TestPolicySaysWhatItHoldsOut(t *testing.T) {
	s := running(t)
	now := s.workload("a").Started.Add(3 * time.Minute)
	gpu := forestall.GPU("n1", 0)
	held := func(share float64, mode forestall.Mode) (ids []string) {
		p := actingPolicy(t, func(c *PolicyConfig) { c.HoldOut, c.Modes.Checkpoint = share, mode })
		_, ds := p.Decide(PolicyState{}, Evidence{Now: now, Ledger: s.ledger.state, Risks: []forestall.Risk{at(gpu, .9, forestall.Failing, now)}})
		for _, d := range ds {
			if d.HeldOut {
				if d.Action != forestall.ActionCheckpoint || d.Mode != forestall.Observe {
					t.Errorf("held out: %+v", d)
				}
				ids = append(ids, d.ID)
			}
		}
		return ids
	}
	if ids := held(0, forestall.Act); len(ids) != 0 {
		t.Errorf("at a share of 0 %v are held out", ids)
	}
	ids := held(0.9999999, forestall.Act)
	if len(ids) != 1 {
		t.Fatalf("at a share of nearly 1 %v are held out", ids)
	}
	if d := cmp.Diff(ids, held(0.9999999, forestall.Act)); d != "" {
		t.Errorf("another leader holds out otherwise: %s", d)
	}
	if ids := held(0.9999999, forestall.Observe); len(ids) != 0 {
		t.Errorf("%v are held out of a tier that observes", ids)
	}
}

func TestPolicyConfigNamesTheField(t *testing.T) {
	for want, change := range map[string]func(*PolicyConfig){
		"tier migrate":        func(c *PolicyConfig) { c.Modes.Migrate = "on" },
		"checkpoint_interval": func(c *PolicyConfig) { c.CheckpointInterval = 0 },
		"hold_out":            func(c *PolicyConfig) { c.HoldOut = math.NaN() },
		"margin":              func(c *PolicyConfig) { c.Margin = -1 },
		"confirm":             func(c *PolicyConfig) { c.Confirm = 0 },
		"retry_max":           func(c *PolicyConfig) { c.RetryMax = 1 },
	} {
		cfg := DefaultPolicyConfig()
		change(&cfg)
		if _, err := NewPolicy(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestPolicyJoinsOverOneHorizon: a quiet node's risk of a day is not added to a
// GPU's of an hour.
func TestPolicyJoinsOverOneHorizon(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	node, gpu := forestall.Node("n1"), forestall.GPU("n1", 0)
	v := sight{risks: map[forestall.Component]forestall.Risk{
		node: {Component: node, Time: now, Horizon: 24 * time.Hour, Probability: 0.7, Grade: forestall.Suspect},
		gpu:  {Component: gpu, Time: now, Horizon: time.Hour, Probability: 0.2, Grade: forestall.Suspect},
	}}
	st, ok := v.over([]forestall.Component{node, gpu})
	atNode := 1 - math.Pow(1-0.7, 1./24)
	if want := 1 - (1-0.2)*(1-atNode); !ok || math.Abs(st.p-want) > 1e-12 || st.horizon != time.Hour || st.worst.Component != gpu {
		t.Errorf("at stake: %v within %v, worst %s; want %v within 1h0m0s, worst %s", st.p, st.horizon, st.worst.Component, want, gpu)
	}
	if _, ok := v.over([]forestall.Component{forestall.GPU("n1", 1)}); ok {
		t.Error("something is at stake of what is not known")
	}
}
