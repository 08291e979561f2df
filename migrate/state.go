package migrate

import (
	"maps"
	"slices"
	"time"

	"github.com/stratoswarm/forestall"
)

// Node is a machine that can hold workloads.
type Node struct {
	Name        string                `json:"name"`
	Address     string                `json:"address"`        // host:port of its peer listener
	API         string                `json:"api,omitempty"`  // base URL of its API
	Zone        string                `json:"zone,omitempty"` // failure domain; empty: unknown
	GPUs        int                   `json:"gpus"`           // how many it has, indexed from 0
	MemoryBytes int64                 `json:"memory_bytes,omitempty"`
	GPUModel    string                `json:"gpu_model,omitempty"`  // empty: not told
	GPUDriver   string                `json:"gpu_driver,omitempty"` // empty: not told
	State       forestall.MemberState `json:"state"`                // alive, failed or left
	Since       time.Time             `json:"since"`                // of State, by the leader's clock
}

// Holder is a run that was granted and is not known to be over. Its GPUs are
// taken until it is.
type Holder struct {
	Node    string          `json:"node"`
	Epoch   forestall.Epoch `json:"epoch"`
	GPUs    []int           `json:"gpus,omitempty"`
	Revoked bool            `json:"revoked,omitempty"` // never leased again; never unset
}

// WorkloadState is what the ledger knows of a workload.
type WorkloadState struct {
	Spec      forestall.Workload    `json:"spec"`
	Retired   bool                  `json:"retired,omitempty"`   // not wanted any more
	Completed bool                  `json:"completed,omitempty"` // ended by itself, successfully
	Node      string                `json:"node,omitempty"`      // of the newest grant
	Epoch     forestall.Epoch       `json:"epoch,omitempty"`     // of the newest grant; 0: never granted
	GPUs      []int                 `json:"gpus,omitempty"`      // of the newest grant
	Running   bool                  `json:"running,omitempty"`   // the newest grant was confirmed and is not known to be over
	Started   time.Time             `json:"started,omitzero"`    // when it was confirmed
	Holders   []Holder              `json:"holders,omitempty"`   // by epoch, the newest last
	Head      *forestall.Checkpoint `json:"head,omitempty"`      // the newest checkpoint
	Migration string                `json:"migration,omitempty"` // ID of the open one
	Thaw      string                `json:"thaw,omitempty"`      // aborted migration whose source may still stand still
	Moves     uint64                `json:"moves,omitempty"`     // migrations ever accepted
	Runs      int                   `json:"runs,omitempty"`      // ever confirmed by a Done
	Restarts  int                   `json:"restarts,omitempty"`  // those of them that a recovery brought; the first run is none
	Tries     int                   `json:"tries,omitempty"`     // starts, own failures and givings up since it last ran for StableAfter
	Tried     time.Time             `json:"tried,omitzero"`      // the last of them
	GaveUp    string                `json:"gave_up,omitempty"`   // why the last recovery was given up
}

// Holder returns the newest holder that may be leased, or false: a run exists
// and neither a later grant, nor giving up, nor retiring has revoked it.
func (w *WorkloadState) Holder() (Holder, bool) {
	if n := len(w.Holders); n > 0 && !w.Holders[n-1].Revoked {
		return w.Holders[n-1], true
	}
	return Holder{}, false
}

// halt records that the workload doesn't run. A run that was stable clears the
// failed attempts before it.
func (w *WorkloadState) halt(now time.Time) {
	if w.Stable(now) {
		w.Tries = 0
	}
	w.Running = false
}

// Stable reports whether the workload has run for StableAfter.
func (w *WorkloadState) Stable(now time.Time) bool {
	return w.Running && now.Sub(w.Started) >= StableAfter
}

func (w *WorkloadState) revokeAll() {
	for i := range w.Holders {
		w.Holders[i].Revoked = true
	}
}

// Incident is a failure in the ledger. Epoch is the run of the workload that
// it struck, 0 for nodes and GPUs.
type Incident struct {
	forestall.Incident
	Epoch forestall.Epoch `json:"epoch,omitempty"`
}

// Budget bounds the preemptive actions of the whole cluster, so that a model
// gone wrong cannot move everything. First starts and recoveries are exempt.
type Budget struct {
	Concurrent int           `json:"concurrent"` // open at once
	PerWindow  int           `json:"per_window"` // begun within Window
	Window     time.Duration `json:"window_ns"`
}

// DefaultBudget is what a new ledger begins with.
func DefaultBudget() Budget { return Budget{Concurrent: 2, PerWindow: 20, Window: time.Hour} }

// StableAfter is how long a workload must have run for its failed attempts to
// be forgotten.
const StableAfter = time.Minute

// What the ledger can hold; of the past, see history.go.
const (
	maxNodes         = 10_000
	maxWorkloads     = 100_000
	maxOpenIncidents = 100_000
	maxRecent        = 2_000 // command IDs
	maxEvidence      = 10    // per incident
)

