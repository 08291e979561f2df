package migrate

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
)

func risk(c forestall.Component, p float64, g forestall.Grade) forestall.Risk {
	return forestall.Risk{Component: c, Time: t0, Horizon: 10 * time.Minute, Probability: p, Grade: g}
}

// fleet has five nodes of 8 GPUs: n1 runs a on GPUs 0 and 1, n4 has failed in
// the zone of n3, n5 has left.
func fleet(t *testing.T) *script {
	s := running(t)
	s.do(&Join{Name: "n1", GPUs: 8, Zone: "z1"}, &Join{Name: "n2", GPUs: 8, Zone: "z1"}, &Join{Name: "n3", GPUs: 8, Zone: "z2"})
	s.do(&Join{Name: "n4", GPUs: 8, Zone: "z2"}, &Join{Name: "n5", GPUs: 8}, &NodeFailed{Name: "n4"}, &Leave{"n5"})
	s.do(&Declare{job("b", 4)}, &Declare{job("big", 9)})
	return s
}

func TestChoose(t *testing.T) {
	for name, c := range map[string]struct {
		p    Placement
		prep []Command
		node string
		gpus []int
	}{
		"least load, zones with failures last": {p: Placement{Workload: "b", Strategy: LoadBalanced, KeepGPUsNear: true}, node: "n2", gpus: []int{0, 1, 2, 3}},
		"given loads":                          {p: Placement{Workload: "b", Strategy: LoadBalanced, KeepGPUsNear: true, Conditions: Conditions{Loads: map[string]float64{"n1": .9, "n2": .8, "n3": .1}}}, node: "n3", gpus: []int{0, 1, 2, 3}},
		"aligned block beside taken GPUs":      {p: Placement{Workload: "b", Prefer: "n1", KeepGPUsNear: true}, node: "n1", gpus: []int{4, 5, 6, 7}},
		"lowest indices without affinity":      {p: Placement{Workload: "b", Prefer: "n1"}, node: "n1", gpus: []int{2, 3, 4, 5}},
		"own GPUs count as free":               {p: Placement{Workload: "a", Prefer: "n1", KeepGPUsNear: true}, node: "n1", gpus: []int{0, 1}},
		"newest checkpoint": {
			p:    Placement{Workload: "a", Strategy: FastestNode, KeepGPUsNear: true, Flee: forestall.Node("n1")},
			prep: []Command{&Head{forestall.Checkpoint{ID: "c", Workload: "a", Epoch: 6, Replicas: []string{"n1", "n3"}}}},
			node: "n3", gpus: []int{0, 1},
		},
		"lowest risk": {p: Placement{Workload: "b", Strategy: LowestRisk, KeepGPUsNear: true, Conditions: Conditions{Risks: []forestall.Risk{
			risk(forestall.Node("n1"), .01, forestall.Healthy), risk(forestall.Node("n2"), .02, forestall.Healthy), risk(forestall.GPU("n3", 1), .001, forestall.Healthy),
		}}}, node: "n3", gpus: []int{0, 1, 2, 3}},
		"failing GPU and node avoided, suspect one too": {p: Placement{Workload: "b", Strategy: LoadBalanced, KeepGPUsNear: true, Conditions: Conditions{Risks: []forestall.Risk{
			risk(forestall.Node("n3"), .9, forestall.Failing), risk(forestall.GPU("n2", 1), .9, forestall.Failing), risk(forestall.GPU("n2", 6), .4, forestall.Suspect),
		}}}, node: "n2", gpus: []int{2, 3, 4, 5}},
		"unknown risk neither helps nor harms": {p: Placement{Workload: "b", Strategy: LowestRisk, KeepGPUsNear: true, Conditions: Conditions{Risks: []forestall.Risk{
			forestall.UnknownRisk(forestall.Node("n2"), t0, "thin window"),
		}}}, node: "n2", gpus: []int{0, 1, 2, 3}},
		"impossible risk neither helps nor harms": {p: Placement{Workload: "b", Strategy: LowestRisk, KeepGPUsNear: true, Conditions: Conditions{Risks: []forestall.Risk{
			risk(forestall.Node("n1"), .01, forestall.Healthy), risk(forestall.GPU("n3", 0), -1, forestall.Healthy), risk(forestall.Node("n3"), -1, forestall.Healthy), risk(forestall.Node("n2"), 7, forestall.Failing),
		}}}, node: "n2", gpus: []int{0, 1, 2, 3}},
		"failed GPU avoided": {
			p:    Placement{Workload: "b", Prefer: "n2", KeepGPUsNear: true},
			prep: []Command{&FailureSeen{Failure: forestall.Failure{Component: forestall.GPU("n2", 3), Kind: forestall.GPUFailure}}},
			node: "n2", gpus: []int{4, 5, 6, 7},
		},
		"away from a failing GPU, to another node": {
			p: Placement{Workload: "a", Strategy: LoadBalanced, KeepGPUsNear: true, Flee: forestall.GPU("n1", 0), Conditions: Conditions{
				Loads: map[string]float64{"n1": 0, "n2": .9, "n3": .8},
			}}, node: "n3", gpus: []int{0, 1},
		},
		"away from a failing GPU, on the same node when there is no other": {
			p: Placement{Workload: "a", Strategy: LoadBalanced, KeepGPUsNear: true, Flee: forestall.GPU("n1", 0)}, prep: []Command{&Leave{"n2"}, &Leave{"n3"}},
			node: "n1", gpus: []int{2, 3},
		},
		"an avoided node after every other, though it is the fastest": {
			p:    Placement{Workload: "a", Strategy: FastestNode, KeepGPUsNear: true, Avoid: "n1", Conditions: Conditions{Risks: []forestall.Risk{risk(forestall.Node("n3"), .3, forestall.Suspect)}}},
			prep: []Command{&Head{forestall.Checkpoint{ID: "c", Workload: "a", Epoch: 6, Replicas: []string{"n1"}}}, &Leave{"n2"}},
			node: "n3", gpus: []int{0, 1},
		},
		"an avoided node when there is no other": {p: Placement{Workload: "a", KeepGPUsNear: true, Avoid: "n1"}, prep: []Command{&Leave{"n2"}, &Leave{"n3"}}, node: "n1", gpus: []int{0, 1}},
		"an avoided node that is preferred":      {p: Placement{Workload: "a", KeepGPUsNear: true, Avoid: "n1", Prefer: "n1"}, node: "n1", gpus: []int{0, 1}},
		"fled GPU avoided on the same node":      {p: Placement{Workload: "a", Prefer: "n1", KeepGPUsNear: true, Flee: forestall.GPU("n1", 0)}, node: "n1", gpus: []int{2, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			s := fleet(t)
			s.do(c.prep...)
			node, gpus, err := Choose(s.ledger.state, c.p)
			if err != nil || node != c.node || !slices.Equal(gpus, c.gpus) {
				t.Errorf("got %s %v %v, want %s %v", node, gpus, err, c.node, c.gpus)
			}
		})
	}
}

