package workload

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// freezeLimit is how long processes may take to stop. One that sleeps in the
// kernel, on a dead disk or GPU, stops only when that call returns.
const freezeLimit = 5 * time.Second

// freeze stops every process of the run and returns once all of them stand
// still. If it can't, it lets them go on.
func (s *shim) freeze(ctx context.Context) error {
	s.mu.Lock()
	frozen, reaped := s.frozen, s.reaped
	s.frozen = s.frozen || !reaped // from here on a stop kills
	s.mu.Unlock()
	if reaped {
		return s.endedError()
	}
	if frozen {
		return nil
	}
	err := s.standStill(ctx)
	if err != nil {
		s.letGo()
	}
	return err
}

func (s *shim) standStill(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := Now().Add(freezeLimit); ; {
		moving, err := s.signalMoving()
		if err != nil || len(moving) == 0 {
			return err
		}
		if end.Passed(Now()) {
			p := moving[0]
			return fmt.Errorf("workload %q: freeze: %d processes did not stop in %v, the first is %d in state %c", s.name(), len(moving), freezeLimit, p.PID, p.state)
		}
		select {
		case <-tick.C:
		case <-s.ended:
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.endedError()
		case <-ctx.Done():
			return fmt.Errorf("workload %q: freeze: %w", s.name(), ctx.Err())
		}
	}
}

// signalMoving sends SIGSTOP to every process of the run that is not stopped
// and returns them.
func (s *shim) signalMoving() ([]process, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	var moving []process
	for _, p := range descendants(all, os.Getpid()) {
		if p.stopped() || p.dead() {
			continue
		}
		moving = append(moving, p)
		if err := p.signal(unix.SIGSTOP); err != nil {
			return nil, err
		}
	}
	return moving, nil
}

// thaw lets the processes go on. If the last hook request was final, it also
// tells the workload that it is to work on after all.
func (s *shim) thaw(ctx context.Context) error {
	s.mu.Lock()
	reaped, final := s.reaped, s.final
	s.mu.Unlock()
	if reaped {
		return s.endedError()
	}
	s.letGo()
	if !final {
		return nil
	}
	if err := s.hook(ctx, false); err != nil {
		return fmt.Errorf("withdraw the final request: %w", err)
	}
	return nil
}

func (s *shim) letGo() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen = false
	if s.stop != nil || s.killed {
		return // it ends, and must not run until then
	}
	all, err := processes()
	if err != nil {
		s.log.Error("processes not thawed", "workload", s.name(), "err", err)
	}
	for _, p := range descendants(all, os.Getpid()) {
		if err := p.signal(unix.SIGCONT); err != nil {
			s.log.Error("process not thawed", "workload", s.name(), "err", err)
		}
	}
}
