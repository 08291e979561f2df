package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stratoswarm/forestall"
)

// fakeEngine is the hooks of a workload that stands still for 20 ms.
type fakeEngine struct {
	mu        sync.Mutex
	targets   []Target
	commitErr error
	quiesce   error
	committed []forestall.Checkpoint
	still     bool
	finals    int
}

func (e *fakeEngine) hooks() Hooks {
	return Hooks{
		Targets: func() []Target {
			e.mu.Lock()
			defer e.mu.Unlock()
			return slices.Clone(e.targets)
		},
		Quiesce: func(_ context.Context, _ string, final bool) (func() time.Duration, error) {
			e.mu.Lock()
			defer e.mu.Unlock()
			if e.quiesce != nil {
				return nil, e.quiesce
			}
			e.still = true
			if final {
				e.finals++
			}
			return func() time.Duration {
				e.mu.Lock()
				defer e.mu.Unlock()
				e.still = false
				return 20 * time.Millisecond
			}, nil
		},
		Commit: func(_ context.Context, cp forestall.Checkpoint) error {
			e.mu.Lock()
			defer e.mu.Unlock()
			if e.commitErr != nil {
				return e.commitErr
			}
			e.committed = append(e.committed, cp)
			return nil
		},
	}
}

func newManager(t *testing.T, e *fakeEngine, m *Metrics) *Manager {
	t.Helper()
	opt := small()
	opt.Now = time.Now
	d := openDir(t, opt)
	rc := DefaultReplicatorConfig()
	rc.Self, rc.ClusterSize, rc.Metrics = Peer{Name: "n1"}, func() int { return 1 }, m
	r := must[*Replicator](t)(NewReplicator(d, rc, func() []Peer { return nil }))
	cfg := DefaultManagerConfig()
	cfg.Retention, cfg.Metrics = 24*time.Hour, m
	cfg.Jitter = func() float64 { return 0.5 }
	return must[*Manager](t)(NewManager(d, r, cfg, e.hooks()))
}

func TestCreate(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	metrics := must[*Metrics](t)(NewMetrics(reg, time.Now))
	e := &fakeEngine{targets: []Target{{Workload: "w", Epoch: 3, StateDir: state(t), Sequence: 41}}}
	m := newManager(t, e, metrics)
	cp := must[forestall.Checkpoint](t)(m.Create(t.Context(), Request{Workload: "w", Label: "mine"}))
	if cp.Sequence != 42 || cp.Epoch != 3 || cp.Label != "mine" || cp.Pause != 20*time.Millisecond || cp.Took <= 0 || !slices.Equal(cp.Replicas, []string{"n1"}) {
		t.Errorf("checkpoint %+v", cp)
	}
	if e.still || len(e.committed) != 1 || e.committed[0].ID != cp.ID {
		t.Errorf("still %v, committed %v", e.still, e.committed)
	}
	if got := must[forestall.Checkpoint](t)(m.store.Get(cp.ID)); got.Pause != cp.Pause {
		t.Errorf("the manifest says pause %v", got.Pause)
	}

	last := must[forestall.Checkpoint](t)(m.Create(t.Context(), Request{Workload: "w", Final: true}))
	if !e.still || e.finals != 1 || last.Sequence != 43 || last.Pause <= 0 {
		t.Errorf("after a final checkpoint: still %v, %+v", e.still, last)
	}
	for name, want := range map[string]float64{
		"fault_tolerance_checkpoints_total":                  2,
		"fault_tolerance_checkpoint_duration_seconds":        2,
		"fault_tolerance_checkpoint_pause_seconds":           2,
		"fault_tolerance_checkpoint_added_bytes_total":       float64(cp.Added + last.Added),
		"fault_tolerance_checkpoint_under_replicated":        2,
		"fault_tolerance_checkpoint_replication_lag_seconds": 0,
	} {
		if got := gathered(t, reg, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

func TestCreateThatDoesNotCount(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		change func(e *fakeEngine)
		says   string
	}{
		"elsewhere": {func(e *fakeEngine) { e.targets = nil }, "does not run on this node"},
		"hook":      {func(e *fakeEngine) { e.quiesce = boom }, "quiesce: boom"},
		"no state":  {func(e *fakeEngine) { e.targets[0].StateDir = "/nonexistent" }, "save: "},
		"ledger":    {func(e *fakeEngine) { e.commitErr = boom }, "commit: boom"},
	} {
		for _, final := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				e := &fakeEngine{targets: []Target{{Workload: "w", Epoch: 3, StateDir: state(t)}}}
				m := newManager(t, e, nil)
				c.change(e)
				if _, err := m.Create(t.Context(), Request{Workload: "w", Final: final}); err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("error %v, want one saying %q", err, c.says)
				}
				if e.still {
					t.Error("the workload was left standing still")
				}
			})
		}
	}
}

