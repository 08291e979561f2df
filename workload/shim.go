package workload

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stratoswarm/forestall"
)

// lockPatience is how long a shim waits for the run lock. The supervisor has
// cleared it; only another look at it can be in the way.
const lockPatience = time.Second

// ready is the line that a shim writes to its standard output.
type ready struct {
	Error *wireError `json:"error,omitempty"`
}

// RunShim is a shim: it starts what RUNDIR/launch says and returns once that
// has ended with all its descendants. SIGTERM, or the end of ctx, stops the
// workload gracefully; SIGHUP and SIGINT, which are meant for the engine, do
// nothing. It changes the working directory and the handling of signals of its
// process, so it must be all that this process does. The error says why the
// workload was not started; how it ended is in RUNDIR/exit.
func RunShim(ctx context.Context, dir string) error {
	// The parent-death signal comes when the thread that forked ends, so this
	// goroutine keeps its thread and does all the forking.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s := &shim{dir: ".", log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE)
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM)
	s.childEnded = make(chan os.Signal, 1)
	signal.Notify(s.childEnded, syscall.SIGCHLD)

	err := s.start(dir)
	report(err)
	if err != nil {
		s.release()
		return err
	}
	return s.supervise(ctx, terminate)
}

// report tells the supervisor how the start went and closes standard output.
func report(err error) {
	var r ready
	if err != nil {
		r.Error = newWireError(err)
	}
	_ = json.NewEncoder(os.Stdout).Encode(r) // the engine is gone: the next one adopts
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		_ = unix.Dup3(int(null.Fd()), 1, 0)
		null.Close()
	}
}

// shim is the state of a shim process.
type shim struct {
	dir    runDir
	launch Launch
	env    []string
	log    *slog.Logger

	lock       *lock
	listener   net.Listener
	alarm      *alarm
	guard      *guard
	output     *os.File // writing end of the pipe that output.log is fed from
	logged     chan struct{}
	childEnded chan os.Signal

	busy  chan struct{} // capacity 1: held by a hook, a freeze or a thaw
	forks chan fork     // to the thread that forks
	stops chan struct{} // wakes supervise after a stop was asked for
	ended chan struct{} // closed when the main process has ended

	hooks    int                             // requests made so far; guarded by busy
	children map[int]chan syscall.WaitStatus // the commands of hooks; only the forking thread uses it

	mu       sync.Mutex
	record   shimRecord
	deadline Deadline
	reaped   bool // the main process is gone, its ID means nothing any more
	frozen   bool
	final    bool  // the last hook request was final
	killed   bool  // SIGKILL was sent to all
	stop     *stop // asked for; the first one counts
	expired  bool
	status   syscall.WaitStatus // of the main process, once ended is closed
	endedAt  time.Time
}

// stop is why and how a run is to end.
type stop struct {
	reason   string
	expected bool
}

// start does everything up to the workload's first instruction.
func (s *shim) start(dir string) error {
	if err := os.Chdir(dir); err != nil { // keeps the socket's path short
		return fmt.Errorf("enter the run directory: %w", err)
	}
	if err := readRecord(s.dir.path(launchFile), "launch", &s.launch); err != nil {
		return fmt.Errorf("read what to launch: %w", err)
	}
	if err := s.launch.validate(); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the reaper of descendants: %w", err)
	}
	if err := s.takeLock(); err != nil {
		return err
	}
	if err := s.checkUnused(); err != nil {
		return err
	}
	if err := s.open(); err != nil {
		return err
	}
	if err := s.use(); err != nil {
		return err
	}
	if err := s.fork(); err != nil {
		_ = s.writeExit(forestall.Exit{Code: -1, Reason: "not started: " + err.Error()})
		return err
	}
	return nil
}

func (s *shim) name() string { return s.launch.Workload.Name }

