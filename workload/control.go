package workload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stratoswarm/forestall"
)

// Renew moves the lease's deadline, which never comes nearer. A deadline that
// has been reached can't be renewed any more ([ErrExpired]). A shim that doesn't
// answer costs what ctx allows, at most 5 s: renew several runs side by side.
func (s *Supervisor) Renew(ctx context.Context, workload string, epoch forestall.Epoch, d Deadline) error {
	ctx, cancel := context.WithTimeout(ctx, shimPatience)
	defer cancel()
	return s.ask(ctx, workload, "/renew", request{Epoch: epoch, Deadline: d})
}

// Hook runs the workload's checkpoint hook and returns once the workload has
// acknowledged that its state directory is consistent. After a final one the
// workload does no more work until Thaw or a hook that isn't final. Errors say
// whether it timed out, was refused, or the workload ended ([ErrExited]).
func (s *Supervisor) Hook(ctx context.Context, workload string, epoch forestall.Epoch, final bool) error {
	begin := s.cfg.Now()
	err := s.ask(ctx, workload, "/hook", request{Epoch: epoch, Final: final})
	s.metrics.hook(s.cfg.Now().Sub(begin), err)
	return err
}

// Freeze stops every process of the run with SIGSTOP and returns once all of
// them stand still. Freezing a frozen run is no error. The lease goes on.
func (s *Supervisor) Freeze(ctx context.Context, workload string, epoch forestall.Epoch) error {
	return s.ask(ctx, workload, "/freeze", request{Epoch: epoch})
}

// Thaw lets a frozen run go on; it is no error if it isn't frozen. If its last
// hook was final, it runs the hook once more, not final, which tells the
// workload to work on.
func (s *Supervisor) Thaw(ctx context.Context, workload string, epoch forestall.Epoch) error {
	return s.ask(ctx, workload, "/thaw", request{Epoch: epoch})
}

// ask sends a request to the run with exactly that epoch and takes note of
// what the shim says of itself.
func (s *Supervisor) ask(ctx context.Context, workload, path string, q request) error {
	sl, err := s.slot(workload)
	if err != nil {
		return err
	}
	r := s.current(sl)
	if r != nil {
		// Beyond what the shim allows itself, so that its own word comes first.
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, shimPatience+freezeLimit+r.launch.Workload.Hook.Timeout)
		defer cancel()
	}
	switch {
	case r == nil:
		return fmt.Errorf("workload %q: epoch %d is %w on this node", workload, q.Epoch, ErrNotRunning)
	case r.shim.Epoch > q.Epoch:
		return fmt.Errorf("workload %q: epoch %d is %w, %d has taken its place: %w", workload, q.Epoch, ErrNotRunning, r.shim.Epoch, forestall.ErrStaleEpoch)
	case r.shim.Epoch < q.Epoch:
		return fmt.Errorf("workload %q: epoch %d is %w, this node still runs %d", workload, q.Epoch, ErrNotRunning, r.shim.Epoch)
	}
	now, err := sl.dir.ask(ctx, path, q)
	if err == nil || now.Error != nil {
		s.mu.Lock()
		s.learn(r, now)
		s.mu.Unlock()
	}
	return err
}

// Stop makes sure that no run with an epoch up to upTo is alive here or can
// start: it raises the floor, sends SIGTERM to the process group, after the
// workload's Stop timeout SIGKILL, and waits until no process is left. A
// frozen run is killed at once. A nil error is that promise; the Exit is that
// of the last such run, zero if none is known. When ctx ends first, the stop
// goes on; call it again. An empty reason reads "stop requested".
func (s *Supervisor) Stop(ctx context.Context, workload string, upTo forestall.Epoch, reason string) (forestall.Exit, error) {
	if reason == "" {
		reason = "stop requested"
	}
	sl, err := s.slot(workload)
	if err != nil {
		return forestall.Exit{}, err
	}
	if err := s.begin(ctx, sl); err != nil {
		return forestall.Exit{}, fmt.Errorf("stop workload %q: %w", workload, err)
	}
	defer s.end(sl)
	if err := sl.dir.markStopped(upTo); err != nil {
		return forestall.Exit{}, fmt.Errorf("stop workload %q: %w", workload, err)
	}
	r := s.current(sl)
	switch {
	case r == nil:
		err = s.clear(ctx, sl)
	case r.shim.Epoch <= upTo:
		err = s.stopRun(ctx, sl, r, reason)
	}
	if err != nil {
		return forestall.Exit{}, fmt.Errorf("stop workload %q: %w", workload, err)
	}
	if e, ok := sl.dir.exit(); ok && e.Epoch <= upTo {
		return e.Exit, nil
	}
	return forestall.Exit{}, nil
}

// stopRun asks the shim to stop its run and kills it if it doesn't.
func (s *Supervisor) stopRun(ctx context.Context, sl *slot, r *run, reason string) error {
	s.mu.Lock()
	r.reason = reason
	s.mu.Unlock()
	asking, cancel := context.WithTimeout(ctx, shimPatience)
	err := s.ask(asking, r.launch.Workload.Name, "/stop", request{Epoch: r.shim.Epoch, Reason: reason})
	cancel()
	if err != nil && !errors.Is(err, ErrNotRunning) && ctx.Err() == nil {
		s.log.Warn("shim not asked to stop, killed", "workload", r.launch.Workload.Name, "epoch", r.shim.Epoch, "err", err)
		return s.killShim(ctx, r)
	}
	select {
	case <-r.over:
		return nil
	case <-time.After(r.launch.Workload.Stop + shimPatience):
		s.log.Warn("shim did not stop in time, killed", "workload", r.launch.Workload.Name, "epoch", r.shim.Epoch)
		return s.killShim(ctx, r)
	case <-s.quit:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("epoch %d has not ended yet: %w", r.shim.Epoch, ctx.Err())
	}
}

// killShim kills a shim that doesn't do its work, and with it the workload.
func (s *Supervisor) killShim(ctx context.Context, r *run) error {
	if err := r.shim.Shim.signal(unix.SIGKILL); err != nil {
		return err
	}
	select {
	case <-r.over:
		return nil
	case <-s.quit:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("epoch %d has not ended yet: %w", r.shim.Epoch, ctx.Err())
	}
}
