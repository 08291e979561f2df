package forestall

import "time"

// Checkpoint describes an immutable, content-addressed snapshot of a
// workload's state. It exists once its manifest is durable on as many replicas
// as the consistency level asks for.
type Checkpoint struct {
	ID       string        `json:"id"`       // hex BLAKE3-256 of its manifest
	Workload string        `json:"workload"` //
	Epoch    Epoch         `json:"epoch"`    // the run that wrote it
	Sequence uint64        `json:"sequence"` // counts up within the workload, across epochs
	Time     time.Time     `json:"time"`     // the moment whose state it holds
	Label    string        `json:"label,omitempty"`
	Size     int64         `json:"size_bytes"`  // of the state it restores
	Added    int64         `json:"added_bytes"` // written to the store for it, compressed: chunks, tree, indexes, manifest
	Took     time.Duration `json:"took_ns"`     // from the request until it counted
	Pause    time.Duration `json:"pause_ns"`    // how long the workload stood still for it
	Replicas []string      `json:"replicas,omitempty"`
	Pinned   bool          `json:"pinned,omitempty"`  // retention and deletion leave it; as the store that was asked knows
	Imported time.Time     `json:"imported,omitzero"` // when a store took it from elsewhere as an import; zero: a run whose checkpoints it keeps took it
	LeftOut  LeftOut       `json:"left_out,omitzero"` // in lists without names
}

// LeftOut is what of a state directory no checkpoint can hold: sockets, pipes
// and devices.
type LeftOut struct {
	Count int      `json:"count"`
	First []string `json:"first,omitempty"` // the first few: "run/agent.sock (socket)"
}

// NewerThan reports whether c is a later state of the same workload than d:
// by epoch, then by sequence. One that was imported is older than any that was not:
// its epoch may be another cluster's.
func (c Checkpoint) NewerThan(d Checkpoint) bool {
	if c.Imported.IsZero() != d.Imported.IsZero() {
		return c.Imported.IsZero()
	}
	if c.Epoch != d.Epoch {
		return c.Epoch > d.Epoch
	}
	return c.Sequence > d.Sequence
}
