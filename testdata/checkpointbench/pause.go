package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/checkpoint/live"
)

// dirtying calls step a hundred times a second until stop is called.
func (b *bench) dirtying(step func(*generator) error) (stop func() error) {
	ctx, cancel := context.WithCancel(b.ctx)
	done := make(chan error, 1)
	go func() {
		gen := newGenerator(7)
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				done <- nil
				return
			case <-ticker.C:
				if err := step(gen); err != nil {
					done <- err
					return
				}
			}
		}
	}()
	return func() error {
		cancel()
		return <-done
	}
}

// pause takes increments while the memory is being written to, 1 % of the
// pages a second besides the 1 % that changed before.
func (b *bench) pause() error {
	t, err := b.track("", false, nil)
	if err != nil {
		return err
	}
	defer t.end()
	if _, err := t.Create(b.ctx, ""); err != nil {
		return err
	}
	n := 100
	if b.short {
		n = 10
	}
	pages := len(b.mem) / pageSize
	stop := b.dirtying(func(g *generator) error {
		t.mu.Lock()
		defer t.mu.Unlock()
		g.dirty(b.mem, max(1, pages/10000))
		return nil
	})
	var pauses []time.Duration
	for range n {
		t.mu.Lock()
		b.gen.dirty(b.mem, pages/100)
		t.mu.Unlock()
		cp, err := t.Create(b.ctx, "")
		if err != nil {
			_ = stop()
			return err
		}
		pauses = append(pauses, cp.Pause)
	}
	if err := stop(); err != nil {
		return err
	}
	b.pauseRow("pause of an increment of a memory region", pauses)
	return b.intact(t)
}

func (b *bench) pauseRow(what string, pauses []time.Duration) {
	slices.Sort(pauses)
	p99 := pauses[(len(pauses)*99+99)/100-1]
	b.add(fmt.Sprintf("%s, 1 %% dirty, being written to, %d times", what, len(pauses)),
		fmt.Sprintf("p50 %s, p99 %s, most %s", seconds(middleOf(pauses)), seconds(p99), seconds(pauses[len(pauses)-1])), "",
		bar{"p99 < 50 ms", p99 < 50*time.Millisecond})
}

// pauseDirectory has the engine's manager take checkpoints of a workload whose
// state is a directory: 1 % of the pages are changed in place before each, and
// the workload goes on changing 1 % a second until it is held.
func (b *bench) pauseDirectory() error {
	if err := os.RemoveAll(b.source); err != nil {
		return err
	}
	if err := writeState(b.source, b.mem); err != nil {
		return err
	}
	d, err := b.open("store-manager", false)
	if err != nil {
		return err
	}
	defer os.RemoveAll(d.Path())
	defer func() { _ = d.Close() }()
	w := &held{hold: make(chan struct{}, 1)}
	m, err := b.manager(d, w)
	if err != nil {
		return err
	}
	if _, err := m.Create(b.ctx, checkpoint.Request{Workload: "bench"}); err != nil {
		return err
	}
	n := 20
	if b.short {
		n = 3
	}
	pages := len(b.mem) / pageSize
	write := func(g *generator, n int) error {
		w.hold <- struct{}{}
		defer func() { <-w.hold }()
		return writePages(b.source, b.mem, g.dirty(b.mem, n))
	}
	stop := b.dirtying(func(g *generator) error { return write(g, max(1, pages/10000)) })
	var pauses, whole []time.Duration
	for range n {
		if err = write(b.gen, pages/100); err != nil {
			break
		}
		var cp forestall.Checkpoint
		if cp, err = m.Create(b.ctx, checkpoint.Request{Workload: "bench"}); err != nil {
			break
		}
		pauses, whole = append(pauses, cp.Pause), append(whole, cp.Took)
	}
	if serr := stop(); err == nil {
		err = serr
	}
	if err != nil {
		return err
	}
	b.pauseRow(fmt.Sprintf("pause of a directory workload through Manager.Create (each took %s)", seconds(middleOf(whole))), pauses)
	cp, err := m.Create(b.ctx, checkpoint.Request{Workload: "bench"})
	if err != nil {
		return err
	}
	into := filepath.Join(b.work, "restored")
	defer os.RemoveAll(into)
	if err := d.Restore(b.ctx, cp.ID, into); err != nil {
		return err
	}
	return sameFiles(b.source, into)
}

