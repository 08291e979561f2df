package workload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stratoswarm/forestall"
)

// Adopt finds the runs that an earlier supervisor left in the directory. Live
// ones are watched from now on; what a dead shim left behind is killed; exits
// that nobody acknowledged, those included that no shim could record, are
// delivered by Exits. It takes a second where a shim doesn't answer, and
// as long as ctx allows where a process can't be killed.
func (s *Supervisor) Adopt(ctx context.Context) error {
	entries, err := os.ReadDir(s.cfg.Dir)
	if err != nil {
		return fmt.Errorf("adopt workloads: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		if !entry.IsDir() || forestall.CheckName(entry.Name()) != nil {
			continue
		}
		sl, err := s.slot(entry.Name())
		if err == nil {
			err = s.adopt(ctx, sl)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("adopt workload %q: %w", entry.Name(), err))
		}
	}
	s.mu.Lock()
	s.adopted = true
	s.mu.Unlock()
	return errors.Join(errs...)
}

func (s *Supervisor) adopt(ctx context.Context, sl *slot) error {
	var l Launch
	err := readRecord(sl.dir.path(launchFile), "launch", &l)
	if errors.Is(err, os.ErrNotExist) {
		return nil // only a floor
	}
	if err != nil {
		return fmt.Errorf("%w; if none of its processes lives, remove the file", err)
	}
	if l.Workload.Name != filepath.Base(string(sl.dir)) {
		return fmt.Errorf("%s describes workload %q; was the directory renamed?", sl.dir.path(launchFile), l.Workload.Name)
	}
	if record, now, ok := s.findShim(ctx, sl.dir, l); ok {
		s.log.Info("workload adopted", "workload", l.Workload.Name, "epoch", l.Epoch, "pid", record.Main.PID, "frozen", now.Frozen)
		r, err := newRun(l)
		if err != nil {
			return err
		}
		if err := s.attach(sl, r, record, now); err != nil {
			r.alarm.close()
			return err
		}
		return nil
	}
	if err := ctx.Err(); err != nil { // its shim may live; the next engine finds it
		return fmt.Errorf("looked for the shim of epoch %d: %w", l.Epoch, err)
	}
	if e, ok := sl.dir.exit(); ok && e.Epoch == l.Epoch && sl.dir.acknowledged(l.Epoch) {
		return nil
	}
	if err := sl.dir.markStopped(l.Epoch); err != nil {
		return err
	}
	why := forestall.Exit{Code: -1, Reason: "not started: the engine ended before its shim could start it"}
	if record, ok := sl.dir.shim(); ok && record.Epoch == l.Epoch {
		why.Reason = "ended while no engine ran, shim gone"
		if err := s.killStuck(record); err != nil {
			return err
		}
	}
	e, err := s.conclude(sl.dir, l, why, ctx.Done())
	if errors.Is(err, errQuit) {
		return fmt.Errorf("processes of epoch %d can't be killed: %w", l.Epoch, ctx.Err())
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report(e)
	return nil
}

// killStuck kills a shim that lives but never got to start its workload.
func (s *Supervisor) killStuck(record shimRecord) error {
	if record.Boot != s.boot || !record.Shim.alive() {
		return nil
	}
	return record.Shim.signal(unix.SIGKILL)
}

// adoptPatience is how long a shim may take to answer or to come up when its
// run is adopted: the leases of the node's other runs go on running out.
const adoptPatience = time.Second

// findShim returns the live shim of a launch. One that has just taken the lock
// is given time to come up. One that lives and doesn't answer is returned with
// the deadline of the launch, at which keepLease asks it again: how far an
// earlier supervisor has renewed its lease can't be known.
func (s *Supervisor) findShim(ctx context.Context, dir runDir, l Launch) (shimRecord, reply, bool) {
	if l.Boot != s.boot {
		return shimRecord{}, reply{}, false
	}
	for end := Now().Add(adoptPatience); ; {
		record, ok := dir.shim()
		ok = ok && record.Epoch == l.Epoch && record.Boot == s.boot
		live := ok && record.Shim.alive()
		if live && record.Main.PID != 0 {
			return s.greet(ctx, dir, l, record)
		}
		lock, err := dir.tryLock()
		if lock != nil {
			lock.release()
		}
		starting := lock == nil && err == nil && !ok // it has the lock and has not written its record yet
		if !live && !starting || ctx.Err() != nil || end.Passed(Now()) {
			return record, reply{}, false
		}
		select {
		case <-time.After(sweepInterval):
		case <-ctx.Done():
		}
	}
}

// greet asks a shim that has started its workload how it fares; ok unless ctx
// has ended.
func (s *Supervisor) greet(ctx context.Context, dir runDir, l Launch, record shimRecord) (_ shimRecord, now reply, ok bool) {
	limit, cancel := context.WithTimeout(ctx, adoptPatience)
	defer cancel()
	now, err := dir.ask(limit, "/status", request{Epoch: l.Epoch})
	if err != nil {
		s.log.Error("shim doesn't answer", "workload", l.Workload.Name, "pid", record.Shim.PID, "err", err)
		now = reply{Deadline: l.Deadline}
	}
	return record, now, ctx.Err() == nil
}
