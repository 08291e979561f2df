package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/detect"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/gpu"
	"github.com/stratoswarm/forestall/migrate"
	"github.com/stratoswarm/forestall/predict"
	"github.com/stratoswarm/forestall/workload"
)

// view answers the API from what the engine holds in memory: its own risks,
// the cluster's as the leader told them, and this node's replica of the ledger.
type view struct{ *Engine }

func (v view) backend() api.Backend {
	b := api.Backend{Risks: v, Cluster: v, Workloads: v, Checkpoints: v, Keeper: keeper(v), Heartbeats: v, Models: v, Recordings: v}
	if v.sim != nil {
		b.Injector = injector{v.sim}
	}
	return b
}

// Risks returns this node's own risks, newest, and the other nodes' as the
// leader last told them. Those of a node, or of a leader, that has been silent
// turn into Unknown, and those of what has failed: nothing is left to predict.
func (v view) Risks() []forestall.Risk {
	told := slices.DeleteFunc(slices.Clone(v.clusterRisks()), func(r forestall.Risk) bool { return v.telemetry.reads(r.Component) })
	risks := mergeRisks(v.telemetry.Risks(), told...)
	v.ledger.View(func(s *migrate.State) {
		for i, r := range risks {
			if incident, failed := s.Incident(r.Component); failed {
				since := v.now().Sub(incident.Start).Round(time.Second)
				risks[i] = forestall.UnknownRisk(r.Component, r.Time, fmt.Sprintf("it has failed (%s, %s ago): there is nothing left to predict", incident.Kind, since))
			}
		}
	})
	return risks
}

func (v view) Risk(c forestall.Component) (forestall.Risk, bool) {
	risks := v.Risks()
	for _, r := range risks {
		if r.Component == c {
			return r, true
		}
	}
	var found *migrate.WorkloadState
	v.ledger.View(func(s *migrate.State) {
		if w := s.Workload(c); w != nil {
			copied := *w
			found = &copied
		}
	})
	if found == nil {
		return forestall.Risk{}, false
	}
	return v.jobRisk(found, risks), true
}

// jobRisk returns the risk that a workload loses its place: its node's and its
// GPUs' together. Nodes count only where a model judges them.
func (v view) jobRisk(w *migrate.WorkloadState, risks []forestall.Risk) forestall.Risk {
	if !w.Running {
		return forestall.UnknownRisk(w.Spec.Component(), time.Time{}, "it does not run")
	}
	var parts []forestall.Risk
	for _, r := range risks {
		index, isGPU := r.Component.GPUIndex()
		if !isGPU && v.cfg.Model.Node == "none" {
			continue
		}
		if r.Component.NodeName() == w.Node && (!isGPU || slices.Contains(w.GPUs, index)) {
			parts = append(parts, r)
		}
	}
	return predict.JointRisk(w.Spec.Component(), parts, predict.ByNode, v.cfg.Policy.SuspectAt)
}

func (v view) Status() api.Status {
	leader, _, known := v.node.Leader()
	risks := v.Risks()
	status := api.Status{
		Node: v.name, Version: v.version, Time: v.now(), Started: v.started,
		Leader: leader, Quorum: known && v.hasQuorum(),
		Profile: v.cfg.Cluster.Profile,
		Mode: map[string]forestall.Mode{
			"checkpoint": v.cfg.Policy.Checkpoint,
			"migrate":    v.cfg.Policy.Migrate, "drain": v.cfg.Policy.Drain,
		},
		Components:           len(risks),
		ReplicationFactor:    v.cfg.FaultTolerance.ReplicationFactor,
		EffectiveReplication: min(v.cfg.FaultTolerance.ReplicationFactor, v.liveMembers()),
		Fleet:                v.fleetShort(),
		Thresholds:           v.thresholds(),
		Notes:                v.notes(),
	}
	for _, r := range risks {
		if r.Grade == forestall.Unknown {
			status.Unknown++
		}
	}
	v.ledger.View(func(s *migrate.State) {
		status.OpenIncidents, status.KnownSince = len(s.Incidents), s.KnownSince()
		for _, w := range s.Workloads {
			if w.Retired || w.Completed {
				continue
			}
			status.Workloads++
			if !w.Running {
				status.NotRunning++
			}
		}
	})
	for _, m := range v.Members() {
		status.Members++
		if m.Voter {
			status.Voters++
		}
	}
	return status
}

