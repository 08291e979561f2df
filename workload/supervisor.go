package workload

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratoswarm/forestall"
)

// Config is what a Supervisor is made of.
type Config struct {
	Dir        string                // absolute; holds one run directory for each workload
	Node       string                // this node's name, for workloads' environment
	Shim       []string              // argv before "--dir RUNDIR", absolute: {"/usr/bin/forestall", "shim"}
	Logger     *slog.Logger          // nil: none
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time      // stamps exits that no shim saw; nil: time.Now
}

// Validate names the first field that cannot work.
func (c Config) Validate() error {
	switch {
	case !filepath.IsAbs(c.Dir):
		return fmt.Errorf("workload supervisor: Dir %q is not an absolute path", c.Dir)
	case len(c.Shim) == 0 || !filepath.IsAbs(c.Shim[0]):
		return fmt.Errorf("workload supervisor: Shim %q does not begin with the absolute path of a program", c.Shim)
	}
	return nil
}

// Supervisor starts, finds and stops the runs of this node. Its methods may be
// called from several goroutines; those that change the same workload wait for
// each other.
type Supervisor struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	boot    string
	exits   chan Exited
	more    chan struct{} // wakes Run: pending has grown
	quit    chan struct{} // closed at the end of Run
	grace   time.Duration // leaseGrace, but where a test asks what a shim does and not how fast

	mu      sync.Mutex
	slots   map[string]*slot
	pending []Exited // not yet taken from exits
	adopted bool
	closed  bool
	watches sync.WaitGroup
}

// slot is one workload on this node.
type slot struct {
	dir runDir
	op  chan struct{} // capacity 1: held by whoever changes the workload

	// Guarded by Supervisor.mu.
	run     *run  // nil: nothing lives
	refused error // why it can't be taken over; nothing starts until it is nil
}

// run is one life of a workload. The fields after alarm are guarded by
// Supervisor.mu.
type run struct {
	launch Launch
	shim   shimRecord
	over   chan struct{} // closed once no process is left
	alarm  *alarm        // when to look whether the shim keeps the lease

	deadline Deadline // as last renewed
	frozen   bool
	stopping bool
	reason   string // of a stop that this supervisor asked for
}

// NewSupervisor makes the run directory. Call Adopt before anything else, and
// Run for as long as the supervisor is used.
func NewSupervisor(cfg Config) (*Supervisor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the directory of runs: %w", err)
	}
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, fmt.Errorf("register the workload metrics: %w", err)
	}
	return &Supervisor{
		cfg: cfg, log: cfg.Logger, metrics: m, boot: boot,
		exits: make(chan Exited),
		more:  make(chan struct{}, 1),
		quit:  make(chan struct{}),
		slots: make(map[string]*slot),
		grace: leaseGrace,
	}, nil
}

// Run hands out exits and takes over what Adopt could not, until ctx ends. The
// workloads then go on under their shims, and the next supervisor on the same
// directory adopts them. It returns nil once everything that the supervisor
// started in this process has ended.
func (s *Supervisor) Run(ctx context.Context) error {
	defer s.close()
	var retries sync.WaitGroup
	defer retries.Wait()
	retries.Go(func() { s.retryRefused(ctx) })
	for {
		e, ok := s.nextExit()
		if !ok {
			select {
			case <-s.more:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		select {
		case s.exits <- e:
			s.dropExit()
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Supervisor) close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.quit)
	}
	s.mu.Unlock()
	s.watches.Wait()
}

// Exits delivers the end of every run, stopped ones included, while Run runs.
// An exit that was not acknowledged is delivered again by the next supervisor;
// a later run of the workload acknowledges it too.
func (s *Supervisor) Exits() <-chan Exited { return s.exits }

// Acknowledge notes, durably, that the exits of the workload up to that epoch
// need not be delivered again.
func (s *Supervisor) Acknowledge(workload string, epoch forestall.Epoch) error {
	sl, err := s.slot(workload)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return sl.dir.acknowledge(epoch)
}

func (s *Supervisor) nextExit() (Exited, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) == 0 {
		return Exited{}, false
	}
	return s.pending[0], true
}

func (s *Supervisor) dropExit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = s.pending[1:]
}

// addExit queues an exit for Run; the caller holds mu.
func (s *Supervisor) addExit(e Exited) {
	s.pending = append(s.pending, e)
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// Floor returns the highest epoch that may no longer start here, 0 if none
// was ever started or refused. A floor that can't be read is the highest there
// is: nothing starts.
func (s *Supervisor) Floor(workload string) forestall.Epoch {
	sl, err := s.slot(workload)
	if err != nil {
		return math.MaxUint64
	}
	floor, err := sl.dir.floor()
	if err != nil {
		s.log.Error("floor not read", "workload", workload, "err", err)
		return math.MaxUint64
	}
	return floor.Floor
}

// RaiseFloor makes sure, durably, that no epoch up to e is started here any
// more. What runs, or is about to because its shim has seen the old floor, goes
// on; Stop ends that too.
func (s *Supervisor) RaiseFloor(workload string, e forestall.Epoch) error {
	sl, err := s.slot(workload)
	if err != nil {
		return err
	}
	if err := s.begin(context.Background(), sl); err != nil {
		return err
	}
	defer s.end(sl)
	return sl.dir.markStopped(e)
}

// slot returns the workload's, making its run directory if need be.
func (s *Supervisor) slot(workload string) (*slot, error) {
	if err := forestall.CheckName(workload); err != nil {
		return nil, fmt.Errorf("workload: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if sl := s.slots[workload]; sl != nil {
		return sl, nil
	}
	sl := &slot{dir: runDir(filepath.Join(s.cfg.Dir, workload)), op: make(chan struct{}, 1)}
	if err := os.Mkdir(string(sl.dir), 0o700); err == nil {
		err = syncDir(s.cfg.Dir)
		if err != nil {
			return nil, fmt.Errorf("create the run directory: %w", err)
		}
	} else if !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("create the run directory: %w", err)
	}
	s.slots[workload] = sl
	return sl, nil
}

// begin makes the caller the only one to change the workload, until end.
func (s *Supervisor) begin(ctx context.Context, sl *slot) error {
	s.mu.Lock()
	adopted, closed := s.adopted, s.closed
	s.mu.Unlock()
	switch {
	case !adopted:
		return errors.New("workload supervisor: call Adopt before it is used")
	case closed:
		return ErrClosed
	}
	select {
	case sl.op <- struct{}{}:
		return nil
	case <-s.quit:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("wait for an earlier start or stop: %w", ctx.Err())
	}
}

func (s *Supervisor) end(sl *slot) { <-sl.op }

// current returns the live run of a slot, nil if there is none.
func (s *Supervisor) current(sl *slot) *run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sl.run
}

// Status is what is known of a live run.
type Status struct {
	Launch             // Deadline as last renewed
	PID      int       // of the workload's first process, which is also its process group
	ShimPID  int       //
	Started  time.Time //
	Frozen   bool
	Stopping bool
}

// List returns the live runs by name. It asks neither the shims nor the kernel.
func (s *Supervisor) List() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Status
	for _, sl := range s.slots {
		if r := sl.run; r != nil {
			list = append(list, r.status())
		}
	}
	slices.SortFunc(list, func(a, b Status) int { return strings.Compare(a.Workload.Name, b.Workload.Name) })
	return list
}

func (r *run) status() Status {
	st := Status{
		Launch: r.launch, PID: r.shim.Main.PID, ShimPID: r.shim.Shim.PID, Started: r.shim.Started,
		Frozen: r.frozen, Stopping: r.stopping,
	}
	st.Deadline = r.deadline
	return st
}
