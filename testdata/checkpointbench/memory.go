package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/checkpoint/delta"
	"github.com/stratoswarm/forestall/checkpoint/live"
)

// tracked is the memory under a manager with its own store.
type tracked struct {
	*live.Manager
	store *checkpoint.Dir
	mu    sync.Mutex // held while the memory stands still
}

func (b *bench) track(method delta.Method) (*tracked, error) {
	region, err := delta.OpenMemory(b.mem, delta.Options{Method: method})
	if err != nil {
		return nil, err
	}
	t := &tracked{}
	if t.store, err = b.open("store-" + string(method)); err != nil {
		return nil, err
	}
	cfg := live.DefaultConfig("memory")
	cfg.Hold = func(context.Context) (func(), error) {
		t.mu.Lock()
		return t.mu.Unlock, nil
	}
	if t.Manager, err = live.NewManager(t.store, cfg); err != nil {
		return nil, err
	}
	return t, t.Region("memory", region)
}

func (t *tracked) end() {
	_ = errors.Join(t.Close(), t.store.Close())
	os.RemoveAll(t.store.Path())
}

// kernel returns the cheapest method that asks the kernel, and why there is none.
func kernel() (method delta.Method, why string) {
	for _, f := range delta.Probe() {
		if f.Method == delta.Hash {
			continue
		}
		if f.Err == nil {
			return f.Method, ""
		}
		why += fmt.Sprintf("%s: %v; ", f.Method, f.Err)
	}
	return "", why
}

// floor is what the changed pages come to when only they are compressed.
func (b *bench) floor(pages []int) (int64, error) {
	var text []byte
	var n int64
	for _, p := range pages {
		if p%2 == 0 {
			n += pageSize
			continue
		}
		text = append(text, b.mem[p*pageSize:(p+1)*pageSize]...)
	}
	_, packed, err := b.compress(text)
	return n + packed, err
}

