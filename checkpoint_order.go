package forestall

import "time"

// CheckpointStep is what an operator had done with a checkpoint.
type CheckpointStep string

// The steps.
const (
	CheckpointDropped  CheckpointStep = "dropped"
	CheckpointPinned   CheckpointStep = "pinned" // retention leaves it, on every node that keeps it
	CheckpointUnpinned CheckpointStep = "unpinned"
)

// CheckpointOrder is an operator's order about a checkpoint that the cluster
// agreed on. Of a checkpoint whose manifest is damaged no more than its ID may be
// known.
type CheckpointOrder struct {
	Index    uint64         `json:"index"` // of the log's entry
	Time     time.Time      `json:"time"`
	Step     CheckpointStep `json:"step"`
	ID       string         `json:"id"`
	Workload string         `json:"workload,omitempty"`
	Epoch    Epoch          `json:"epoch,omitempty"`
	Sequence uint64         `json:"sequence,omitempty"`
	Damage   string         `json:"damage,omitempty"` // why it could not be read
	By       string         `json:"by"`               // node, and that an operator asked for it
}