func TestCreateOneAtATime(t *testing.T) {
	t.Parallel()
	e := &fakeEngine{targets: []Target{{Workload: "w", Epoch: 3, StateDir: state(t)}}}
	m := newManager(t, e, nil)
	unlock, err := m.busy.lock(t.Context(), "w")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Create(ctx, Request{Workload: "w"}); !errors.Is(err, context.Canceled) {
		t.Errorf("while another is under way: %v", err)
	}
	unlock()
	must[forestall.Checkpoint](t)(m.Create(t.Context(), Request{Workload: "w"}))
}

// TestRunKeepsTheInterval runs a day of a workload in virtual time.
func TestRunKeepsTheInterval(t *testing.T) {
	t.Parallel()
	src := state(t)
	synctest.Test(t, func(t *testing.T) {
		e := &fakeEngine{targets: []Target{{Workload: "w", Epoch: 3, StateDir: src, Interval: time.Hour}}}
		m := newManager(t, e, nil)
		m.cfg.Retention = 5 * time.Hour
		start := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		last := start
		for _, cp := range e.committed {
			if gap := cp.Time.Sub(last); gap > time.Hour {
				t.Errorf("%v between two checkpoints, want at most 1h", gap)
			}
			last = cp.Time
		}
		if n := len(e.committed); n < 24 || n > 27 {
			t.Errorf("%d checkpoints in a day, one per hour wanted", n)
		}
		held := must[[]forestall.Checkpoint](t)(m.store.List("w"))
		if n := len(held); n < 5 || n > 7 {
			t.Errorf("%d checkpoints held, want those of the last 5 h", n)
		}
		closeDir(t, m.store)
	})
}

// A checkpoint that costs little is taken oftener than the interval says, as
// often as the failure rate makes it pay.
func TestRunAdaptsTheInterval(t *testing.T) {
	t.Parallel()
	src := state(t)
	synctest.Test(t, func(t *testing.T) {
		e := &fakeEngine{targets: []Target{{Workload: "w", StateDir: src}}}
		m := newManager(t, e, nil)
		m.cfg.Shortest, m.cfg.Jitter = 10*time.Second, func() float64 { return 0 }
		m.hooks.FailureRate = func(string) FailureRate { return FailureRate{MTBF: 24 * time.Hour} }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		// Its cost is the pause of 20 ms: sqrt(2 * 0.02 s * 86,400 s) is 58.8 s.
		if n := len(e.committed); n < 10 || n > 11 {
			t.Errorf("%d checkpoints in 10 minutes, want one every 59 s", n)
		}
		closeDir(t, m.store)
	})
}

func TestScheduleAfterFailures(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	minute := func(Target) time.Duration { return time.Minute }
	s := schedule{every: minute, longest: minute, jitter: func() float64 { return 0 }, runs: map[string]*appointment{}}
	targets := []Target{{Workload: "w", Epoch: 1}}
	boom := errors.New("boom")
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		if len(s.due(now, targets)) != 1 || len(s.due(now, targets)) != 0 {
			t.Fatalf("attempt %d: due not exactly once", i)
		}
		s.ended(targets[0], now, now, now, boom)
		if got := s.runs["w"].due.Sub(now); got != want*time.Second {
			t.Errorf("after %d failures the next is in %v, want %v s", i+1, got, int(want))
		}
		now = s.runs["w"].due
	}
	s.due(now, targets)
	newer := []Target{{Workload: "w", Epoch: 2}}
	if len(s.due(now, newer)) != 0 {
		t.Error("a new run was due while the old one's checkpoint was under way")
	}
	s.ended(targets[0], now, now, now, nil)
	if len(s.due(now, newer)) != 1 {
		t.Error("the new run is not due")
	}
	s.ended(newer[0], now, now, now, nil)
	if s.due(now, nil); len(s.runs) != 0 {
		t.Error("a run that has gone is remembered")
	}
}

