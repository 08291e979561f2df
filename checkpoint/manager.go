package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
)

// Target is a workload that runs on this node.
type Target struct {
	Workload string
	Epoch    forestall.Epoch
	StateDir string
	Interval time.Duration // between automatic checkpoints; 0: ManagerConfig.Interval
	Sequence uint64        // of the newest checkpoint that counts; 0: none
	Level    int           // of compression, as in Snapshot
}

// Hooks is what the manager asks of the engine. All may be called from several
// goroutines at once, for one workload from one at a time.
type Hooks struct {
	// Targets returns what runs on this node now.
	Targets func() []Target
	// Quiesce makes the workload write its state down and stand still. release
	// lets it go on and returns how long it stood still; after a final
	// checkpoint has counted it is not called.
	Quiesce func(ctx context.Context, workload string, final bool) (release func() time.Duration, err error)
	// Commit makes the checkpoint the workload's head. One that it refuses does
	// not count.
	Commit func(ctx context.Context, cp forestall.Checkpoint) error
	// Keep reports whether retention must leave a checkpoint: a ledger's head,
	// say. nil: none but the newest of each workload and pinned ones.
	Keep func(forestall.Checkpoint) bool
	// FailureRate says how often the workload fails, for ManagerConfig.Shortest;
	// nil: unknown.
	FailureRate func(workload string) FailureRate
}

// ManagerConfig says when checkpoints are taken and how long they are kept.
type ManagerConfig struct {
	Interval  time.Duration  // between a workload's checkpoints where its target has none; never exceeded
	Shortest  time.Duration  // between them where failing often and checkpoints that cost little make more of them pay ([Pace]); 0: always the interval
	Share     float64        // of the machine that a checkpoint uses while the workload goes on, for Shortest
	Retention time.Duration  // checkpoints older than this are dropped, unless a tier keeps them
	Tiers     []Tier         // see [Retention]
	MaxBytes  int64          // see [Retention]; 0: no limit
	Scrub     time.Duration  // every chunk is verified once in as long, a share at each Sweep; 0: never
	Sweep     time.Duration  // between two applications of the retention
	Timeout   time.Duration  // of one automatic checkpoint
	Parallel  int            // automatic checkpoints at once
	Jitter    func() float64 // in [0,1): spreads the workloads' checkpoints
	Now       func() time.Time
	Logger    *slog.Logger
	Metrics   *Metrics // nil: none are kept
}

// DefaultManagerConfig returns a checkpoint every 5 minutes, kept for 7 days, and
// a store that is verified every 30.
func DefaultManagerConfig() ManagerConfig {
	return ManagerConfig{
		Interval:  5 * time.Minute,
		Share:     0.5,
		Retention: 7 * 24 * time.Hour,
		Scrub:     30 * 24 * time.Hour,
		Sweep:     time.Hour,
		Timeout:   10 * time.Minute,
		Parallel:  2,
		Jitter:    rand.Float64,
		Now:       time.Now,
		Logger:    slog.New(slog.DiscardHandler),
	}
}

// Validate names the first field that cannot work and what it may be.
func (c ManagerConfig) Validate() error {
	switch {
	case c.Interval <= 0:
		return fmt.Errorf("checkpoint_interval %v must be positive", c.Interval)
	case c.Shortest < 0 || c.Shortest > c.Interval:
		return fmt.Errorf("shortest checkpoint interval %v is not within 0 and checkpoint_interval %v", c.Shortest, c.Interval)
	case !(c.Share >= 0 && c.Share <= 1):
		return fmt.Errorf("checkpoint manager: Share %v is not within 0 and 1", c.Share)
	case Retention{c.Retention, c.Tiers, c.MaxBytes}.Validate() != nil:
		return Retention{c.Retention, c.Tiers, c.MaxBytes}.Validate()
	case c.Scrub < 0 || c.Scrub > 0 && c.Scrub < c.Sweep:
		return fmt.Errorf("checkpoint manager: Scrub %v is neither 0 nor at least Sweep %v", c.Scrub, c.Sweep)
	case c.Sweep <= 0 || c.Timeout <= 0:
		return fmt.Errorf("checkpoint manager: Sweep %v and Timeout %v must be positive", c.Sweep, c.Timeout)
	case c.Parallel < 1:
		return fmt.Errorf("checkpoint manager: Parallel %d: at least 1 is needed", c.Parallel)
	case c.Jitter == nil || c.Now == nil || c.Logger == nil:
		return errors.New("checkpoint manager: Jitter, Now or Logger is nil; DefaultManagerConfig has them")
	}
	return nil
}

// Manager takes this node's checkpoints: on request, and by itself when one
// falls due. Its methods may be called at once from any goroutine.
type Manager struct {
	store *Dir
	repl  *Replicator
	cfg   ManagerConfig
	hooks Hooks
	busy  keyed // by workload

	mu    sync.Mutex
	costs map[string]time.Duration // of each workload's last checkpoint
}

