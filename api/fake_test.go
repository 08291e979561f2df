package api

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
)

var t0 = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// fake is a cluster of three nodes with eight GPUs each whose state tests set.
type fake struct {
	mu         sync.Mutex
	status     Status
	members    []forestall.Member
	risks      map[forestall.Component]forestall.Risk
	migrations []forestall.Migration
	incidents  []forestall.Incident
	workloads  []WorkloadStatus
	beats      []string
	injected   []string
	retired    []string
}

func newFake(now time.Time) *fake {
	f := &fake{risks: map[forestall.Component]forestall.Risk{}}
	f.status = Status{
		Node: "n1", Version: "0.1.0", Leader: "n2", Quorum: true, Voters: 3, Members: 3, Profile: "fast", Started: now.Add(-3 * time.Hour),
		Mode: map[string]forestall.Mode{
			"checkpoint": forestall.Act, "warm": forestall.Act, "migrate": forestall.Act, "drain": forestall.Observe,
		},
		Components: 31, Unknown: 2, ReplicationFactor: 3, EffectiveReplication: 3,
		Fleet: FleetShort{Health: Number(0.9973), Expected: Number(0.08), Horizon: 600, Trend: "worse"},
	}
	for i, n := range []string{"n1", "n2", "n3"} {
		f.members = append(f.members, forestall.Member{
			Name: n, Address: fmt.Sprintf("127.0.0.1:%d", 7400+i), API: fmt.Sprintf("http://127.0.0.1:%d", 7070+i),
			Zone: "zone-" + string(rune('a'+i)), GPUs: 8, Voter: true, Leader: n == "n2", State: forestall.MemberAlive, LastSeen: 120 * time.Millisecond,
		})
		f.set(healthy(forestall.Node(n), now, 0.0004))
		for g := range 8 {
			f.set(healthy(forestall.GPU(n, g), now, 0.0005+0.0003*float64((g*7+i*3)%5)))
		}
	}
	f.set(failing(forestall.GPU("n1", 3), now))
	f.set(suspect(forestall.GPU("n3", 5), now))
	f.set(unusual(healthy(forestall.GPU("n3", 2), now, 0.0008), now))
	f.set(forestall.UnknownRisk(forestall.GPU("n3", 7), now, "no telemetry for 45 s: the source does not answer"))
	f.set(forestall.UnknownRisk(forestall.Agent("train-2"), now, "no heartbeat yet"))
	for i, w := range []string{"index", "serve", "train-1", "train-2"} {
		f.workloads = append(f.workloads, workloadOn([]string{"n1", "n2", "n1", "n3"}[i], w, i, now, f))
	}
	f.migrations = migrations(now)
	f.incidents = []forestall.Incident{{
		Component: forestall.GPU("n2", 6), Kind: forestall.GPUFailure, Start: now.Add(-26 * time.Minute), End: now.Add(-3 * time.Minute),
		Evidence: []string{"XID 79: GPU has fallen off the bus", "device vanished from NVML"},
	}}
	return f
}

func healthy(c forestall.Component, now time.Time, p float64) forestall.Risk {
	return forestall.Risk{
		Component: c, Time: now, Horizon: 10 * time.Minute, Probability: p, Grade: forestall.Healthy, Model: "demo-1",
		Reasons: []forestall.Reason{{Feature: "gpu_temperature_celsius:mean:1m", Value: 54, Contribution: -0.41, Text: "temperature 54 °C, steady"}},
	}
}

// unusual makes a component unusual for itself.
func unusual(r forestall.Risk, now time.Time) forestall.Risk {
	r.Anomaly = &forestall.Anomaly{
		State: forestall.Unusual, Score: 9.1, Threshold: 6, Since: now.Add(-12 * time.Minute),
		Reasons: []string{"power 212 W, was 389 W", "memory clock 1.2 GHz, was 1.6 GHz"},
	}
	return r
}