func (s *shim) takeLock() error {
	for end := Now().Add(lockPatience); ; {
		l, err := s.dir.tryLock()
		if err != nil {
			return err
		}
		if l != nil {
			s.lock = l
			return nil
		}
		if end.Passed(Now()) {
			return fmt.Errorf("workload %q: %w: an earlier run holds %s", s.name(), ErrRunning, lockFile)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// checkUnused refuses an epoch that is not the newest here or that has been
// started before.
func (s *shim) checkUnused() error {
	boot, err := bootID()
	if err != nil {
		return err
	}
	if err := s.checkFloor(); err != nil {
		return err
	}
	used, _ := s.dir.shim()
	exit, _ := s.dir.exit()
	e := s.launch.Epoch
	switch {
	case s.launch.Boot != boot:
		return fmt.Errorf("workload %q: epoch %d was to start before the machine's last boot: %w", s.name(), e, forestall.ErrStaleEpoch)
	case used.Epoch >= e || exit.Epoch >= e:
		return fmt.Errorf("workload %q: epoch %d was started before: %w", s.name(), e, forestall.ErrStaleEpoch)
	}
	return nil
}

// checkFloor refuses an epoch that was overtaken or stopped since its launch.
// The shim holds the lock: a stop that is marked later than this look waits
// until the run is gone.
func (s *shim) checkFloor() error {
	floor, err := s.dir.floor()
	e := s.launch.Epoch
	switch {
	case err != nil:
		return err
	case floor.Stopped >= e:
		return fmt.Errorf("workload %q: epoch %d was stopped before it started: %w", s.name(), e, forestall.ErrStaleEpoch)
	case floor.Floor != e:
		return fmt.Errorf("workload %q: epoch %d is not this node's newest, which is %d: %w", s.name(), e, floor.Floor, forestall.ErrStaleEpoch)
	}
	return nil
}

// open prepares everything that the workload is given and the socket.
func (s *shim) open() (err error) {
	w := s.launch.Workload
	if err := os.MkdirAll(w.StateDir, 0o700); err != nil {
		return cannotStart(w.Name, fmt.Errorf("create the state directory: %w", err))
	}
	s.env = s.launch.environ(os.Environ())
	s.deadline = s.launch.Deadline
	s.busy = make(chan struct{}, 1)
	s.forks = make(chan fork)
	s.children = make(map[int]chan syscall.WaitStatus)
	s.stops = make(chan struct{}, 1)
	s.ended = make(chan struct{})
	if s.alarm, err = newAlarm(); err != nil {
		return err
	}
	if s.guard, err = newGuard(); err != nil {
		return err
	}
	if err := s.openOutput(); err != nil {
		return err
	}
	os.Remove(s.dir.path(socketFile)) // of an earlier shim, which is gone: the lock is ours
	if s.listener, err = net.Listen("unix", s.dir.path(socketFile)); err != nil {
		return fmt.Errorf("listen for the engine: %w", err)
	}
	return nil
}

func (s *shim) openOutput() error {
	out, err := openBoundedLog(s.dir.path(outputLog), outputLimit)
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("create the output pipe: %w", err)
	}
	s.output = w
	s.logged = make(chan struct{})
	go func() {
		defer close(s.logged)
		_, _ = io.Copy(out, r)
		r.Close()
		_ = out.close()
	}()
	return nil
}

// use marks the epoch as started, durably, before it is.
func (s *shim) use() error {
	self, err := readProcess(os.Getpid())
	if err != nil {
		return fmt.Errorf("read the shim's own process: %w", err)
	}
	s.record = shimRecord{Epoch: s.launch.Epoch, Boot: s.launch.Boot, Shim: self.processID}
	return writeRecord(s.dir.path(shimFile), "shim", s.record)
}

// fork starts the workload, unless it was stopped meanwhile or its lease has
// run out.
func (s *shim) fork() error {
	w := s.launch.Workload
	path, err := lookCommand(w.Command[0], w.StateDir, s.env)
	if err != nil {
		return cannotStart(w.Name, err)
	}
	lockFD, guardFD := s.lock.f.Fd(), s.guard.read.Fd()
	attr := &syscall.ProcAttr{
		Dir: w.StateDir,
		Env: s.env,
		// Standard input is the lock too: programs that close what they
		// inherit before they start children keep the first three.
		Files: []uintptr{lockFD, s.output.Fd(), s.output.Fd(), lockFD, guardFD},
		Sys:   &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}
	if err := s.checkFloor(); err != nil {
		return err
	}
	if s.deadline.Passed(Now()) {
		return fmt.Errorf("workload %q: epoch %d: %w before the start", w.Name, s.launch.Epoch, ErrExpired)
	}
	pid, err := syscall.ForkExec(path, w.Command, attr)
	if err != nil {
		return cannotStart(w.Name, fmt.Errorf("execute %s in %s: %w", path, w.StateDir, err))
	}
	s.record.Started = time.Now().UTC()
	s.record.Main = processID{PID: pid}
	return s.afterFork()
}

// afterFork records the process that now runs and guards it. If it can't, it
// leaves nothing behind.
func (s *shim) afterFork() error {
	err := s.alarm.set(s.deadline)
	if err == nil {
		err = s.guard.arm(s.record.Main.PID)
	}
	if err == nil {
		var main process
		main, err = readProcess(s.record.Main.PID) // a zombie at worst: nobody else reaps it
		s.record.Main = main.processID
	}
	if err == nil {
		err = writeRecord(s.dir.path(shimFile), "shim", s.record)
	}
	if err != nil {
		s.mu.Lock()
		s.killAll()
		s.mu.Unlock()
		s.reapAll()
	}
	return err
}

// writeExit records the end of the run.
func (s *shim) writeExit(e forestall.Exit) error {
	e.Epoch = s.launch.Epoch
	if e.Time.IsZero() {
		e.Time = time.Now().UTC()
	}
	return s.dir.writeExit(Exited{s.name(), e})
}

// release lets go of everything that a start took.
func (s *shim) release() {
	if s.listener != nil {
		s.listener.Close()
	}
	if s.output != nil {
		s.output.Close()
		<-s.logged
	}
	if s.guard != nil {
		s.guard.close()
	}
	if s.alarm != nil {
		s.alarm.close()
	}
	if s.lock != nil {
		s.lock.release()
	}
}

// supervise keeps the run until it is over, records its end and lets go.
func (s *shim) supervise(ctx context.Context, terminate <-chan os.Signal) error {
	defer s.release()
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(s.listener) })
	wg.Go(s.keepLease)
	s.loop(ctx, terminate)
	s.mu.Lock()
	s.killAll() // descendants that outlived the main process
	s.mu.Unlock()
	s.reapAll()
	exit := s.exit()
	err := s.writeExit(exit)
	if err != nil {
		s.log.Error("exit not recorded; the engine will report an unknown one", "workload", s.name(), "err", err)
	}
	shutdown, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = server.Shutdown(shutdown) // answers what was asked of the run before it ended
	_ = server.Close()
	s.alarm.close()
	wg.Wait()
	return err
}

// exit describes how the main process ended.
func (s *shim) exit() forestall.Exit {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := forestall.Exit{Time: s.endedAt, Code: s.status.ExitStatus()}
	if s.status.Signaled() {
		e.Code, e.Signal = -1, s.status.Signal()
	}
	switch {
	case s.expired:
		e.Expected, e.Reason = true, "lease expired"
	case s.stop != nil:
		e.Expected, e.Reason = s.stop.expected, s.stop.reason
	}
	return e
}
