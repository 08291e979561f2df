package migrate

import (
	"context"

	"github.com/stratoswarm/forestall"
)

// Nodes is what the executor asks of the cluster's nodes. Every call is
// idempotent for its epoch, may be repeated, may arrive late, and may have
// taken effect although it returned an error. Calls for different workloads
// come concurrently.
type Nodes interface {
	// Save takes the final checkpoint of a run: hook, freeze, snapshot, push
	// to a write quorum. It leaves the workload frozen. The checkpoint's Pause
	// is how long it stood still by then. A repeated Save for the same
	// migration returns the same checkpoint.
	Save(ctx context.Context, node, workload string, epoch forestall.Epoch, migration string) (forestall.Checkpoint, error)
	// Resume lets a run go on that a Save for this migration may have frozen.
	// From then on a Save for the migration is refused, and one under way is
	// undone. A run frozen for another migration is left alone.
	Resume(ctx context.Context, node, workload string, epoch forestall.Epoch, migration string) error
	// Fence makes a write quorum of the workload's replicas refuse checkpoints
	// of epochs below this one, durably. acks names those that confirmed.
	Fence(ctx context.Context, workload string, epoch forestall.Epoch) (acks []string, err error)
	// Stop returns nil once no run of an epoch up to upTo is alive on the node
	// or can be started there any more.
	Stop(ctx context.Context, node, workload string, upTo forestall.Epoch, reason string) error
	// Start starts a run from its checkpoint and returns nil once it is alive.
	// The node first asks the leader for a lease of exactly this epoch and
	// checks that a quorum of replicas is fenced at it. An error that wraps
	// forestall.ErrStaleEpoch or ErrWorkload says that this epoch can never
	// start there; after any other one it is asked for again.
	Start(ctx context.Context, node string, o StartOrder) error
}

// StartOrder says which run a node is to start.
type StartOrder struct {
	Workload   forestall.Workload `json:"workload"`
	Epoch      forestall.Epoch    `json:"epoch"`
	GPUs       []int              `json:"gpus,omitempty"`
	Checkpoint string             `json:"checkpoint,omitempty"` // ID; empty: it begins with nothing
	Replicas   []string           `json:"replicas,omitempty"`   // nodes that hold the checkpoint
}

// ProposeFunc puts an encoded command through consensus and returns what
// [Ledger.Apply] answered as value. An error says that it was not, or not
// known to be, applied.
type ProposeFunc func(ctx context.Context, cmd []byte) (index uint64, value any, err error)