// State is everything the ledger holds. It is plain data: a function of the
// commands applied, in the JSON of docs/format/ledger.md.
type State struct {
	Index         uint64                                   `json:"index"` // of the last command applied
	Time          time.Time                                `json:"time"`  // of that command, by the leader's clock
	Budget        Budget                                   `json:"budget"`
	Nodes         map[string]*Node                         `json:"nodes"`
	Workloads     map[string]*WorkloadState                `json:"workloads"`
	Open          map[string]*forestall.Migration          `json:"open"`   // migrations by ID
	Closed        []forestall.Migration                    `json:"closed"` // bounded, the oldest first
	Incidents     map[string]Incident                      `json:"incidents"`
	Past          []Incident                               `json:"past"` // closed incidents, bounded
	Interventions []forestall.Intervention                 `json:"interventions"`
	Outcomes      []forestall.Outcome                      `json:"outcomes"`
	HeldOut       []forestall.Intervention                 `json:"held_out,omitempty"`     // decisions left undone, bounded
	Observed      []forestall.Decision                     `json:"observed,omitempty"`     // decisions that mode observe left at that, bounded
	Models        map[forestall.Kind]*forestall.ModelRoles `json:"models,omitempty"`       // by the kind that they judge; none: as configured
	ModelEvents   []forestall.ModelEvent                   `json:"model_events,omitempty"` // bounded, the oldest first

	Pins             map[string]forestall.CheckpointOrder `json:"pins,omitempty"`              // by the checkpoint's ID
	CheckpointOrders []forestall.CheckpointOrder          `json:"checkpoint_orders,omitempty"` // bounded, the oldest first

	Spent  []time.Time `json:"spent"`  // preemptive actions within the budget's window
	Recent []string    `json:"recent"` // IDs of commands that took effect

	Begun     time.Time            `json:"begun,omitzero"`      // of the first command; zero: a ledger from before this was kept
	Forgotten map[string]time.Time `json:"forgotten,omitempty"` // when the newest of its kind that made room was over; see KnownSince

	recent map[string]struct{} // Recent as a set
}

func newState() *State {
	return &State{
		Budget:    DefaultBudget(),
		Nodes:     map[string]*Node{},
		Workloads: map[string]*WorkloadState{},
		Open:      map[string]*forestall.Migration{},
		Incidents: map[string]Incident{},
		recent:    map[string]struct{}{},
	}
}

// NodeNames returns the nodes' names in order.
func (s *State) NodeNames() []string { return slices.Sorted(maps.Keys(s.Nodes)) }

// WorkloadNames returns the workloads' names in order.
func (s *State) WorkloadNames() []string { return slices.Sorted(maps.Keys(s.Workloads)) }

// Alive reports whether the node is known and neither failed nor left.
func (s *State) Alive(node string) bool {
	n := s.Nodes[node]
	return n != nil && n.State == forestall.MemberAlive
}

// Failed reports whether a quorum agreed that the node failed.
func (s *State) Failed(node string) bool {
	n := s.Nodes[node]
	return n != nil && n.State == forestall.MemberFailed
}

// Workload returns the workload that an agent or service component is, or nil.
func (s *State) Workload(c forestall.Component) *WorkloadState {
	if w := s.Workloads[c.Name]; w != nil && w.Spec.Kind == c.Kind {
		return w
	}
	return nil
}

// ModelRoles returns which models of a kind have which part.
func (s *State) ModelRoles(kind forestall.Kind) forestall.ModelRoles {
	if r := s.Models[kind]; r != nil {
		return cloneRoles(*r)
	}
	return forestall.ModelRoles{}
}

// Migration returns an open or remembered migration.
func (s *State) Migration(id string) (forestall.Migration, bool) {
	if m := s.Open[id]; m != nil {
		return cloneMigration(*m), true
	}
	for _, m := range s.Closed {
		if m.ID == id {
			return cloneMigration(m), true
		}
	}
	return forestall.Migration{}, false
}

// Migrations returns all that are open or remembered, the newest first. It
// copies and sorts every one of them: it is for lists, not for asking about a
// single workload, whose counts are in its WorkloadState.
func (s *State) Migrations() []forestall.Migration {
	all := make([]forestall.Migration, 0, len(s.Open)+len(s.Closed))
	for _, id := range slices.Sorted(maps.Keys(s.Open)) {
		all = append(all, cloneMigration(*s.Open[id]))
	}
	for _, m := range s.Closed {
		all = append(all, cloneMigration(m))
	}
	slices.SortStableFunc(all, func(a, b forestall.Migration) int { return b.Time.Compare(a.Time) })
	return all
}

// AllIncidents returns the open and the remembered incidents, the newest first.
func (s *State) AllIncidents() []forestall.Incident {
	all := make([]forestall.Incident, 0, len(s.Incidents)+len(s.Past))
	for _, key := range slices.Sorted(maps.Keys(s.Incidents)) {
		all = append(all, s.Incidents[key].Incident)
	}
	for _, i := range s.Past {
		all = append(all, i.Incident)
	}
	slices.SortStableFunc(all, func(a, b forestall.Incident) int { return b.Start.Compare(a.Start) })
	return all
}

// Incident returns an open incident of the component.
func (s *State) Incident(c forestall.Component) (Incident, bool) {
	for _, kind := range failureKinds {
		if i, ok := s.Incidents[incidentKey(c, kind)]; ok {
			return i, true
		}
	}
	return Incident{}, false
}

var failureKinds = []forestall.FailureKind{
	forestall.NodeCrash, forestall.GPUFailure, forestall.AgentFailure, forestall.ServiceFailure, forestall.NetworkPartition,
}

func incidentKey(c forestall.Component, kind forestall.FailureKind) string {
	return c.String() + " " + string(kind)
}

// TakenGPUs returns which GPUs of a node are held, by index, and by which
// workload; the holders of the workload named except don't count.
func (s *State) TakenGPUs(node, except string) map[int]string {
	taken := map[int]string{}
	for name, w := range s.Workloads {
		if name == except {
			continue
		}
		for _, h := range w.Holders {
			if h.Node != node {
				continue
			}
			for _, g := range h.GPUs {
				taken[g] = name
			}
		}
	}
	return taken
}
