package workload

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// leaseGrace is how long after a lease's deadline its shim may take to end the
// run before the supervisor kills the shim. It is less than the tenth of the
// shortest term, 3 s, that the leader waits longer (docs/adr/0001-fencing.md).
const leaseGrace = 200 * time.Millisecond

// overdueReason is the end of a run whose shim did not end it.
const overdueReason = "lease expired; its shim did not end it in time and was killed"

// keepLease is the second guard of a run's lease, for the case that the first,
// the shim, stands still itself. It returns once the run's alarm is closed.
func (s *Supervisor) keepLease(sl *slot, r *run) {
	for r.alarm.wait() == nil {
		if !s.shimKeepsLease(r) && r.shim.Shim.alive() {
			s.endOverdue(sl, r)
		}
	}
}

// shimKeepsLease reports whether the run may go on for now: its lease was
// renewed, or its shim answers that it is ending it.
func (s *Supervisor) shimKeepsLease(r *run) bool {
	if s.renewed(r) {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.grace/2)
	defer cancel()
	// A renewal whose answer was lost is learnt of here.
	if err := s.ask(ctx, r.launch.Workload.Name, "/status", request{Epoch: r.launch.Epoch}); err != nil {
		return false
	}
	if s.renewed(r) {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.stopping {
		s.arm(r, Now().Add(s.grace)) // a process doesn't die: the shim knows best which ones are its own
	}
	return r.stopping
}

// renewed reports whether the run's lease, as last known, lasts.
func (s *Supervisor) renewed(r *run) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !r.deadline.Passed(Now())
}

// endOverdue kills a shim past its lease and all that it started. The kernel
// does the second too when the shim dies, but that may sleep in the kernel. The
// watch on the run then sees to it that nothing is left.
func (s *Supervisor) endOverdue(sl *slot, r *run) {
	s.mu.Lock()
	late := -r.deadline.Until(Now())
	if r.reason == "" {
		r.reason = overdueReason
	}
	s.arm(r, Now().Add(s.grace)) // look again: nothing may escape
	s.mu.Unlock()
	s.log.Error("a shim did not end its run at the lease's deadline, killed",
		"workload", r.launch.Workload.Name, "epoch", r.launch.Epoch, "pid", r.shim.Shim.PID, "late", late)
	err := r.shim.Shim.signal(unix.SIGKILL)
	_, sweepErr := sl.dir.sweep(r.launch.Token, r.shim)
	if err = errors.Join(err, sweepErr); err != nil {
		s.log.Error("a run past its lease is not killed, trying on", "workload", r.launch.Workload.Name, "epoch", r.launch.Epoch, "err", err)
	}
}

// learn takes over what a shim says of its run; the caller holds mu.
func (s *Supervisor) learn(r *run, now reply) {
	r.deadline, r.frozen, r.stopping = max(r.deadline, now.Deadline), now.Frozen, now.Stopping
	s.arm(r, r.deadline.Add(s.grace/2))
}

// arm sets the moment of the next look at the run's lease; the caller holds mu.
func (s *Supervisor) arm(r *run, at Deadline) {
	if err := r.alarm.set(at); err != nil && !errors.Is(err, os.ErrClosed) {
		s.log.Error("lease kept by the shim alone", "workload", r.launch.Workload.Name, "epoch", r.launch.Epoch, "err", err)
	}
}
