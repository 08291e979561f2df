package migrate

import (
	"maps"
	"slices"

	"github.com/stratoswarm/forestall"
)

// clone returns a copy that shares nothing that either side may change.
func (s *State) clone() State {
	c := *s
	c.Nodes = make(map[string]*Node, len(s.Nodes))
	for name, n := range s.Nodes {
		copied := *n
		c.Nodes[name] = &copied
	}
	c.Workloads = make(map[string]*WorkloadState, len(s.Workloads))
	for name, w := range s.Workloads {
		c.Workloads[name] = cloneWorkload(w)
	}
	c.Open = make(map[string]*forestall.Migration, len(s.Open))
	for id, m := range s.Open {
		copied := cloneMigration(*m)
		c.Open[id] = &copied
	}
	c.Incidents = maps.Clone(s.Incidents)
	c.Closed = slices.Clone(s.Closed) // its elements are final
	c.Past = slices.Clone(s.Past)
	c.Interventions = slices.Clone(s.Interventions)
	c.Outcomes = slices.Clone(s.Outcomes)
	c.HeldOut = slices.Clone(s.HeldOut)
	c.Observed = slices.Clone(s.Observed)       // its elements are final
	c.ModelEvents = slices.Clone(s.ModelEvents) // its elements are final
	c.Pins = maps.Clone(s.Pins)
	c.CheckpointOrders = slices.Clone(s.CheckpointOrders)
	c.Models = maps.Clone(s.Models)
	for kind, r := range c.Models {
		copied := cloneRoles(*r)
		c.Models[kind] = &copied
	}
	c.Spent = slices.Clone(s.Spent)
	c.Recent = slices.Clone(s.Recent)
	c.Forgotten = maps.Clone(s.Forgotten)
	c.recent = maps.Clone(s.recent)
	return c
}

func cloneWorkload(w *WorkloadState) *WorkloadState {
	c := *w
	c.GPUs = slices.Clone(w.GPUs)
	c.Holders = slices.Clone(w.Holders)
	if w.Head != nil {
		head := *w.Head
		c.Head = &head
	}
	return &c
}

func cloneRoles(r forestall.ModelRoles) forestall.ModelRoles {
	if r.Candidate != nil {
		candidate := *r.Candidate
		r.Candidate = &candidate
	}
	r.Past = slices.Clone(r.Past)
	return r
}

func cloneMigration(m forestall.Migration) forestall.Migration {
	m.At = maps.Clone(m.At)
	m.GPUs = slices.Clone(m.GPUs)
	m.Reasons = slices.Clone(m.Reasons)
	return m
}
