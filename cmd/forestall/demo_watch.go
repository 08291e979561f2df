package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
)

// demoSight is what one engine said of the cluster at one moment.
type demoSight struct {
	at         time.Time
	status     api.Status
	members    []forestall.Member
	risks      []forestall.Risk
	workloads  []api.WorkloadStatus
	migrations []forestall.Migration
	incidents  []forestall.Incident
}

// demoLookLimit bounds one look at an engine.
const demoLookLimit = 2 * time.Second

// look asks the first engine that answers.
func (c *demoCluster) look(ctx context.Context) (demoSight, error) {
	var errs []error
	for _, n := range c.alive() {
		s, err := n.look(ctx)
		if err == nil {
			return s, nil
		}
		errs = append(errs, err)
	}
	return demoSight{}, errors.Join(errs...)
}

func (n *demoNode) look(ctx context.Context) (s demoSight, err error) {
	ctx, cancel := context.WithTimeout(ctx, demoLookLimit)
	defer cancel()
	// Workloads last: what they say must not be older than the migrations.
	if s.status, err = n.api.Status(ctx); err != nil {
		return s, err
	}
	if s.members, err = n.api.Members(ctx); err != nil {
		return s, err
	}
	if s.risks, err = n.api.Risks(ctx); err != nil {
		return s, err
	}
	if s.incidents, err = n.api.Incidents(ctx); err != nil {
		return s, err
	}
	if s.migrations, err = n.api.Migrations(ctx); err != nil {
		return s, err
	}
	s.workloads, err = n.api.Workloads(ctx)
	s.at = time.Now()
	return s, err
}

// risk returns the risk of a component, Unknown if nothing is known of it.
func (s demoSight) risk(c forestall.Component) forestall.Risk {
	for _, r := range s.risks {
		if r.Component == c {
			return r
		}
	}
	return forestall.UnknownRisk(c, time.Time{}, "not heard of")
}

// incident returns the open incident of a component.
func (s demoSight) incident(c forestall.Component) (forestall.Incident, bool) {
	for _, i := range s.incidents {
		if i.Component == c && i.End.IsZero() {
			return i, true
		}
	}
	return forestall.Incident{}, false
}

func (s demoSight) workload(name string) api.WorkloadStatus {
	for _, w := range s.workloads {
		if w.Name == name {
			return w
		}
	}
	return api.WorkloadStatus{Name: name}
}

// on returns the workloads that are on a node.
func (s demoSight) on(node string) (on []api.WorkloadStatus) {
	for _, w := range s.workloads {
		if w.Node == node && node != "" {
			on = append(on, w)
		}
	}
	return on
}

// uses returns the workloads that have the GPU.
func (s demoSight) uses(gpu forestall.Component) (names []string) {
	index, _ := gpu.GPUIndex()
	for _, w := range s.on(gpu.NodeName()) {
		if slices.Contains(w.GPUs, index) {
			names = append(names, w.Name)
		}
	}
	return names
}

// move returns the newest migration of a workload that is about the
// component and was decided after a moment.
func (s demoSight) move(workload string, about forestall.Component, after time.Time) (forestall.Migration, bool) {
	for _, m := range s.migrations {
		if m.Workload == workload && m.Component == about && m.Time.After(after) && m.Action != forestall.ActionStart {
			return m, true
		}
	}
	return forestall.Migration{}, false
}

// formed reports whether all nodes are members that live under one leader, or
// what is missing.
func (s demoSight) formed(nodes int) (ok bool, missing string) {
	alive := 0
	for _, m := range s.members {
		if m.State == forestall.MemberAlive {
			alive++
		}
	}
	switch {
	case s.status.Leader == "":
		return false, "no leader is elected"
	case !s.status.Quorum:
		return false, "no quorum answers"
	case alive < nodes:
		return false, textCount(alive, "node") + " of " + textCount(nodes, "node") + " joined"
	}
	return true, ""
}

// settled reports whether every workload runs and has a checkpoint of its
// present run, or what is missing.
func (s demoSight) settled() (ok bool, missing string) {
	if len(s.workloads) < len(demoWorkloads) {
		return false, textCount(len(s.workloads), "workload") + " declared"
	}
	var waiting []string
	for _, w := range s.workloads {
		switch {
		case w.State != api.StateRunning:
			waiting = append(waiting, w.Name+" is "+string(w.State))
		case w.Head == nil || w.Head.Epoch != w.Epoch:
			waiting = append(waiting, w.Name+" has no checkpoint of its run yet")
		}
	}
	return len(waiting) == 0, strings.Join(waiting, ", ")
}
