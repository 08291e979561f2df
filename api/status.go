package api

import (
	"time"

	"github.com/stratoswarm/forestall"
)

// Status is one engine's view of itself and its cluster.
type Status struct {
	Node                 string                    `json:"node" doc:"the engine that answers"`
	Version              string                    `json:"version"`
	Time                 time.Time                 `json:"time" doc:"the engine's clock"`
	Started              time.Time                 `json:"started"`
	Leader               string                    `json:"leader" doc:"node that leads; empty if none is known"`
	Quorum               bool                      `json:"quorum" doc:"this engine can get an entry agreed on"`
	Voters               int                       `json:"voters"`
	Members              int                       `json:"members"`
	Profile              string                    `json:"profile,omitempty" doc:"timing of the failure detection" example:"standard"`
	Mode                 map[string]forestall.Mode `json:"mode" doc:"predictive tier to observe or act"`
	Components           int                       `json:"components" doc:"components with a risk, known or not"`
	Unknown              int                       `json:"unknown" doc:"those among them that could not be judged"`
	Workloads            int                       `json:"workloads" doc:"declared and not retired or done"`
	NotRunning           int                       `json:"not_running" doc:"those among them that do not run: failed, starting or moving"`
	OpenIncidents        int                       `json:"open_incidents"`
	ReplicationFactor    int                       `json:"replication_factor" doc:"replicas asked for"`
	EffectiveReplication int                       `json:"effective_replication" doc:"replicas that a checkpoint gets now"`
	Fleet                FleetShort                `json:"fleet" doc:"is the fleet good?"`
	KnownSince           map[string]time.Time      `json:"known_since,omitempty" doc:"from when on the ledger holds every failure of a kind, move, intervention and held-out decision; earlier ones may be missing"`
	Thresholds           []AlarmThreshold          `json:"thresholds,omitempty" doc:"probabilities from which components of this node are suspect and failing, and why"`
	Notes                []string                  `json:"notes,omitempty" doc:"what an operator should know, in words"`
}

// Target is an exposition page that an engine scrapes, or a list that names some.
type Target struct {
	Section    string    `json:"section" doc:"of the configuration" example:"features.target[0]"`
	URL        string    `json:"url" doc:"of a list in files: their patterns"`
	List       bool      `json:"list,omitempty" doc:"it is no page but what file_sd or http_sd asks"`
	Targets    int       `json:"targets,omitempty" doc:"that a list named"`
	Preset     string    `json:"preset,omitempty" doc:"which series are which metrics"`
	Up         bool      `json:"up" doc:"the last reading was good"`
	Read       time.Time `json:"read,omitzero" doc:"the last reading of which something was taken; absent: none since the engine started"`
	Tried      time.Time `json:"tried,omitzero" doc:"the last reading"`
	Components int       `json:"components" doc:"that were taken of that reading"`
	Error      string    `json:"error,omitempty" doc:"of the last reading; where read is tried, only a part of it was taken"`
}

// InPart reports whether only a part of the last reading was taken: of others of its
// components another source tells, or some of its values are none.
func (t Target) InPart() bool { return t.Error != "" && !t.Read.IsZero() && t.Read.Equal(t.Tried) }

// FleetShort is a [FleetStatus] in one line.
type FleetShort struct {
	Health   *float64 `json:"health" doc:"share of the components that is expected to work through the horizon; null: nothing is known"`
	Expected *float64 `json:"expected_failures" doc:"within the horizon"`
	Horizon  float64  `json:"horizon_seconds"`
	Failed   int      `json:"failed"`
	Trend    string   `json:"trend" enum:"unknown,steady,better,worse"`
}

// CanAgree reports whether the cluster can decide anything: it has a leader
// and this engine is on the side of a quorum.
func (s Status) CanAgree() bool { return s.Quorum && s.Leader != "" }

// UnderReplicated reports whether checkpoints get fewer replicas than asked for.
func (s Status) UnderReplicated() bool { return s.EffectiveReplication < s.ReplicationFactor }

// WorkloadState is what a workload does at the moment.
type WorkloadState string

// The states of a workload.
const (
	StateStarting WorkloadState = "starting"
	StateRunning  WorkloadState = "running"
	StateFrozen   WorkloadState = "frozen" // stands still for its last checkpoint, or its lease ran out
	StateMoving   WorkloadState = "moving" // granted to another node and not yet running there
	StateStopped  WorkloadState = "stopped"
	StateFailed   WorkloadState = "failed" // ended, and no start is under way
)

// WorkloadStatus is a workload as the cluster runs it.
type WorkloadStatus struct {
	Name     string                `json:"name"`
	Kind     forestall.Kind        `json:"kind" enum:"agent,service"`
	Node     string                `json:"node" doc:"where it runs or last ran; empty before its first start"`
	Epoch    forestall.Epoch       `json:"epoch" doc:"fencing token of its newest run"`
	State    WorkloadState         `json:"state" enum:"starting,running,frozen,moving,stopped,failed"`
	Since    time.Time             `json:"since,omitzero" doc:"when it entered the state"`
	GPUs     []int                 `json:"gpus,omitempty" doc:"indices on its node"`
	PID      int                   `json:"pid,omitempty" doc:"of its process, known on its own node only"`
	Restarts int                   `json:"restarts" doc:"recoveries after the first run"`
	Head     *forestall.Checkpoint `json:"head,omitempty" doc:"newest checkpoint that counts"`
	Risk     forestall.Risk        `json:"risk" doc:"that the workload loses its place: its GPUs, its node, itself"`
	Note     string                `json:"note,omitempty" doc:"why it is not running"`
}
