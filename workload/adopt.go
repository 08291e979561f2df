package workload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stratoswarm/forestall"
)

// Adopt finds the runs that an earlier supervisor left in the directory. Live
// ones are watched from now on; what a dead shim left behind is killed; exits
// that nobody acknowledged, those included that no shim could record, are
// delivered by Exits. It takes a second where a shim doesn't answer and another
// where a process doesn't die.
//
// A workload that can't be taken over, because a file of its run directory is
// damaged or a process of it can't be killed, costs the others nothing: the
// reason is logged, nothing of it starts, and Run tries it again until it is
// mended. The error says that the directory can't be read or that ctx ended.
func (s *Supervisor) Adopt(ctx context.Context) error {
	entries, err := os.ReadDir(s.cfg.Dir)
	if err != nil {
		return fmt.Errorf("adopt workloads: %w", err)
	}
	var slots []*slot
	for _, entry := range entries {
		if !entry.IsDir() || forestall.CheckName(entry.Name()) != nil {
			continue
		}
		sl, err := s.slot(entry.Name())
		if err != nil {
			return fmt.Errorf("adopt workloads: %w", err)
		}
		slots = append(slots, sl)
	}
	var adopting sync.WaitGroup
	for _, sl := range slots {
		adopting.Go(func() { s.takeOver(ctx, sl) })
	}
	adopting.Wait()
	s.mu.Lock()
	s.adopted = true
	s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("adopt workloads: %w", err)
	}
	return nil
}

// takeOver adopts one slot, or notes and logs why it can't. The caller holds
// the slot, or is Adopt.
func (s *Supervisor) takeOver(ctx context.Context, sl *slot) {
	err := s.adopt(ctx, sl)
	s.mu.Lock()
	before := sl.refused
	sl.refused = err
	s.mu.Unlock()
	name := filepath.Base(string(sl.dir))
	switch {
	case err == nil && before != nil:
		s.log.Info("workload mended, it may start here again", "workload", name)
	case err != nil && ctx.Err() == nil && (before == nil || before.Error() != err.Error()):
		s.log.Error("workload not taken over; nothing of it starts here until it is mended", "workload", name, "err", err)
	}
}

// refusal returns why nothing of the slot may start, nil if it may.
func (s *Supervisor) refusal(sl *slot) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sl.refused
}

// retryInterval is the time between two attempts at what was not taken over.
const retryInterval = 2 * time.Second

// retryRefused takes over what has been mended, until ctx ends.
func (s *Supervisor) retryRefused(ctx context.Context) {
	tick := time.NewTicker(retryInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, sl := range s.refusedSlots() {
			if s.begin(ctx, sl) == nil {
				s.takeOver(ctx, sl)
				s.end(sl)
			}
		}
	}
}

func (s *Supervisor) refusedSlots() []*slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	var refused []*slot
	for _, sl := range s.slots {
		if sl.refused != nil {
			refused = append(refused, sl)
		}
	}
	return refused
}

// adopt takes one slot over. That its floor is damaged forbids starts, but not
// to go on with what runs.
func (s *Supervisor) adopt(ctx context.Context, sl *slot) error {
	_, floorErr := sl.dir.floor()
	if s.current(sl) != nil {
		return floorErr
	}
	name := filepath.Base(string(sl.dir))
	l, err := sl.dir.readLaunch()
	if errors.Is(err, os.ErrNotExist) {
		record, ok := sl.dir.shim()
		if !ok || sl.dir.acknowledged(record.Epoch) {
			return floorErr // only a floor
		}
		// The launch was damaged and removed, by the word of an operator that nothing lives.
		return s.adoptEnd(ctx, sl, Launch{Workload: forestall.Workload{Name: name}, Epoch: record.Epoch, Boot: record.Boot})
	}
	if err != nil {
		return err
	}
	if l.Workload.Name != name {
		return fmt.Errorf("%s describes workload %q: give the directory that name again, or remove the file if none of its processes lives", sl.dir.path(launchFile), l.Workload.Name)
	}
	if record, now, ok := s.findShim(ctx, sl.dir, l); ok {
		s.log.Info("workload adopted", "workload", l.Workload.Name, "epoch", l.Epoch, "pid", record.Main.PID, "frozen", now.Frozen)
		if err := s.attachAdopted(sl, l, record, now); err != nil {
			return err
		}
		return floorErr
	}
	if err := ctx.Err(); err != nil { // its shim may live; the next engine finds it
		return fmt.Errorf("looked for the shim of epoch %d: %w", l.Epoch, err)
	}
	if sl.dir.acknowledged(l.Epoch) {
		return floorErr
	}
	return s.adoptEnd(ctx, sl, l)
}

func (s *Supervisor) attachAdopted(sl *slot, l Launch, record shimRecord, now reply) error {
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

// adoptEnd reports a run that ended while no supervisor watched it.
func (s *Supervisor) adoptEnd(ctx context.Context, sl *slot, l Launch) error {
	if err := sl.dir.markStopped(l.Epoch); err != nil {
		return err
	}
	if err := readRecord(sl.dir.path(exitFile), "exit", new(Exited)); errors.Is(err, errCorrupt) {
		s.log.Warn("the record of an exit is damaged; it is replaced, how the run ended is lost", "workload", l.Workload.Name, "err", err)
	}
	why := forestall.Exit{Code: -1, Reason: "not started: the engine ended before its shim could start it"}
	if record, ok := sl.dir.shim(); ok && record.Epoch == l.Epoch {
		why.Reason = "ended while no engine ran, shim gone"
		if err := s.killStuck(record); err != nil {
			return err
		}
	}
	limit, cancel := context.WithTimeout(ctx, adoptPatience)
	defer cancel()
	e, err := s.conclude(sl.dir, l, why, limit.Done())
	if errors.Is(err, errQuit) {
		return fmt.Errorf("epoch %d is %w: its processes don't end although they were killed", l.Epoch, ErrRunning)
	}
	if err != nil {
		return fmt.Errorf("record the end of epoch %d: %w; mend the disk, or remove the file if it can't be replaced", l.Epoch, err)
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
