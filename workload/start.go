package workload

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stratoswarm/forestall"
)

// startLimit is how long a shim may take to start a workload.
const startLimit = 10 * time.Second

// Start starts a run and returns once the workload's process exists, or says
// why it doesn't. An epoch that is already running is no error. Refused are an
// epoch up to the floor ([forestall.ErrStaleEpoch]), a deadline that has passed
// ([ErrExpired]) and a workload of which another epoch lives ([ErrRunning]).
// After any other error the epoch is used up: the next attempt needs a new one.
// [ErrWorkload] tells a fault of the workload from one of the node.
func (s *Supervisor) Start(ctx context.Context, l Launch) error {
	err := s.start(ctx, l)
	switch {
	case err == nil:
		s.metrics.starts.WithLabelValues("ok").Inc()
	case errors.Is(err, forestall.ErrStaleEpoch), errors.Is(err, ErrExpired), errors.Is(err, ErrRunning):
		s.metrics.starts.WithLabelValues("refused").Inc()
	default:
		s.metrics.starts.WithLabelValues("failed").Inc()
	}
	return err
}

func (s *Supervisor) start(ctx context.Context, l Launch) error {
	if l.Node == "" {
		l.Node = s.cfg.Node
	}
	if err := l.validate(); err != nil {
		return err
	}
	name := l.Workload.Name
	sl, err := s.slot(name)
	if err != nil {
		return err
	}
	if err := s.begin(ctx, sl); err != nil {
		return fmt.Errorf("start workload %q: %w", name, err)
	}
	defer s.end(sl)
	if running, err := s.admit(sl, l); err != nil || running {
		return err
	}
	if err := s.clear(ctx, sl); err != nil {
		return fmt.Errorf("workload %q: clear what an earlier run left: %w", name, err)
	}
	l.Token, l.Boot = rand.Text(), s.boot
	r, err := newRun(l)
	if err != nil {
		return fmt.Errorf("workload %q: %w", name, err)
	}
	if err := s.launch(ctx, sl, r); err != nil {
		r.alarm.close()
		return err
	}
	return nil
}

// launch starts what was admitted.
func (s *Supervisor) launch(ctx context.Context, sl *slot, r *run) error {
	l, name := r.launch, r.launch.Workload.Name
	if err := sl.dir.markLaunched(l.Epoch); err != nil {
		return fmt.Errorf("workload %q: record epoch %d as started: %w", name, l.Epoch, err)
	}
	if err := writeRecord(sl.dir.path(launchFile), "launch", l); err != nil {
		return fmt.Errorf("workload %q: %w", name, err)
	}
	// A shim that stands still before it has said a word is not waited for beyond the lease.
	ctx, cancel := context.WithTimeout(ctx, min(startLimit, l.Deadline.Add(s.grace).Until(Now())))
	defer cancel()
	if err := s.spawn(ctx, sl.dir); err != nil {
		s.abandon(sl.dir, l, err)
		return err
	}
	record, ok := sl.dir.shim()
	if !ok || record.Epoch != l.Epoch {
		err := fmt.Errorf("workload %q: its shim left no record in %s", name, sl.dir)
		s.abandon(sl.dir, l, err)
		return err
	}
	s.log.Info("workload started", "workload", name, "epoch", l.Epoch, "pid", record.Main.PID, "gpus", l.GPUs)
	return s.attach(sl, r, record, reply{Deadline: l.Deadline})
}

// admit decides whether the epoch may start; running means that it already
// has.
func (s *Supervisor) admit(sl *slot, l Launch) (running bool, err error) {
	name := l.Workload.Name
	if r := s.current(sl); r != nil {
		old := r.shim.Epoch
		switch {
		case old == l.Epoch:
			return true, nil
		case old > l.Epoch:
			return false, fmt.Errorf("workload %q: epoch %d is running, %d is not started: %w", name, old, l.Epoch, forestall.ErrStaleEpoch)
		}
		return false, fmt.Errorf("workload %q: epoch %d is %w; stop it before %d is started", name, old, ErrRunning, l.Epoch)
	}
	if err := s.refusal(sl); err != nil {
		return false, fmt.Errorf("workload %q: %w", name, err)
	}
	floor, err := sl.dir.floor()
	switch {
	case err != nil:
		return false, fmt.Errorf("workload %q: %w", name, err)
	case l.Epoch <= floor.Floor:
		return false, fmt.Errorf("workload %q: epoch %d may not start here any more, only epochs above %d: %w", name, l.Epoch, floor.Floor, forestall.ErrStaleEpoch)
	case l.Deadline.Passed(Now()):
		return false, fmt.Errorf("workload %q: epoch %d: %w before the start", name, l.Epoch, ErrExpired)
	}
	return false, nil
}