// memory takes increments of a memory region, with each way of finding what changed.
func (b *bench) memory() error {
	method, why := kernel()
	for _, m := range []delta.Method{method, delta.Hash} {
		if m == "" {
			b.add("memory region, kernel's bits", "not on this kernel: "+why, nil)
			continue
		}
		if err := b.increments(m); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) increments(m delta.Method) error {
	t, err := b.track(m)
	if err != nil {
		return err
	}
	defer t.end()
	first, err := b.create(t)
	if err != nil {
		return err
	}
	b.add(fmt.Sprintf("full, memory region (%s)", m), result{"forestall", first.took, first.added, false}.String(), nil)
	var nothing result // the best of three, as of the hash itself
	for i := range 3 {
		r, err := b.create(t)
		if err != nil {
			return err
		}
		if i == 0 || r.took < nothing.took {
			nothing = r
		}
	}
	var limit bar
	if m == delta.Hash {
		speed := b.hashing()
		limit = bar{fmt.Sprintf("%.2fx of the hash's own %s (<= 1.2)", float64(nothing.took)/float64(speed), seconds(speed)), float64(nothing.took) <= 1.2*float64(speed)}
	} else {
		most := time.Duration(50 * b.scale * float64(time.Millisecond))
		limit = bar{"<= " + seconds(most), nothing.took <= most}
	}
	b.add(fmt.Sprintf("nothing changed, memory region (%s)", m), result{"forestall", nothing.took, nothing.added, false}.String(), nil, limit)

	// The best of three: each changes other pages.
	var best result
	var floor int64
	for i := range 3 {
		pages := b.gen.dirty(b.mem, len(b.mem)/pageSize/100)
		r, err := b.create(t)
		if err != nil {
			return err
		}
		if i == 0 || r.took < best.took {
			best = r
			if floor, err = b.floor(pages); err != nil {
				return err
			}
		}
	}
	bars := append(fasterThan(best.took, b.pagePeers, "restic", 10), fasterThan(best.took, b.pagePeers, "borg", 10)...)
	for _, p := range b.pagePeers {
		if p.isBest {
			bars = append(bars, fasterThan(best.took, b.pagePeers, p.name, 1)...)
		}
	}
	ratio := float64(best.added) / float64(floor)
	bars = append(bars, bar{fmt.Sprintf("added %.2fx of the compressed pages, %s (<= 1.5)", ratio, mb(floor)), ratio <= 1.5})
	b.add(fmt.Sprintf("1 %% of the pages changed, memory region (%s), detection included", m), result{"forestall", best.took, best.added, false}.String(), b.pagePeers, bars...)
	return nil
}

// create takes a checkpoint; the bytes are what the store grew by, manifest included.
func (b *bench) create(t *tracked) (result, error) {
	before := treeSize(t.store.Path())
	began := begin()
	cp, err := t.Create(b.ctx, "")
	r := result{"forestall", time.Since(began), treeSize(t.store.Path()) - before, false}
	if err == nil && cp.Size != b.size {
		err = fmt.Errorf("checkpoint of %d bytes, the memory has %d", cp.Size, b.size)
	}
	return r, err
}

// hashing is the hash's own speed: every page once, on all workers.
func (b *bench) hashing() time.Duration {
	var least time.Duration
	for i := range 3 {
		began := time.Now()
		var wg sync.WaitGroup
		part := (len(b.mem)/b.workers + pageSize - 1) / pageSize * pageSize
		for piece := range slices.Chunk(b.mem, part) {
			wg.Go(func() {
				for page := range slices.Chunk(piece, pageSize) {
					sink := xxh3.Hash128(page)
					_ = sink
				}
			})
		}
		wg.Wait()
		if took := time.Since(began); i == 0 || took < least {
			least = took
		}
	}
	return least
}

// pause takes increments while the memory is being written to.
func (b *bench) pause() error {
	t, err := b.track("")
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
	ctx, cancel := context.WithCancel(b.ctx)
	writer := make(chan struct{})
	pages := len(b.mem) / pageSize
	go func() { // 1 % of the pages a second
		defer close(writer)
		gen := newGenerator(7)
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				t.mu.Lock()
				gen.dirty(b.mem, max(1, pages/10000))
				t.mu.Unlock()
			}
		}
	}()
	var pauses []time.Duration
	var cp forestall.Checkpoint
	for range n {
		t.mu.Lock()
		b.gen.dirty(b.mem, pages/100)
		t.mu.Unlock()
		if cp, err = t.Create(b.ctx, ""); err != nil {
			break
		}
		pauses = append(pauses, cp.Pause)
	}
	cancel()
	<-writer
	if err != nil {
		return err
	}
	slices.Sort(pauses)
	p99 := pauses[(len(pauses)*99+99)/100-1]
	b.add(fmt.Sprintf("pause of an increment, 1 %% dirty, being written to, %d times", n),
		fmt.Sprintf("p50 %s, p99 %s, most %s", seconds(pauses[len(pauses)/2]), seconds(p99), seconds(pauses[len(pauses)-1])), nil,
		bar{"p99 < 50 ms", p99 < 50*time.Millisecond})
	return b.intact(t, cp)
}

// intact compares the newest checkpoint with the memory, byte by byte, once
// nobody writes to it any more.
func (b *bench) intact(t *tracked, _ forestall.Checkpoint) error {
	cp, err := t.Create(b.ctx, "")
	if err != nil {
		return err
	}
	var back inMemory = make([]byte, b.size)
	if _, err := t.store.ReadFile(b.ctx, cp.ID, "memory", back); err != nil {
		return err
	}
	if !bytes.Equal(back, b.mem) {
		return fmt.Errorf("checkpoint %.12s is not what the memory holds", cp.ID)
	}
	return nil
}

type inMemory []byte

func (m inMemory) WriteAt(b []byte, at int64) (int, error) { return copy(m[at:], b), nil }

// overhead is the processor time of an increment, over five minutes.
func (b *bench) overhead() error {
	t, err := b.track("")
	if err != nil {
		return err
	}
	defer t.end()
	if _, err := t.Create(b.ctx, ""); err != nil {
		return err
	}
	var least time.Duration
	for i := range 5 {
		b.gen.dirty(b.mem, len(b.mem)/pageSize/100)
		before := cpuTime()
		if _, err := t.Create(b.ctx, ""); err != nil {
			return err
		}
		if used := cpuTime() - before; i == 0 || used < least {
			least = used
		}
	}
	share := least.Seconds() / 300
	b.add("processor time of an increment, 1 % dirty, every 5 minutes", fmt.Sprintf("%s, %.3f %% of one core", seconds(least), 100*share), nil,
		bar{"< 1 % of one core", share < 0.01})
	return nil
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