func TestManagerRemovesNothingItStages(t *testing.T) {
	t.Parallel()
	src := state(t)
	before := readTree(t, src)
	e := &fakeEngine{targets: []Target{{Workload: "w", Epoch: 3, StateDir: src}}}
	m := newManager(t, e, nil)
	must[forestall.Checkpoint](t)(m.Create(t.Context(), Request{Workload: "w"}))
	sameTree(t, before, readTree(t, src))
	if left := must[[]os.DirEntry](t)(os.ReadDir(filepath.Join(m.store.path, stageDir))); len(left) != 0 {
		t.Errorf("left in the stage: %v", left)
	}
}

// A manager sweeps soon after its start, however long Sweep is, and says when
// the store is too large to be verified in time.
func TestManagerSweepsSoonAfterItsStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		m := newManager(t, &fakeEngine{}, nil)
		m.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		src := t.TempDir()
		for i := range uint64(2) {
			writeFiles(t, src, map[string]string{"f": noise(i, 100<<10)})
			must[forestall.Checkpoint](t)(m.store.Save(t.Context(), Snapshot{Workload: "w", Source: src, Time: time.Now().Add(-48 * time.Hour)}))
		}
		m.store.opt.BackgroundRate, m.cfg.Scrub = 10, time.Hour
		m.store.pace.rate = 0
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		time.Sleep(firstSweep + time.Second)
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if left := must[[]forestall.Checkpoint](t)(m.store.List("w")); len(left) != 1 {
			t.Errorf("%d checkpoints are left, want the newest", len(left))
		}
		for _, want := range []string{"checkpoints_removed=1", "too large to be verified in time", "within=1h"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log lacks %q:\n%s", want, log.String())
			}
		}
	})
}

// A checkpoint counts only when it is pushed and committed. Never is more than
// the interval lost, however long that takes, and whatever else is under way.
func TestRunKeepsTheObjective(t *testing.T) {
	t.Parallel()
	src := state(t)
	synctest.Test(t, func(t *testing.T) {
		e := &fakeEngine{}
		for _, w := range []string{"a", "b", "c", "d"} { // of which two are saved at once
			e.targets = append(e.targets, Target{Workload: w, StateDir: src, Interval: 5 * time.Minute})
		}
		start := time.Now()
		state := map[string]time.Time{"a": start, "b": start, "c": start, "d": start}
		m := newManager(t, e, nil)
		var log bytes.Buffer
		m.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		m.cfg.Jitter = func() float64 { return 0 }
		slow, n, slack := 20*time.Second, 0, false
		var mu sync.Mutex
		m.hooks.Commit = func(ctx context.Context, cp forestall.Checkpoint) error {
			mu.Lock()
			takes := slow
			mu.Unlock()
			select {
			case <-time.After(takes):
			case <-ctx.Done():
				return ctx.Err()
			}
			mu.Lock()
			defer mu.Unlock()
			if lost := time.Since(state[cp.Workload]); lost > 5*time.Minute && !slack {
				t.Errorf("%s: %v of work would have been lost before checkpoint %d", cp.Workload, lost, cp.Sequence)
			}
			state[cp.Workload] = cp.Time
			n++
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		time.Sleep(2 * time.Hour)
		mu.Lock()
		if n < 4*24 || n > 4*30 {
			t.Errorf("%d checkpoints of 4 workloads in 2 h, want one per 5 minutes or a little more", n)
		}
		if strings.Contains(log.String(), "longer than") {
			t.Errorf("the log has:\n%s", log.String())
		}
		slow = 9 * time.Minute // longer than the interval: it cannot be kept, and that is said
		slack = true
		mu.Unlock()
		time.Sleep(12 * time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if !strings.Contains(log.String(), "longer than checkpoint_interval") || !strings.Contains(log.String(), "workload=a") {
			t.Errorf("the log has:\n%s", log.String())
		}
		closeDir(t, m.store)
	})
}