// hasQuorum reports whether the leader was heard, or its followers by it,
// recently enough that entries can be agreed on.
func (v view) hasQuorum() bool { return v.node.LastContact() < v.timing.fresh }

// doubted is for how long a wrong answer about a checkpoint is told.
const doubted = 24 * time.Hour

// notes says what an operator should know about this engine.
func (v view) notes() []string {
	var notes []string
	if v.alone() {
		notes = append(notes, "alone: workloads cannot move, checkpoints have one copy")
	}
	if !v.hasQuorum() {
		notes = append(notes, noQuorumNote(v.voters(), v.gossip()))
	}
	if v.gpuNote != "" && !v.telemetry.owners.gpusOf(v.name) {
		notes = append(notes, "no GPU telemetry: "+v.gpuNote)
	}
	if note := v.telemetry.remote.note(v.now()); note != "" {
		notes = append(notes, note)
	}
	if note := v.telemetry.refilled.note(v.started, v.now()); note != "" {
		notes = append(notes, note)
	}
	if note := v.telemetry.lastXIDs.note(); note != "" {
		notes = append(notes, note)
	}
	if note := v.inOneZone(); note != "" {
		notes = append(notes, note)
	}
	for _, d := range v.replicas.Doubts() {
		if ago := v.now().Sub(d.Last); ago < doubted {
			notes = append(notes, fmt.Sprintf("node %s gave wrong answers about checkpoints, %d since this engine started, the last %s ago: look for a failing disk there (%.200s)", d.Peer, d.Count, ago.Round(time.Second), d.Why))
		}
	}
	notes = append(notes, v.certificateNotes(v.now())...)
	notes = append(notes, targetNotes(v.Targets())...)
	if v.noLease.Load() && !v.alone() {
		notes = append(notes, "no leader grants leases; workloads here stop when theirs run out")
	}
	for _, kind := range []forestall.Kind{forestall.KindGPU, forestall.KindNode} {
		if trouble := v.models.trouble(kind); trouble != "" {
			notes = append(notes, fmt.Sprintf("models of %s: %s", kind, trouble))
		}
	}
	notes = append(notes, v.driftNotes()...)
	notes = append(notes, v.unusualNotes()...)
	if v.telemetry.score == 0 {
		notes = append(notes, "prediction is off (fault_tolerance.prediction_enabled = false)")
	}
	return notes
}

func (v view) Members() []forestall.Member {
	leader, _, _ := v.node.Leader()
	seen := v.gossip()
	var members []forestall.Member
	v.ledger.View(func(s *migrate.State) {
		for _, name := range s.NodeNames() {
			n := s.Nodes[name]
			m := forestall.Member{
				Name: name, Address: n.Address, API: n.API, Zone: n.Zone, GPUs: n.GPUs,
				Voter: v.isVoter(name), Leader: name == leader, State: n.State,
			}
			if g, ok := seen[name]; ok && m.State == forestall.MemberAlive && g != forestall.MemberAlive {
				m.State = forestall.MemberSuspect // this engine misses it, the quorum does not yet
			}
			members = append(members, m)
		}
		for _, listed := range v.nodes {
			if s.Nodes[listed.name] == nil { // it never joined
				members = append(members, forestall.Member{Name: listed.name, Address: listed.peerAddress(), Voter: v.isVoter(listed.name)})
			}
		}
	})
	v.sinceSeen(members)
	slices.SortFunc(members, func(a, b forestall.Member) int { return cmp.Compare(a.Name, b.Name) })
	return members
}

// sinceSeen notes for how long this engine has had no word of each other member.
func (e *Engine) sinceSeen(members []forestall.Member) {
	for i, m := range members {
		if last := e.lastWord(m.Name); m.Name != e.name && !last.IsZero() {
			members[i].LastSeen = max(0, e.now().Sub(last))
		}
	}
}

