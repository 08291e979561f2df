package forestall

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// Epoch is the fencing token of one run of a workload: the log index of the
// entry that granted its start. A greater epoch is newer; zero is none. An
// epoch is started at most once. The checkpoint store and the launcher both
// refuse a stale one with [ErrStaleEpoch].
type Epoch uint64

// String returns the epoch in decimal.
func (e Epoch) String() string { return strconv.FormatUint(uint64(e), 10) }

// ErrStaleEpoch is wrapped by every refusal of an epoch that a newer one has
// overtaken.
var ErrStaleEpoch = errors.New("stale epoch")

// HookKind says how a workload is asked to make its state directory consistent.
type HookKind string

// The kinds of hook.
const (
	HookNone    HookKind = "none"    // the directory is crash-consistent at any moment
	HookSignal  HookKind = "signal"  // send Signal, wait until AckFile in the state directory changes
	HookHTTP    HookKind = "http"    // POST to URL; 2xx once the state is written
	HookCommand HookKind = "command" // run Command; exit 0 once the state is written
)

// Hook makes a workload write its state down. Before its last checkpoint on a
// node the workload is told that it is final and from its acknowledgement on
// must do no work that the checkpoint would not hold; see docs/workloads.md.
type Hook struct {
	Kind    HookKind      `json:"kind"`
	Signal  string        `json:"signal,omitempty"`   // "SIGUSR1" and so on
	AckFile string        `json:"ack_file,omitempty"` // relative to the state directory
	URL     string        `json:"url,omitempty"`      // http://... or unix:PATH, PATH relative to the state directory
	Command []string      `json:"command,omitempty"`
	Timeout time.Duration `json:"timeout"`
}

// Needs is what a workload must find on the node it runs on.
type Needs struct {
	GPUs        int      `json:"gpus"`
	MemoryBytes int64    `json:"memory_bytes,omitempty"`
	Nodes       []string `json:"nodes,omitempty"` // if not empty, only these
}

// Compression says how a workload's checkpoints are compressed.
type Compression string

// The compressions, which trade time for room; "" is the store's. What does not
// shrink is stored raw with any.
const (
	CompressionNone    Compression = "none"
	CompressionFastest Compression = "fastest"
	CompressionDefault Compression = "default" // zstd's level 3
	CompressionBetter  Compression = "better"
	CompressionBest    Compression = "best"
)

// Compressions lists them, the fastest first.
var Compressions = []Compression{CompressionNone, CompressionFastest, CompressionDefault, CompressionBetter, CompressionBest}

// Workload is an agent or service that Forestall keeps alive.
type Workload struct {
	Name     string        `json:"name"`
	Kind     Kind          `json:"kind"`          // KindAgent or KindService
	Command  []string      `json:"command"`       // argv; the first is looked up in PATH
	Env      []string      `json:"env,omitempty"` // KEY=VALUE, added to the engine's
	StateDir string        `json:"state_dir"`     // absolute; empty: in each engine's data directory
	Hook     Hook          `json:"hook"`          // how its state becomes consistent
	Needs    Needs         `json:"needs"`         //
	Interval time.Duration `json:"interval"`      // between automatic checkpoints; 0: the engine's
	Stop     time.Duration `json:"stop"`          // between SIGTERM and SIGKILL
	LossCost float64       `json:"loss_cost"`     // GPU-seconds lost per second of lost work; 0: Needs.GPUs, at least 1

	Compression Compression `json:"compression,omitempty"` // of its checkpoints; empty: the store's
}

// Component returns the agent or service that the workload is.
func (w Workload) Component() Component { return Component{w.Kind, w.Name} }

// CostPerSecond returns what a second of the workload's lost work or pause is
// worth, in GPU-seconds.
func (w Workload) CostPerSecond() float64 {
	switch {
	case w.LossCost > 0:
		return w.LossCost
	case w.Needs.GPUs > 0:
		return float64(w.Needs.GPUs)
	}
	return 1
}

// Validate reports the first field that cannot work, by its name in the
// configuration, with the accepted values.
func (w Workload) Validate() error {
	if err := CheckName(w.Name); err != nil {
		return fmt.Errorf("workload name: %w", err)
	}
	bad := func(field, format string, args ...any) error {
		return fmt.Errorf("workload %q: %s: %s", w.Name, field, fmt.Sprintf(format, args...))
	}
	switch {
	case w.Kind != KindAgent && w.Kind != KindService:
		return bad("kind", "%q is not one of agent, service", w.Kind)
	case len(w.Command) == 0 || w.Command[0] == "":
		return bad("command", "is empty; give the program and its arguments as a list")
	case w.StateDir != "" && (!filepath.IsAbs(w.StateDir) || filepath.Clean(w.StateDir) == "/"):
		return bad("state_dir", "%q must be an absolute path other than /, or empty for one in the engine's data directory", w.StateDir)
	case w.Needs.GPUs < 0:
		return bad("gpus", "%d is negative", w.Needs.GPUs)
	case w.Needs.MemoryBytes < 0:
		return bad("memory", "%d is negative", w.Needs.MemoryBytes)
	case w.Interval < 0 || w.Stop < 0 || w.LossCost < 0:
		return bad("checkpoint_interval, stop_timeout, loss_cost", "none may be negative")
	case w.Compression != "" && !slices.Contains(Compressions, w.Compression):
		return bad("compression", "%q is not one of none, fastest, default, better, best; without it checkpoint.compression_level holds", w.Compression)
	}
	h := w.Hook
	switch h.Kind {
	case HookNone:
	case HookSignal:
		if h.Signal == "" || h.AckFile == "" || !filepath.IsLocal(h.AckFile) {
			return bad("hook", "a signal hook needs signal and ack_file, a path inside the state directory")
		}
	case HookHTTP:
		if h.URL == "" {
			return bad("hook", "an http hook needs url")
		}
	case HookCommand:
		if len(h.Command) == 0 {
			return bad("hook", "a command hook needs command")
		}
	default:
		return bad("hook", "kind %q is not one of none, signal, http, command", h.Kind)
	}
	if h.Kind != HookNone && h.Timeout <= 0 {
		return bad("hook", "timeout must be positive")
	}
	return nil
}

// Exit is how a workload's process ended.
type Exit struct {
	Epoch    Epoch          `json:"epoch"`
	Time     time.Time      `json:"time"`
	Code     int            `json:"code"`             // exit status; -1 when killed by a signal
	Signal   syscall.Signal `json:"signal,omitempty"` // the signal that killed it
	Expected bool           `json:"expected"`         // Forestall stopped it
	Reason   string         `json:"reason,omitempty"` // why it was stopped: "stop requested", "lease expired"
}