// spawn starts the shim in a session of its own, so that nothing meant for the
// engine reaches it, and waits for its word.
func (s *Supervisor) spawn(ctx context.Context, dir runDir) error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start the shim: %w", err)
	}
	defer r.Close()
	log, err := os.OpenFile(dir.path(shimLog), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		w.Close()
		return fmt.Errorf("start the shim: %w", err)
	}
	argv := append(append([]string{}, s.cfg.Shim...), "--dir", string(dir))
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", w, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	w.Close()
	log.Close()
	if err != nil {
		return fmt.Errorf("start the shim: %w", err)
	}
	if err = awaitReady(ctx, r, dir); err != nil {
		_ = cmd.Process.Kill() // takes the workload with it if it was started
		_ = cmd.Wait()
		return err
	}
	return nil // reaped by the watch on it
}

// awaitReady reads the shim's one line.
func awaitReady(ctx context.Context, r *os.File, dir runDir) error {
	stop := context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	line, err := io.ReadAll(io.LimitReader(r, 1<<16))
	if ctx.Err() != nil {
		return fmt.Errorf("start the shim: no word from it: %w", context.Cause(ctx))
	}
	var said ready
	if err == nil {
		err = json.NewDecoder(bytes.NewReader(line)).Decode(&said)
	}
	if err != nil {
		return fmt.Errorf("start the shim: it ended without a word; %s says: %s", dir.path(shimLog), tail(dir.path(shimLog), 500))
	}
	if said.Error != nil {
		return said.Error
	}
	return nil
}

// abandon records a start that came to nothing, so that neither a late shim
// nor the next supervisor takes it for more.
func (s *Supervisor) abandon(dir runDir, l Launch, why error) {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	_, err := s.conclude(dir, l, forestall.Exit{Code: -1, Reason: "not started: " + why.Error()}, ctx.Done())
	if err == nil {
		err = dir.acknowledge(l.Epoch) // the caller of Start knows
	}
	if err != nil {
		s.log.Error("failed start not recorded; it will be reported again", "workload", l.Workload.Name, "epoch", l.Epoch, "err", err)
	}
}

// newRun prepares the watch on a run, before there is one.
func newRun(l Launch) (*run, error) {
	a, err := newAlarm()
	if err != nil {
		return nil, err
	}
	return &run{launch: l, over: make(chan struct{}), alarm: a}, nil
}

// attach makes a run the slot's live one and watches its shim.
func (s *Supervisor) attach(sl *slot, r *run, record shimRecord, now reply) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("workload %q: it runs; the next engine adopts it: %w", r.launch.Workload.Name, ErrClosed)
	}
	r.shim = record
	s.learn(r, now)
	sl.run = r
	s.metrics.running.Inc()
	s.watches.Go(func() { s.watch(sl, r) })
	s.watches.Go(func() { s.keepLease(sl, r) })
	return nil
}

// awaitShim waits until the shim of a run is gone; the error is errQuit.
func (s *Supervisor) awaitShim(r *run) error {
	for {
		err := r.shim.Shim.wait(s.quit)
		if err == nil || errors.Is(err, errQuit) {
			return err
		}
		s.log.Error("shim not watched, trying on", "workload", r.launch.Workload.Name, "err", err)
		select {
		case <-time.After(time.Second):
		case <-s.quit:
			return errQuit
		}
	}
}

// watch waits until a run is over and reports it.
func (s *Supervisor) watch(sl *slot, r *run) {
	err := s.awaitShim(r)
	r.alarm.close()
	if err != nil {
		return
	}
	why := forestall.Exit{Code: -1, Signal: unix.SIGKILL, Reason: "shim died, workload killed with it"}
	s.mu.Lock()
	if r.reason != "" {
		why.Expected, why.Reason = true, r.reason
	}
	s.mu.Unlock()
	e, err := s.conclude(sl.dir, r.launch, why, s.quit)
	if errors.Is(err, errQuit) {
		return
	}
	if err != nil {
		s.log.Error("end of a run not recorded", "workload", e.Workload, "epoch", e.Epoch, "err", err)
	}
	var signal slog.Attr // left out where it ended by itself
	if e.Signal != 0 {
		signal = slog.Any("signal", e.Signal)
	}
	s.log.Info("workload ended", "workload", e.Workload, "epoch", e.Epoch, "code", e.Code, signal, "expected", e.Expected, "reason", e.Reason)
	s.metrics.running.Dec()
	s.mu.Lock()
	defer s.mu.Unlock()
	sl.run = nil
	s.report(e)
	close(r.over)
}

// report queues an exit; the caller holds mu.
func (s *Supervisor) report(e Exited) {
	s.metrics.exits.WithLabelValues(fmt.Sprint(e.Expected)).Inc()
	s.addExit(e)
}