func (v view) Migrations() (migrations []forestall.Migration) {
	v.ledger.View(func(s *migrate.State) { migrations = s.Migrations() })
	return migrations
}

func (v view) Incidents() (incidents []forestall.Incident) {
	v.ledger.View(func(s *migrate.State) { incidents = s.AllIncidents() })
	return incidents
}

// CloseIncident has the end of a GPU's incident agreed on. That of a node ends
// when it is back, those of workloads when they are recovered.
func (v view) CloseIncident(ctx context.Context, c forestall.Component, reason string) error {
	if c.Kind != forestall.KindGPU {
		return fmt.Errorf("%w: %s is no GPU; incidents of nodes end when the node is back, those of workloads when they are recovered", api.ErrInvalid, c)
	}
	var open []forestall.FailureKind
	v.ledger.View(func(s *migrate.State) {
		for _, i := range s.Incidents {
			if i.Component == c {
				open = append(open, i.Kind)
			}
		}
	})
	if len(open) == 0 {
		return fmt.Errorf("%s has no open incident: %w; see `forestall incidents`", c, api.ErrNotFound)
	}
	slices.Sort(open)
	limit, cancel := context.WithTimeout(ctx, retirePatience)
	defer cancel()
	for _, kind := range open {
		err := v.propose(limit, "", &migrate.IncidentClose{Component: c, Kind: kind, Closed: "through " + v.name + ": " + reason})
		switch {
		case err == nil:
			v.log.Info("incident closed by an operator", "component", c, "kind", kind, "reason", reason)
		case limit.Err() != nil:
			return fmt.Errorf("close the incident of %s: %w: not agreed on within %s, though it may be still: %w", c, api.ErrUnavailable, retirePatience, err)
		default:
			return fmt.Errorf("close the incident of %s: %w", c, err)
		}
	}
	return nil
}

func (v view) Interventions() (all []api.Intervention) {
	v.ledger.View(func(s *migrate.State) {
		for _, i := range s.Interventions {
			all = append(all, api.Intervention{Intervention: i})
		}
		for _, i := range s.HeldOut {
			all = append(all, api.Intervention{Intervention: i, HeldOut: true})
		}
	})
	return all
}

func (v view) Observed() (all []forestall.Decision) {
	v.ledger.View(func(s *migrate.State) { all = slices.Clone(s.Observed) })
	return all
}

func (v view) Workloads() []api.WorkloadStatus {
	risks := v.Risks()
	runs := map[runKey]workload.Status{}
	for _, s := range v.supervisor.List() {
		runs[runKey{s.Workload.Name, s.Epoch}] = s
	}
	var list []api.WorkloadStatus
	v.ledger.View(func(s *migrate.State) {
		for _, name := range s.WorkloadNames() {
			w := s.Workloads[name]
			status := api.WorkloadStatus{
				Name: name, Kind: w.Spec.Kind, Node: w.Node, Epoch: w.Epoch,
				GPUs: slices.Clone(w.GPUs), Head: w.Head, Risk: v.jobRisk(w, risks), Note: w.GaveUp,
			}
			if m := s.Open[w.Migration]; m != nil && m.Note != "" {
				status.Note = m.Note
			}
			status.State, status.Since = workloadState(s, w)
			if status.State == api.StateFailed && w.GaveUp == "" && w.Tries > 1 {
				due := v.policy.RetryAfter(w.Tries) - v.now().Sub(w.Tried)
				status.Note = fmt.Sprintf("it ends again and again (%d times lately): the next start is due in %s", w.Tries, max(0, due).Round(time.Second))
			}
			if old, limit := v.checkpointAge(w), 3*v.interval(w); w.Running && old > limit {
				status.Note = fmt.Sprintf("no checkpoint has counted for %s, three times its interval; see the log of %s's engine", old.Round(time.Second), w.Node)
			}
			if run, ok := runs[runKey{name, w.Epoch}]; ok {
				status.PID = run.PID
				if run.Frozen {
					status.State = api.StateFrozen
				}
				if h := v.heartbeats.Health(w.Spec.Component(), v.now()); h.Grade == forestall.Suspect {
					status.Note = "suspect: " + strings.Join(h.Evidence, "; ")
				}
			}
			status.Restarts = w.Restarts
			list = append(list, status)
		}
	})
	return list
}