// NewManager returns a manager that saves into d and pushes with r.
func NewManager(d *Dir, r *Replicator, cfg ManagerConfig, hooks Hooks) (*Manager, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if hooks.Targets == nil || hooks.Quiesce == nil || hooks.Commit == nil {
		return nil, errors.New("checkpoint manager: hooks Targets, Quiesce and Commit are all needed")
	}
	if hooks.FailureRate == nil {
		hooks.FailureRate = func(string) FailureRate { return FailureRate{} }
	}
	return &Manager{store: d, repl: r, cfg: cfg, hooks: hooks, costs: make(map[string]time.Duration)}, nil
}

// Request asks for a checkpoint.
type Request struct {
	Workload string
	Label    string
	Final    bool // the workload is left standing still
	Verify   bool // as in [Snapshot], on this node
}

// Create takes a checkpoint of a workload that runs on this node and returns
// once it counts: copy what has changed, quiesce, copy what has changed since, let
// go on, save, push, commit. After a final one the workload is left standing still; when a final one fails it goes on.
// One at a time per workload, further calls wait. Errors are those of Quiesce,
// [Dir.Save], [Replicator.Push] and Commit; a checkpoint that did not count may
// be left in the local store, where retention finds it.
func (m *Manager) Create(ctx context.Context, r Request) (forestall.Checkpoint, error) {
	began := m.cfg.Now()
	unlock, err := m.busy.lock(ctx, r.Workload)
	if err != nil {
		return forestall.Checkpoint{}, fmt.Errorf("checkpoint %s: another one is under way: %w", r.Workload, err)
	}
	defer unlock()
	cp, step, err := m.create(ctx, r, began)
	m.cfg.Metrics.created(r.Workload, step, cp)
	if err != nil {
		return forestall.Checkpoint{}, fmt.Errorf("checkpoint %s: %s: %w", r.Workload, step, err)
	}
	m.paid(cp)
	if n := cp.LeftOut.Count; n > 0 {
		m.cfg.Logger.Info("sockets, pipes and devices are not in the checkpoint", "workload", r.Workload, "left_out", n, "first", cp.LeftOut.First)
	}
	m.cfg.Logger.Debug("checkpoint", "workload", r.Workload, "id", cp.ID, "epoch", cp.Epoch, "sequence", cp.Sequence,
		"size", cp.Size, "added", cp.Added, "pause", cp.Pause, "took", cp.Took, "replicas", cp.Replicas)
	return cp, nil
}

// The steps of a checkpoint, which are also the results that are counted.
const (
	stepOK      = "ok"
	stepTarget  = "target"
	stepQuiesce = "quiesce"
	stepSave    = "save"
	stepPush    = "push"
	stepCommit  = "commit"
)

func (m *Manager) create(ctx context.Context, r Request, began time.Time) (cp forestall.Checkpoint, step string, err error) {
	t, err := m.target(r.Workload)
	if err != nil {
		return cp, stepTarget, err
	}
	staged, err := m.store.Precopy(ctx, m.snapshot(t, r))
	if err != nil {
		return cp, stepSave, err
	}
	defer staged.Discard()
	release, err := m.hooks.Quiesce(ctx, r.Workload, r.Final)
	if err != nil {
		return cp, stepQuiesce, err
	}
	still := m.cfg.Now()
	counted := false
	if r.Final {
		defer func() {
			if !counted {
				release()
			}
		}()
	}
	var pause time.Duration
	err = staged.Freeze(ctx, still)
	if !r.Final {
		pause = release()
	}
	if err != nil {
		return cp, stepSave, err
	}
	if cp, err = staged.Save(ctx, pause); err != nil {
		return cp, stepSave, err
	}
	if cp.Replicas, err = m.repl.Push(ctx, cp.ID); err != nil {
		return cp, stepPush, err
	}
	measure := func() {
		now := m.cfg.Now()
		cp.Took = now.Sub(began)
		if r.Final {
			cp.Pause = now.Sub(still)
		}
	}
	measure()
	agreed := cp
	agreed.LeftOut.First = nil // the manifest has the names
	if err := m.hooks.Commit(ctx, agreed); err != nil {
		return cp, stepCommit, err
	}
	counted = true
	measure()
	return cp, stepOK, nil
}

func (m *Manager) target(workload string) (Target, error) {
	for _, t := range m.hooks.Targets() {
		if t.Workload == workload {
			return t, nil
		}
	}
	return Target{}, fmt.Errorf("it does not run on this node")
}

// snapshot says what to save of a target.
func (m *Manager) snapshot(t Target, r Request) Snapshot {
	newest, _ := m.store.newest(t.Workload)
	return Snapshot{
		Workload: t.Workload,
		Epoch:    t.Epoch,
		Sequence: max(newest.Sequence, t.Sequence) + 1,
		Label:    r.Label,
		Source:   t.StateDir,
		Level:    t.Level,
		Verify:   r.Verify,
	}
}
