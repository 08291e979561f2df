package forestall

import "time"

// FailureKind names what has failed.
type FailureKind string

// The kinds of failure that detection reports.
const (
	NodeCrash        FailureKind = "node_crash"
	AgentFailure     FailureKind = "agent_failure"
	ServiceFailure   FailureKind = "service_failure"
	GPUFailure       FailureKind = "gpu_failure"
	NetworkPartition FailureKind = "network_partition"
)

// Failure is a component that has failed, as opposed to one that is suspected
// to or cannot be observed.
type Failure struct {
	Component Component   `json:"component"`
	Kind      FailureKind `json:"kind"`
	Time      time.Time   `json:"time"`                // when it was established
	LastSeen  time.Time   `json:"last_seen,omitzero"`  // last sign of life; zero if there was none
	Evidence  []string    `json:"evidence,omitempty"`  // in words, one fact each
	Observers []string    `json:"observers,omitempty"` // nodes that saw it
}

// Incident is a failure seen from history. A zero End means it lasts.
type Incident struct {
	Component Component   `json:"component"`
	Kind      FailureKind `json:"kind"`
	Start     time.Time   `json:"start"` // when it failed, by the clock that its telemetry is stamped with; of a crashed node its last sign of life
	End       time.Time   `json:"end,omitzero"`
	Agreed    time.Time   `json:"agreed,omitzero"` // when the cluster wrote it down, by the leader's clock; zero: it didn't tell
	Evidence  []string    `json:"evidence,omitempty"`
	Closed    string      `json:"closed,omitempty"` // by whom and why, where more than that the node is back or the workload recovered ended it
}

// Intervention is something Forestall did about a component. Rows of telemetry
// that an intervention followed cannot be labelled without care.
type Intervention struct {
	Decision  string    `json:"decision"` // Decision.ID
	Component Component `json:"component"`
	Action    Action    `json:"action"`
	Time      time.Time `json:"time"`
}

// Outcome is what an intervention turned out to be worth.
type Outcome struct {
	Decision   string    `json:"decision"`
	Time       time.Time `json:"time"`        // when it was settled
	Failed     bool      `json:"failed"`      // the component did fail within the horizon
	SavedGPUs  float64   `json:"saved_gpu_s"` // GPU-seconds of work that would have been lost
	SpentGPUs  float64   `json:"spent_gpu_s"` // GPU-seconds that the action cost
	LeadTimeS  float64   `json:"lead_time_s"` // from the decision to the failure; 0 if none came
	Commentary string    `json:"commentary,omitempty"`
}
