package forestall

import (
	"fmt"
	"slices"
	"time"
)

// Action is what can be done about a risk or a failure.
type Action string

// The actions, from the cheapest to the dearest. ActionStart is the first
// start of a workload, which takes the same way through the ledger.
const (
	ActionWatch      Action = "watch"
	ActionCheckpoint Action = "checkpoint"
	ActionWarm       Action = "warm"
	ActionMigrate    Action = "migrate"
	ActionDrain      Action = "drain"
	ActionRecover    Action = "recover"
	ActionStart      Action = "start"
)

// Mode says whether a decision is carried out or only written down.
type Mode string

// The modes of a predictive tier.
const (
	Observe Mode = "observe"
	Act     Mode = "act"
)

// UnmarshalText reads a mode.
func (m *Mode) UnmarshalText(b []byte) error {
	if s := Mode(b); slices.Contains([]Mode{Observe, Act}, s) {
		*m = s
		return nil
	}
	return fmt.Errorf("mode %q is not one of observe, act", b)
}

// Price is what an action is expected to be worth, in GPU-seconds.
type Price struct {
	Saves float64 `json:"saves_gpu_s"` // probability x work that the failure would destroy
	Costs float64 `json:"costs_gpu_s"` // pause, transfer and the capacity it occupies
}

// Net returns the expected gain.
func (p Price) Net() float64 { return p.Saves - p.Costs }

// Decision is what the policy wants done, and why.
type Decision struct {
	ID        string    `json:"id"` // unique; an action retried keeps it
	Action    Action    `json:"action"`
	Mode      Mode      `json:"mode"`
	Time      time.Time `json:"time"`
	Component Component `json:"component"` // the one at risk or failed
	Workload  string    `json:"workload,omitempty"`
	From      string    `json:"from,omitempty"` // node
	To        string    `json:"to,omitempty"`   // node; empty: the ledger's leader chooses
	Price     Price     `json:"price"`
	Reasons   []string  `json:"reasons"`            // in words, the weightiest first
	HeldOut   bool      `json:"held_out,omitempty"` // would act, and is left undone so that what follows can be seen
}

// Phase is how far a migration has come. Each is an entry in the ledger, so
// that a new leader goes on where the old one stopped.
type Phase string

// The phases, in their order. PhaseDone and PhaseAborted are final.
const (
	PhaseProposed Phase = "proposed" // agreed on, nothing done
	PhaseSaved    Phase = "saved"    // the final checkpoint counts, the source stands still
	PhaseGranted  Phase = "granted"  // the new epoch exists; there is no way back to the old one
	PhaseFenced   Phase = "fenced"   // a write quorum of replicas refuses the old epoch
	PhaseStopped  Phase = "stopped"  // the source is gone, confirmed or by its lease
	PhaseDone     Phase = "done"     // the target runs
	PhaseAborted  Phase = "aborted"  // given up before the grant; the source goes on
)

// Final reports whether nothing follows the phase.
func (p Phase) Final() bool { return p == PhaseDone || p == PhaseAborted }

// Migration is a decision on its way: a preemptive move, a recovery or a first
// start.
type Migration struct {
	Decision
	Phase      Phase               `json:"phase"`
	Epoch      Epoch               `json:"epoch,omitempty"`      // granted to the target
	Checkpoint string              `json:"checkpoint,omitempty"` // restored by the target
	GPUs       []int               `json:"gpus,omitempty"`       // on the target
	Attempt    int                 `json:"attempt"`              // counts grants, from 1
	At         map[Phase]time.Time `json:"at"`                   // when each phase was entered, by the leader's clock
	Pause      time.Duration       `json:"pause_ns"`             // the workload stood still, measured
	Note       string              `json:"note,omitempty"`       // why it was aborted or retried
}

// Member is a node of the cluster as the ledger and the membership see it.
type Member struct {
	Name     string        `json:"name"`
	Address  string        `json:"address"` // host:port of its peer listener
	API      string        `json:"api"`     // base URL of its API
	Zone     string        `json:"zone,omitempty"`
	GPUs     int           `json:"gpus"`
	Voter    bool          `json:"voter"`
	Leader   bool          `json:"leader"`
	State    MemberState   `json:"state"`
	LastSeen time.Duration `json:"last_seen_ns,omitempty"` // since the answering engine last had a word of it; 0: of itself, or never
}

// MemberState is what is known of a member. The zero value is MemberUnknown.
type MemberState string

// The states of a member.
const (
	MemberUnknown MemberState = ""
	MemberAlive   MemberState = "alive"
	MemberSuspect MemberState = "suspect"
	MemberFailed  MemberState = "failed" // a quorum of voters agrees
	MemberLeft    MemberState = "left"
)