// checkpointAge is how much work the running workload would lose now.
func (e *Engine) checkpointAge(w *migrate.WorkloadState) time.Duration {
	since := w.Started
	if w.Head != nil && w.Head.Time.After(since) {
		since = w.Head.Time
	}
	return e.now().Sub(since)
}

func (e *Engine) interval(w *migrate.WorkloadState) time.Duration {
	if w.Spec.Interval > 0 {
		return w.Spec.Interval
	}
	return e.cfg.FaultTolerance.CheckpointInterval.Duration
}

// workloadState puts what the ledger knows of a workload into one word, and
// when that began if the ledger says so.
func workloadState(s *migrate.State, w *migrate.WorkloadState) (api.WorkloadState, time.Time) {
	m := s.Open[w.Migration]
	switch {
	case m != nil && m.Action == forestall.ActionStart:
		return api.StateStarting, m.At[m.Phase]
	case m != nil:
		return api.StateMoving, m.At[m.Phase]
	case w.Running:
		return api.StateRunning, w.Started
	case w.Retired || w.Completed:
		return api.StateStopped, time.Time{}
	case w.Epoch == 0:
		return api.StateStarting, time.Time{}
	}
	return api.StateFailed, time.Time{}
}

// retirePatience is how long a retirement waits for the cluster to agree: less
// than api.Client waits for the answer.
const retirePatience = 5 * time.Second

func (v view) Retire(ctx context.Context, name string) error {
	if _, ok := v.spec(name); !ok {
		return fmt.Errorf("workload %q: %w; see `forestall workloads`", name, api.ErrNotFound)
	}
	limit, cancel := context.WithTimeout(ctx, retirePatience)
	defer cancel()
	err := v.propose(limit, "", &migrate.Retire{Workload: name})
	switch {
	case err == nil:
		v.log.Info("workload retired", "workload", name)
		return nil
	case limit.Err() != nil:
		return fmt.Errorf("retire %s: %w: not agreed on within %s, though it may be still; look at `forestall status`, then repeat it: %w",
			name, api.ErrUnavailable, retirePatience, err)
	}
	return fmt.Errorf("retire %s: %w", name, err)
}

func (v view) Beat(c forestall.Component, errorRate, responseSeconds float64, metrics map[string]float64) error {
	if c.Kind != forestall.KindAgent && c.Kind != forestall.KindService {
		return fmt.Errorf("%s: only agents and services send heartbeats: %w", c, api.ErrInvalid)
	}
	if !v.runsHere(c.Name) {
		return fmt.Errorf("%s does not run on node %s: %w", c, v.name, api.ErrNotFound)
	}
	beat := detect.Beat{Component: c, Time: v.now(), ErrorRate: errorRate, ResponseSeconds: responseSeconds, Metrics: metrics}
	err := v.heartbeats.Beat(beat)
	if errors.Is(err, detect.ErrUnknownComponent) { // its run was found late
		v.heartbeats.Track(c, v.now())
		err = v.heartbeats.Beat(beat)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	v.takeBeat(beat)
	return nil
}

// takeBeat makes a heartbeat telemetry of its sender.
func (e *Engine) takeBeat(b detect.Beat) {
	samples := []forestall.Sample{
		{Component: b.Component, Metric: features.MetricErrorRate, Time: b.Time, Value: b.ErrorRate},
		{Component: b.Component, Metric: features.MetricResponseTime, Time: b.Time, Value: b.ResponseSeconds},
	}
	for name, value := range b.Metrics {
		if !math.IsInf(value, 0) {
			samples = append(samples, forestall.Sample{Component: b.Component, Metric: name, Time: b.Time, Value: value})
		}
	}
	e.telemetry.push(samples, notMeasured)
}

type injector struct{ sim *gpu.Sim }

func (i injector) Inject(index int, mode string, over time.Duration) error {
	m, err := gpu.ParseMode(mode)
	if err != nil {
		return fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	if err := i.sim.Inject(index, m, over); err != nil {
		return fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	return nil
}
