package api

import (
	"context"
	"errors"
	"time"

	"github.com/stratoswarm/forestall"
)

var (
	// ErrNotFound is wrapped by a backend's error about something it does not
	// know; the API answers 404 with the error's text.
	ErrNotFound = errors.New("not found")

	// ErrInvalid is wrapped by a backend's error about what it was asked; the
	// API answers 422 with the error's text.
	ErrInvalid = errors.New("invalid request")

	// ErrUnavailable is wrapped by a backend's error about something that it
	// cannot answer at the moment, as without a leader; the API answers 503.
	ErrUnavailable = errors.New("not available now")
)

// Backend is what a Server asks. Every method may be called by many goroutines
// at once and must return without waiting for the network, except those that
// take a context. Returned slices are the caller's to change; what they point
// to is not, and must not change after.
type Backend struct {
	Risks       Risks
	Cluster     Cluster
	Workloads   Workloads
	Checkpoints Checkpoints
	Keeper      Keeper // nil: checkpoints are neither taken nor dropped by request
	Heartbeats  Heartbeats
	Models      Models
	Recordings  Recordings
	Injector    Injector // nil: GPUs are not simulated, /v1/sim/inject does not exist
}

// Risks knows the risk of components: those of the engine's own node and those
// that it heard of from the others.
type Risks interface {
	// Risks returns one risk per component, in any order.
	Risks() []forestall.Risk
	// Risk returns the risk of one component, false if it is not known.
	Risk(c forestall.Component) (forestall.Risk, bool)
	// Fleet returns how all of them stand together.
	Fleet() FleetStatus
}

// Cluster knows the cluster as the engine's replica of the ledger has it.
type Cluster interface {
	Status() Status
	Members() []forestall.Member
	Migrations() []forestall.Migration
	Incidents() []forestall.Incident
	Interventions() []Intervention
	Observed() []forestall.Decision // that mode observe left at that
	// Targets returns the pages that this engine scrapes.
	Targets() []Target
	// CloseIncident ends the open incident of a GPU that an operator knows to work
	// again. One without is ErrNotFound, a cluster that does not agree in time
	// ErrUnavailable.
	CloseIncident(ctx context.Context, c forestall.Component, reason string) error
	Workloads() []WorkloadStatus
}

// Workloads changes what is wanted of workloads.
type Workloads interface {
	// Retire makes a workload unwanted: its run is stopped and nothing starts
	// it again. It returns once that is agreed on, before the run has ended,
	// and may be repeated. An unknown workload is ErrNotFound, a cluster that
	// does not agree in time ErrUnavailable.
	Retire(ctx context.Context, name string) error
}

// Checkpoints lists and describes checkpoints.
type Checkpoints interface {
	// Checkpoints returns what is known on this node of the checkpoints of a
	// workload, of all if the name is empty, in any order: those that the node
	// itself holds, and the newest that counts, wherever it is held. An unknown
	// workload is ErrNotFound.
	Checkpoints(ctx context.Context, workload string) ([]forestall.Checkpoint, error)
	// Checkpoint returns a checkpoint and the states in it, as this node holds it
	// or, if it does not, a live node that does. Otherwise it is ErrNotFound.
	Checkpoint(ctx context.Context, id string) (CheckpointDetail, error)
	// CheckpointOrders returns what operators have had dropped, pinned and
	// unpinned, the newest first, as far as the ledger remembers.
	CheckpointOrders() []forestall.CheckpointOrder
}

// Heartbeats takes signs of life of agents and services.
type Heartbeats interface {
	// Beat records a heartbeat. errorRate is a share in [0,1], responseSeconds
	// the time that the component takes to answer; NaN is "not reported". An
	// unknown component is ErrNotFound.
	Beat(c forestall.Component, errorRate, responseSeconds float64, metrics map[string]float64) error
}

// Models knows the models that judge components.
type Models interface {
	// Models returns the model of each kind that the engine runs, by kind.
	Models() []ModelStatus
	// ModelEvents returns the steps in the lives of models that the cluster
	// agreed on, in any order.
	ModelEvents() []forestall.ModelEvent
	// ProposeModel checks and keeps a model and has its proposal agreed on. A
	// model that cannot judge here, or that does not fit the ledger, is ErrInvalid.
	ProposeModel(ctx context.Context, m ModelFiles) (forestall.ModelRef, error)
	// ChangeModel has a promotion, a rejection or a rollback agreed on. One that
	// does not fit the ledger is ErrInvalid.
	ChangeModel(ctx context.Context, kind forestall.Kind, step forestall.ModelStep, change ModelChange) error
}

// Injector makes a simulated GPU fail.
type Injector interface {
	// Inject lets the failure mode take hold of the GPU with that index on
	// this node within over; an error says what is wrong with the request.
	Inject(index int, mode string, over time.Duration) error
}
