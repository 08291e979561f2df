package workload

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/stratoswarm/forestall"
)

// Refusals, wrapped with the workload and the remedy. A refusal of an epoch
// that was overtaken or already used wraps [forestall.ErrStaleEpoch].
var (
	// ErrExpired means that the lease's deadline has been reached.
	ErrExpired = errors.New("lease expired")
	// ErrNotRunning means that no such run is alive on this node.
	ErrNotRunning = errors.New("not running")
	// ErrRunning means that another epoch of the workload is still alive.
	ErrRunning = errors.New("still running")
	// ErrFrozen means that a stopped workload was asked to do something.
	ErrFrozen = errors.New("frozen")
	// ErrWorkload means that the cause is the workload's own, so that another
	// node would fare no better: its command is not found, not executable or
	// can't be executed, its state directory can't be made or entered, its
	// definition is invalid. What the node lacks, such as processes, memory,
	// files or space on a disk, is not of this kind.
	ErrWorkload = errors.New("cannot start")
	// ErrExited means that the workload ended while it was asked to do something.
	ErrExited = errors.New("exited")
	// ErrClosed means that the supervisor's Run has ended.
	ErrClosed = errors.New("supervisor closed")
)

// codes carries the sentinels across the shim's socket.
var codes = map[string]error{
	"stale_epoch": forestall.ErrStaleEpoch,
	"expired":     ErrExpired,
	"not_running": ErrNotRunning,
	"frozen":      ErrFrozen,
	"exited":      ErrExited,
	"workload":    ErrWorkload,
}

// nodeErrors are a node's, whatever was tried on it.
var nodeErrors = []syscall.Errno{
	syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE,
	syscall.ENOSPC, syscall.EDQUOT, syscall.EIO, syscall.EROFS,
}

// cannotStart says why a workload can't start, by [ErrWorkload] unless it is
// the node that can't do it.
func cannotStart(workload string, err error) error {
	if slices.ContainsFunc(nodeErrors, func(e syscall.Errno) bool { return errors.Is(err, e) }) {
		return fmt.Errorf("workload %q: %w", workload, err)
	}
	return fmt.Errorf("workload %q %w: %w", workload, ErrWorkload, err)
}

// wireError is an error on its way from a shim to its supervisor.
type wireError struct {
	Code    string `json:"code,omitempty"`
	Message string `json:"error"`
}

func newWireError(err error) *wireError {
	for code, sentinel := range codes {
		if errors.Is(err, sentinel) {
			return &wireError{code, err.Error()}
		}
	}
	return &wireError{Message: err.Error()}
}

func (e *wireError) Error() string { return e.Message }
func (e *wireError) Unwrap() error { return codes[e.Code] }