// held is a workload that stands still while its hold is taken.
type held struct{ hold chan struct{} }

func (h *held) quiesce(ctx context.Context, _ string, _ bool) (func() time.Duration, error) {
	select {
	case h.hold <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	began := time.Now()
	return func() time.Duration {
		<-h.hold
		return time.Since(began)
	}, nil
}

// manager is the engine's, on a node without a cluster.
func (b *bench) manager(d *checkpoint.Dir, w *held) (*checkpoint.Manager, error) {
	cfg := checkpoint.DefaultReplicatorConfig()
	cfg.Self, cfg.Factor, cfg.ClusterSize = checkpoint.Peer{Name: "bench"}, 1, func() int { return 1 }
	r, err := checkpoint.NewReplicator(d, cfg, func() []checkpoint.Peer { return nil })
	if err != nil {
		return nil, err
	}
	return checkpoint.NewManager(d, r, checkpoint.DefaultManagerConfig(), checkpoint.Hooks{
		Targets: func() []checkpoint.Target {
			return []checkpoint.Target{{Workload: "bench", Epoch: 1, StateDir: b.source}}
		},
		Quiesce: w.quiesce,
		Commit:  func(context.Context, forestall.Checkpoint) error { return nil },
	})
}

// overhead lets the manager of a memory region run by itself, faster than it
// would, and counts the processor time of a checkpoint, retention and the
// faults of the writes to watched pages included.
func (b *bench) overhead() error {
	const every = 2 * time.Second
	t, err := b.track("", false, func(c *live.Config) { c.Pace.Longest, c.Pace.Shortest = every, 0 })
	if err != nil {
		return err
	}
	defer t.end()
	n := 10
	if b.short {
		n = 2
	}
	if _, err := t.Create(b.ctx, ""); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(b.ctx)
	done := make(chan error, 1)
	started := cpuTime()
	go func() { done <- t.Run(ctx) }()
	var making time.Duration // of the content that is then written
	fresh := make([]byte, len(b.mem)/pageSize/100*pageSize)
	begun, _ := t.Last()
	last := begun
	for last.Sequence < begun.Sequence+uint64(n) {
		before := cpuTime()
		for i := 0; i < len(fresh); i += pageSize {
			b.gen.page(fresh[i:i+pageSize], i/pageSize)
		}
		all := b.gen.rng.Perm(len(b.mem) / pageSize)
		making += cpuTime() - before
		t.mu.Lock()
		for i := 0; i < len(fresh); i += pageSize {
			copy(b.mem[all[i/pageSize]*pageSize:], fresh[i:i+pageSize])
		}
		t.mu.Unlock()
		if last, err = t.after(ctx, last, 10*every); err != nil {
			break
		}
	}
	cancel()
	if rerr := <-done; err == nil {
		err = rerr
	}
	if err != nil {
		return err
	}
	mean := (cpuTime() - started - making) / time.Duration(n)
	share := mean.Seconds() / 300
	b.add(fmt.Sprintf("processor time of an increment, 1 %% dirty, every 5 minutes, mean of %d", n), fmt.Sprintf("%s, %.3f %% of one core", seconds(mean), 100*share), "",
		bar{"< 1 % of one core", share < 0.01})
	return nil
}

// after waits for a checkpoint that follows cp.
func (t *tracked) after(ctx context.Context, cp forestall.Checkpoint, most time.Duration) (forestall.Checkpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		if last, _ := t.Last(); last.ID != cp.ID {
			return last, nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return cp, fmt.Errorf("no checkpoint came by itself: %w", ctx.Err())
		}
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
