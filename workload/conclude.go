package workload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/stratoswarm/forestall"
)

// sweepInterval is the time between two looks at what a dead shim left behind.
const sweepInterval = 10 * time.Millisecond

// conclude returns the end of a run whose shim is gone, once none of its
// processes is left: what the shim recorded, or else the given end, which it
// records in its place. A shim that has not taken the lock yet finds that
// record and starts nothing.
func (s *Supervisor) conclude(dir runDir, l Launch, otherwise forestall.Exit, quit <-chan struct{}) (Exited, error) {
	otherwise.Epoch = l.Epoch
	otherwise.Time = s.cfg.Now().UTC()
	e := Exited{l.Workload.Name, otherwise}
	lock, err := s.seize(dir, l, quit)
	if err != nil {
		return e, err
	}
	defer lock.release()
	if recorded, ok := dir.exit(); ok && recorded.Epoch == l.Epoch {
		return recorded, nil
	}
	return e, dir.writeExit(e)
}

// seize kills what is left of a run whose shim is gone and returns holding its
// lock. It goes on trying until quit: a process that can't be killed, because
// it sleeps in a driver, is still a live copy.
func (s *Supervisor) seize(dir runDir, l Launch, quit <-chan struct{}) (*lock, error) {
	warned := false
	for n := 0; ; n++ {
		lock, err := dir.tryLock()
		left, sweepErr := s.sweepIfNeeded(dir, l)
		if lock != nil && sweepErr == nil && len(left) == 0 {
			return lock, nil
		}
		if lock != nil {
			lock.release()
		}
		if err = errors.Join(err, sweepErr); err != nil && !warned {
			s.log.Error("leftovers of a run not cleared, trying on", "workload", l.Workload.Name, "epoch", l.Epoch, "err", err)
			warned = true
		}
		if n == 100 && !warned {
			s.log.Warn("a run's processes don't end", "workload", l.Workload.Name, "epoch", l.Epoch, "pids", pids(left), "lock_held", lock == nil)
			warned = true
		}
		select {
		case <-time.After(sweepInterval):
		case <-quit:
			return nil, errQuit
		}
	}
}

// sweepIfNeeded sweeps, unless the shim said that all is over: it writes the
// exit only once it has no descendant any more.
func (s *Supervisor) sweepIfNeeded(dir runDir, l Launch) ([]process, error) {
	if e, ok := dir.exit(); ok && e.Epoch == l.Epoch {
		return nil, nil
	}
	record, ok := dir.shim()
	if !ok || record.Epoch != l.Epoch || record.Boot != s.boot {
		record = shimRecord{}
	}
	if l.Boot != s.boot {
		return nil, nil // the machine was started anew: nothing lives
	}
	return dir.sweep(l.Token, record)
}

// clear makes sure that nothing of the slot's last run lives. The caller holds
// the slot, which has no live run.
func (s *Supervisor) clear(ctx context.Context, sl *slot) error {
	l, err := sl.dir.readLaunch()
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err // what it started can't be told from others
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	lock, err := s.seize(sl.dir, l, ctx.Done())
	if errors.Is(err, errQuit) {
		return fmt.Errorf("%w: processes of epoch %d hold %s and can't be killed: %w", ErrRunning, l.Epoch, sl.dir.path(lockFile), context.Cause(ctx))
	}
	if err != nil {
		return err
	}
	lock.release()
	return nil
}

func pids(ps []process) []int {
	ids := make([]int, len(ps))
	for i, p := range ps {
		ids[i] = p.PID
	}
	return ids
}