func failing(c forestall.Component, now time.Time) forestall.Risk {
	return forestall.Risk{
		Component: c, Time: now, Horizon: 10 * time.Minute, Probability: 0.873, Grade: forestall.Failing, Model: "demo-1",
		Reasons: []forestall.Reason{
			{Feature: "gpu_temperature_celsius:slope:1m", Value: 6.2, Contribution: 2.31, Text: "temperature rises by 6.2 °C per minute, now 91 °C"},
			{Feature: "gpu_clock_throttle_ratio:mean:1m", Value: 0.64, Contribution: 1.12, Text: "clocks throttled 64 % of the last minute"},
			{Feature: "gpu_ecc_corrected_total:rate:5m", Value: math.NaN(), Contribution: 0.38, Text: "corrected ECC errors are not reported any more"},
			{Feature: "gpu_power_watts:mean:1m", Value: 389, Contribution: -0.22, Text: "power 389 W, as usual"},
		},
	}
}

func suspect(c forestall.Component, now time.Time) forestall.Risk {
	r := failing(c, now)
	r.Probability, r.Grade = 0.142, forestall.Suspect
	r.Reasons = []forestall.Reason{{
		Feature: "gpu_nvlink_replay_errors_total:rate:5m", Value: 3.1, Contribution: 1.4, Text: "NVLink replays 3.1 per second, 40 times its usual rate",
	}}
	return r
}

func workloadOn(node, name string, i int, now time.Time, f *fake) WorkloadStatus {
	w := WorkloadStatus{
		Name: name, Kind: forestall.KindAgent, Node: node, Epoch: forestall.Epoch(41 + 7*i), State: StateRunning,
		Since: now.Add(-time.Duration(40+i) * time.Minute), GPUs: []int{2 * i % 8, 2*i%8 + 1}, PID: 4120 + i, Restarts: i % 2,
		Head: &forestall.Checkpoint{
			ID: fmt.Sprintf("%064x", 0xabc123+i), Workload: name, Epoch: forestall.Epoch(41 + 7*i), Sequence: uint64(90 + i), Time: now.Add(-time.Duration(9+31*i) * time.Second),
			Size: 48 << 20, Added: 1 << 20, Took: 212 * time.Millisecond, Pause: 8 * time.Millisecond, Replicas: []string{"n1", "n2", "n3"},
		},
		Risk: healthy(forestall.Agent(name), now, 0.004),
	}
	if i < 2 {
		w.Kind = forestall.KindService
		w.Risk.Component.Kind = forestall.KindService
	}
	switch name {
	case "train-1":
		w.State, w.GPUs = StateMoving, []int{3}
		w.Risk = failing(forestall.Agent(name), now)
	case "train-2":
		w.Risk = forestall.UnknownRisk(forestall.Agent(name), now, "no heartbeat yet")
		w.Head = nil
	}
	return w
}

func migrations(now time.Time) []forestall.Migration {
	at := func(from time.Time, phases ...forestall.Phase) map[forestall.Phase]time.Time {
		m := map[forestall.Phase]time.Time{}
		for i, p := range phases {
			m[p] = from.Add(time.Duration(i) * 180 * time.Millisecond)
		}
		return m
	}
	running, done := now.Add(-2*time.Second), now.Add(-26*time.Minute)
	return []forestall.Migration{
		{
			Decision: forestall.Decision{
				ID: "d-91", Action: forestall.ActionMigrate, Mode: forestall.Act, Time: running, Component: forestall.GPU("n1", 3), Workload: "train-1", From: "n1", To: "n2",
				Price:   forestall.Price{Saves: 2412, Costs: 38},
				Reasons: []string{"gpu/n1/3 fails within 10 min with probability 0.87", "temperature rises by 6.2 °C per minute"},
			},
			Phase: forestall.PhaseGranted, Epoch: 97, Checkpoint: fmt.Sprintf("%064x", 0xabc125), GPUs: []int{1}, Attempt: 1,
			At: at(running, forestall.PhaseProposed, forestall.PhaseSaved, forestall.PhaseGranted), Pause: 0,
		},
		{
			Decision: forestall.Decision{
				ID: "d-77", Action: forestall.ActionRecover, Mode: forestall.Act, Time: done, Component: forestall.GPU("n2", 6), Workload: "serve", From: "n2", To: "n2",
				Price: forestall.Price{Saves: 600, Costs: 12}, Reasons: []string{"gpu/n2/6 fell off the bus"},
			},
			Phase: forestall.PhaseDone, Epoch: 48, Attempt: 1, GPUs: []int{2, 3}, Pause: 1840 * time.Millisecond,
			At: at(done, forestall.PhaseProposed, forestall.PhaseGranted, forestall.PhaseFenced, forestall.PhaseStopped, forestall.PhaseDone),
		},
		{
			Decision: forestall.Decision{
				ID: "d-70", Action: forestall.ActionMigrate, Mode: forestall.Act, Time: done.Add(-time.Hour), Component: forestall.GPU("n3", 1), Workload: "index", From: "n3", To: "n1",
				Price: forestall.Price{Saves: 90, Costs: 41}, Reasons: []string{"gpu/n3/1 suspect with probability 0.11"},
			},
			Phase: forestall.PhaseAborted, Attempt: 2, Note: "n1 has no 2 free GPUs", At: at(done.Add(-time.Hour), forestall.PhaseProposed, forestall.PhaseAborted),
		},
	}
}

