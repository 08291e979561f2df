package workload

import (
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stratoswarm/forestall"
)

// Launch says what a shim starts.
type Launch struct {
	Workload forestall.Workload `json:"workload"` // StateDir must be set
	Epoch    forestall.Epoch    `json:"epoch"`    // granted by the ledger; each is started at most once
	Node     string             `json:"node"`     // empty: the supervisor's
	GPUs     []int              `json:"gpus"`     // indices in PCI bus order; the workload sees no others
	Deadline Deadline           `json:"deadline"` // of its lease

	// HeartbeatURL is where the workload may post heartbeats; empty: nowhere.
	HeartbeatURL string `json:"heartbeat_url,omitempty"`

	// Token marks the processes of this run in their environment, so that they
	// are found again when their shim is gone. Start makes it.
	Token string `json:"token"`
	// Boot is the kernel's boot ID, without which Deadline and process IDs mean
	// nothing. Start sets it.
	Boot string `json:"boot"`
}

func (l Launch) validate() error {
	name := l.Workload.Name
	if err := l.Workload.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrWorkload, err)
	}
	if l.Workload.StateDir == "" {
		return fmt.Errorf("workload %q: no state directory; the engine must choose one before the launch", name)
	}
	if l.Epoch == 0 || l.Epoch == math.MaxUint64 {
		return fmt.Errorf("workload %q: %d is not an epoch", name, l.Epoch)
	}
	for i, g := range l.GPUs {
		if g < 0 {
			return fmt.Errorf("workload %q: GPU %d at place %d is not an index", name, g, i)
		}
	}
	if h := l.Workload.Hook; h.Kind == forestall.HookSignal {
		if _, err := parseSignal(h.Signal); err != nil {
			return cannotStart(name, fmt.Errorf("hook: %w", err))
		}
	}
	return nil
}

// tokenVariable marks every process of a run.
const tokenVariable = "FORESTALL_RUN"

// environ returns the workload's environment: base, the workload's own
// variables, then Forestall's; a later value replaces an earlier one.
func (l Launch) environ(base []string) []string {
	indices := make([]string, len(l.GPUs))
	for i, g := range l.GPUs {
		indices[i] = strconv.Itoa(g)
	}
	gpus := strings.Join(indices, ",")
	env := append(append([]string{}, base...), l.Workload.Env...)
	env = append(
		env,
		"FORESTALL_WORKLOAD="+l.Workload.Name,
		"FORESTALL_EPOCH="+l.Epoch.String(),
		"FORESTALL_STATE_DIR="+l.Workload.StateDir,
		"FORESTALL_NODE="+l.Node,
		"FORESTALL_GPUS="+gpus,
		"FORESTALL_HEARTBEAT_URL="+l.HeartbeatURL,
		tokenVariable+"="+l.Token,
		// NVML and CUDA must mean the same GPU by an index.
		"CUDA_DEVICE_ORDER=PCI_BUS_ID",
		"CUDA_VISIBLE_DEVICES="+gpus,
	)
	return lastWins(env)
}

// lastWins drops every variable that a later one of the same name replaces.
func lastWins(env []string) []string {
	at := make(map[string]int, len(env))
	kept := env[:0:0]
	for _, kv := range env {
		key, _, ok := strings.Cut(kv, "=")
		if !ok {
			continue
		}
		if i, seen := at[key]; seen {
			kept[i] = kv
			continue
		}
		at[key] = len(kept)
		kept = append(kept, kv)
	}
	return kept
}

func lookupEnv(env []string, key string) string {
	for _, kv := range env {
		if value, ok := strings.CutPrefix(kv, key+"="); ok {
			return value
		}
	}
	return ""
}

// lookCommand returns the file that argv[0] names: as it is if absolute,
// relative to dir if it has a slash, else the first in PATH of env.
func lookCommand(name, dir string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if err := checkExecutable(path); err != nil {
			return "", fmt.Errorf("command %q: %w", name, err)
		}
		return path, nil
	}
	search := lookupEnv(env, "PATH")
	for _, d := range filepath.SplitList(search) {
		if !filepath.IsAbs(d) {
			continue // the shim's directory is nobody's place for programs
		}
		if path := filepath.Join(d, name); checkExecutable(path) == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("command %q: not found in PATH %q; install it there or give its absolute path", name, search)
}
