package workload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// fork asks the thread that forks for a process of a hook.
type fork struct {
	path  string
	argv  []string
	attr  *syscall.ProcAttr
	reply chan forked // capacity 1
}

type forked struct {
	pid   int
	ended <-chan syscall.WaitStatus
	err   error
}

// loop forks, reaps and stops until the main process has ended. It alone
// reaps, so that no process ID is used again behind its back.
func (s *shim) loop(ctx context.Context, terminate <-chan os.Signal) {
	var kill <-chan time.Time // when a stop's patience ends
	done := ctx.Done()
	for {
		s.reap()
		select {
		case <-s.ended:
			return
		default:
		}
		select {
		case <-s.childEnded:
		case <-terminate:
			s.askStop(stop{reason: "shim received SIGTERM"})
		case <-done:
			done = nil
			s.askStop(stop{reason: "shim cancelled"})
		case <-s.stops:
			kill = s.beginStop(kill)
		case <-kill:
			s.mu.Lock()
			s.killAll()
			s.mu.Unlock()
		case f := <-s.forks:
			pid, err := syscall.ForkExec(f.path, f.argv, f.attr)
			ended := make(chan syscall.WaitStatus, 1)
			if err == nil {
				s.children[pid] = ended
			}
			f.reply <- forked{pid, ended, err}
		}
	}
}

// reap collects every child that has ended; none means that there is no child
// at all any more.
func (s *shim) reap() (none bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return errors.Is(err, syscall.ECHILD)
		case pid <= 0:
			return false
		}
		if pid == s.record.Main.PID && !s.reaped {
			s.reaped, s.status, s.endedAt = true, status, time.Now().UTC()
			close(s.ended)
		}
		if ended, ok := s.children[pid]; ok {
			ended <- status
			delete(s.children, pid)
		}
	}
}

// reapAll kills and reaps until there is no descendant any more. As the
// reaper of descendants the shim gets every one of them as a child in the end.
func (s *shim) reapAll() {
	for !s.reap() {
		s.killDescendants()
		select {
		case <-s.childEnded:
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// askStop notes that the run is to end; a later reason doesn't replace an
// earlier one.
func (s *shim) askStop(why stop) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop == nil {
		s.stop = &why
	}
	select {
	case s.stops <- struct{}{}:
	default:
	}
}

// beginStop sends SIGTERM, to which a stopped process would not react: a
// frozen workload, whose last checkpoint is taken, must not go on and is
// killed. It returns when SIGKILL is due, given what an earlier call returned.
func (s *shim) beginStop(due <-chan time.Time) <-chan time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	patience := s.launch.Workload.Stop
	if s.frozen || patience <= 0 {
		s.killAll()
		return due
	}
	if due != nil {
		return due
	}
	if !s.reaped {
		_ = unix.Kill(-s.record.Main.PID, unix.SIGTERM)
	}
	return time.After(patience)
}

// killAll sends SIGKILL to the process group and to every descendant outside
// it. The caller holds mu, so that the main process's ID is still its own.
func (s *shim) killAll() {
	s.killed = true
	if !s.reaped && s.record.Main.PID > 0 {
		_ = unix.Kill(-s.record.Main.PID, unix.SIGKILL)
	}
	s.killDescendants()
}

func (s *shim) killDescendants() {
	all, err := processes()
	if err != nil {
		s.log.Error("descendants not listed", "workload", s.name(), "err", err)
		return
	}
	for _, p := range descendants(all, os.Getpid()) {
		if err := p.signal(unix.SIGKILL); err != nil {
			s.log.Error("descendant not killed", "workload", s.name(), "err", err)
		}
	}
}

// keepLease kills the run when its deadline is reached. It waits for nothing
// else that the shim does.
func (s *shim) keepLease() {
	for s.alarm.wait() == nil {
		if s.expire(Now()) {
			return
		}
	}
}

func (s *shim) expire(now Deadline) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.deadline.Passed(now) {
		return false // renewed in the meantime
	}
	if !s.reaped {
		s.expired = true
		s.log.Warn("lease expired, workload killed", "workload", s.name(), "epoch", s.launch.Epoch, "late", -s.deadline.Until(now))
	}
	s.killAll()
	return true
}

// renew moves the deadline, which never comes nearer.
func (s *shim) renew(d Deadline) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := Now()
	switch {
	case s.reaped:
		return s.endedError()
	case s.expired || s.deadline.Passed(now):
		return fmt.Errorf("workload %q: %w at %v, too late to renew it", s.name(), ErrExpired, s.deadline)
	case d.Passed(now):
		return fmt.Errorf("workload %q: %w: the new deadline %v has passed", s.name(), ErrExpired, d)
	}
	if d <= s.deadline {
		return nil
	}
	s.deadline = d
	return s.alarm.set(d)
}

func (s *shim) endedError() error {
	return fmt.Errorf("workload %q: %w: epoch %d has %w (%s)", s.name(), ErrNotRunning, s.launch.Epoch, ErrExited, describe(s.status))
}

func describe(status syscall.WaitStatus) string {
	if status.Signaled() {
		return "killed by " + unix.SignalName(status.Signal())
	}
	return fmt.Sprintf("status %d", status.ExitStatus())
}