func (f *fake) set(r forestall.Risk) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.risks[r.Component] = r
}

func (f *fake) Risks() []forestall.Risk {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []forestall.Risk
	for _, r := range f.risks {
		out = append(out, r)
	}
	return out
}

func (f *fake) Risk(c forestall.Component) (forestall.Risk, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := f.risks[c]
	return r, ok
}

func (f *fake) Status() Status              { return f.status }
func (f *fake) Members() []forestall.Member { return append([]forestall.Member(nil), f.members...) }
func (f *fake) Migrations() []forestall.Migration {
	return append([]forestall.Migration(nil), f.migrations...)
}

func (f *fake) Targets() []Target {
	return []Target{{Section: "features.target[0]", URL: "http://n1:9400/metrics", Error: "500"}}
}

func (f *fake) Incidents() []forestall.Incident {
	return append([]forestall.Incident(nil), f.incidents...)
}
func (f *fake) Workloads() []WorkloadStatus { return append([]WorkloadStatus(nil), f.workloads...) }

func (f *fake) Checkpoints(_ context.Context, workload string) ([]forestall.Checkpoint, error) {
	var out []forestall.Checkpoint
	known := workload == ""
	for _, w := range f.workloads {
		known = known || w.Name == workload
		if w.Head != nil && (workload == "" || w.Name == workload) {
			out = append(out, *w.Head)
		}
	}
	if !known {
		return nil, fmt.Errorf("workload %q: %w; GET /v1/workloads lists them", workload, ErrNotFound)
	}
	return out, nil
}

func (f *fake) Checkpoint(_ context.Context, id string) (CheckpointDetail, error) {
	for _, w := range f.workloads {
		if w.Head != nil && w.Head.ID == id {
			return CheckpointDetail{Checkpoint: *w.Head, States: []CheckpointState{{Name: "weights", Files: 2, Size: 48 << 20}}}, nil
		}
	}
	return CheckpointDetail{}, fmt.Errorf("checkpoint %.12s: %w", id, ErrNotFound)
}

func (f *fake) CheckpointOrders() []forestall.CheckpointOrder {
	return []forestall.CheckpointOrder{{Index: 7, Time: t0, Step: forestall.CheckpointDropped, ID: fmt.Sprintf("%064x", 1), Damage: "corrupt", By: "n1, asked for"}}
}

