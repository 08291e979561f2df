package migrate

import "errors"

// What [Ledger.Apply] answers to a command that it refuses. A refused command
// changes nothing, and every replica refuses it alike.
var (
	ErrBadCommand       = errors.New("malformed command")
	ErrReplayed         = errors.New("log index already applied")
	ErrDuplicate        = errors.New("already applied") // the command took effect earlier: to whoever retries it, success
	ErrFull             = errors.New("ledger is full")
	ErrUnknownNode      = errors.New("unknown node")
	ErrUnknownWorkload  = errors.New("unknown workload")
	ErrUnknownMigration = errors.New("no such open migration")
	ErrUnknownIncident  = errors.New("no such open incident")
	ErrBusy             = errors.New("workload is busy with a migration")
	ErrRetired          = errors.New("workload is retired")
	ErrBudget           = errors.New("action budget is spent")
	ErrPhase            = errors.New("does not fit the phase")
	ErrTarget           = errors.New("unfit target")
	ErrCapacity         = errors.New("GPUs are not free")
	ErrNotRevoked       = errors.New("holder may still be leased")
	ErrModel            = errors.New("model step does not fit")
	ErrNeeded           = errors.New("must stay")
)

// ErrNoTarget is wrapped by [Choose] when no node can take a workload. The
// error names why each node was passed over.
var ErrNoTarget = errors.New("no node can take it")

// ErrWorkload is wrapped by an error of [Nodes].Start whose cause is the
// workload itself: its command is missing, its state directory can't be made.
// It isn't held against the node, and is the node's last word on the epoch.
var ErrWorkload = errors.New("workload cannot be started")