func TestChooseSaysWhyNot(t *testing.T) {
	s := fleet(t)
	_, _, err := Choose(s.ledger.state, Placement{Workload: "big", Exclude: map[string]string{"n2": "circuit open"}, Conditions: Conditions{
		Risks: []forestall.Risk{risk(forestall.Node("n3"), .9, forestall.Failing), risk(forestall.GPU("n1", 4), .8, forestall.Failing)},
	}})
	want := "no node can take it: big: n1: 5 of 9 GPUs free, 1 failing; n2: circuit open; n3: likely to fail itself (90 %); n4: failed; n5: left"
	if !errors.Is(err, ErrNoTarget) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	_, _, err = Choose(newState(), Placement{Workload: "big"})
	if !errors.Is(err, ErrUnknownWorkload) {
		t.Error(err)
	}
}

func TestChooseMemory(t *testing.T) {
	s := newScript(t)
	small, large := job("small", 0), job("large", 0)
	small.Needs.MemoryBytes, large.Needs.MemoryBytes = 3<<30, 6<<30
	s.do(&Join{Name: "n1", MemoryBytes: 8 << 30}, &Declare{small}, &Declare{large})
	s.do(act("s", forestall.ActionStart, "small"), &Grant{Migration: "s", Node: "n1"})
	if _, _, err := Choose(s.ledger.state, Placement{Workload: "large"}); err == nil || !strings.Contains(err.Error(), "of memory free") {
		t.Error(err)
	}
	if node, _, err := Choose(s.ledger.state, Placement{Workload: "small"}); err != nil || node != "n1" {
		t.Error(node, err)
	}
}

func TestPickGPUs(t *testing.T) {
	for _, c := range []struct {
		free    []int
		suspect map[int]bool
		want    int
		near    bool
		got     []int
	}{
		{[]int{0, 1, 2, 3}, nil, 0, true, nil},
		{[]int{1, 2, 3, 4, 5}, nil, 2, true, []int{2, 3}},
		{[]int{1, 2, 3, 5, 7}, nil, 3, true, []int{1, 2, 3}},
		{[]int{0, 2, 4, 6}, nil, 2, true, []int{0, 2}},
		{[]int{0, 1, 2, 3}, map[int]bool{0: true}, 2, true, []int{2, 3}},
		{[]int{0, 1, 2}, map[int]bool{0: true, 1: true}, 2, true, []int{0, 2}},
	} {
		if got := pickGPUs(c.free, c.suspect, c.want, c.near); !slices.Equal(got, c.got) {
			t.Errorf("pickGPUs(%v, %v, %d, %v) = %v, want %v", c.free, c.suspect, c.want, c.near, got, c.got)
		}
	}
}