func (f *fake) Beat(c forestall.Component, errorRate, responseSeconds float64, metrics map[string]float64) error {
	if c.Name == "stranger" {
		return fmt.Errorf("%s: %w; declare it as [[workload]]", c, ErrNotFound)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.beats = append(f.beats, fmt.Sprintf("%s %v %v %v", c, errorRate, responseSeconds, metrics))
	return nil
}

func (f *fake) Inject(index int, mode string, over time.Duration) error {
	if mode != "thermal_runaway" {
		return fmt.Errorf("failure mode %q is not one of thermal_runaway, ecc_storm", mode)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.injected = append(f.injected, fmt.Sprintf("%d %s %v", index, mode, over))
	return nil
}

func (f *fake) Retire(ctx context.Context, name string) error {
	if name == "index" { // its cluster has no leader
		return fmt.Errorf("retire %s: %w", name, ErrUnavailable)
	}
	if _, err := f.Checkpoints(ctx, name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.retired = append(f.retired, name)
	return nil
}

// recorded is the one file that n1 of a fake has.
const recorded = "samples-gpu-20260131T120000.000Z.parquet"

func (f *fake) Recordings(context.Context, forestall.Kind, time.Time) ([]NodeRecording, error) {
	return []NodeRecording{{Node: "n1", Files: []RecordingFile{{recorded, 10}}}, {Node: "n2", Files: []RecordingFile{}, Error: "it does not answer"}}, nil
}

func (f *fake) Recording(_ context.Context, node, file string, offset, size int64) (io.ReadCloser, error) {
	switch {
	case node == "n2":
		return nil, fmt.Errorf("node n2 does not answer: %w", ErrUnavailable)
	case file != recorded:
		return nil, fmt.Errorf("node n1 has no %s: %w", file, ErrNotFound)
	}
	return io.NopCloser(io.NewSectionReader(strings.NewReader("0123456789"), offset, size)), nil
}

func (f *fake) Models() []ModelStatus {
	return []ModelStatus{{
		Kind: forestall.KindGPU, Name: "demo", Version: "demo-1", Horizon: 600,
		Thresholds: []AlarmThreshold{{Kind: forestall.KindGPU, Grade: forestall.Failing, At: Number(math.Inf(1)), Budget: 2, Reason: "nothing alarms: too many did"}},
		Recent:     PredictionScores{Matured: 1200, Brier: Number(0.004), Recall: Number(math.NaN())},
	}}
}

func (f *fake) CloseIncident(_ context.Context, c forestall.Component, _ string) error {
	if c != forestall.GPU("n1", 3) {
		return fmt.Errorf("%s has no open incident: %w", c, ErrNotFound)
	}
	return nil
}

func (f *fake) Observed() []forestall.Decision {
	wanted := func(id string, action forestall.Action, at time.Time) forestall.Decision {
		return forestall.Decision{
			ID: id, Action: action, Mode: forestall.Observe, Time: at, Component: forestall.GPU("n1", 3), Workload: "train-1", From: "n1",
			Price: forestall.Price{Saves: 3400, Costs: 210}, Reasons: []string{"gpu/n1/3 is failing: 87 % likely to fail within 10m, because temperature rises by 6.2 °C per minute, now 91 °C (+2.3)"},
		}
	}
	return []forestall.Decision{
		wanted("old", forestall.ActionCheckpoint, f.status.Started.Add(-time.Hour)), wanted("new", forestall.ActionMigrate, f.status.Started.Add(2*time.Hour)),
	}
}

func (f *fake) Interventions() []Intervention {
	did := func(id string, at time.Time) forestall.Intervention {
		return forestall.Intervention{Decision: id, Component: forestall.GPU("n1", 3), Action: forestall.ActionCheckpoint, Time: at}
	}
	return []Intervention{{Intervention: did("old", t0.Add(-time.Hour))}, {Intervention: did("new", t0), HeldOut: true}}
}

func (f *fake) Fleet() FleetStatus {
	return FleetStatus{
		Health: Number(0.9973), Horizon: 600, Components: 31, Known: 28, Failed: 1, Suspect: 1, Failing: 1, Trend: "worse", Why: "-0.4 points",
		Hours: []FleetHour{{t0.Add(-time.Hour), 0.999}}, Nodes: []forestall.Risk{failing(forestall.Node("n1"), t0)},
	}
}

func (f *fake) ModelEvents() []forestall.ModelEvent {
	return []forestall.ModelEvent{{Index: 7, Time: t0, Kind: forestall.KindGPU, Step: forestall.ModelProposed, Model: forestall.ModelRef{SHA256: "aa", Version: "m2"}, By: "n1"}}
}

func (f *fake) ProposeModel(_ context.Context, m ModelFiles) (forestall.ModelRef, error) {
	if m.Trees == "" {
		return forestall.ModelRef{}, fmt.Errorf("the trees are empty: %w", ErrInvalid)
	}
	return forestall.ModelRef{SHA256: "bb", Version: "m3"}, nil
}

func (f *fake) ChangeModel(_ context.Context, kind forestall.Kind, step forestall.ModelStep, _ ModelChange) error {
	if kind == forestall.KindNode {
		return fmt.Errorf("%s: there is no candidate: %w", step, ErrInvalid)
	}
	return nil
}

func (f *fake) backend() Backend {
	return Backend{Risks: f, Cluster: f, Workloads: f, Checkpoints: f, Heartbeats: f, Models: f, Recordings: f, Injector: f}
}
