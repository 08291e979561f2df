package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/zeebo/xxh3"

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

func (b *bench) track(method delta.Method, sealed bool, change func(*live.Config)) (*tracked, error) {
	region, err := delta.OpenMemory(b.mem, delta.Options{Method: method})
	if err != nil {
		return nil, err
	}
	t := &tracked{}
	if t.store, err = b.open("store-memory", sealed); err != nil {
		return nil, err
	}
	cfg := live.DefaultConfig("memory")
	cfg.Hold = func(context.Context) (func(), error) {
		t.mu.Lock()
		return t.mu.Unlock, nil
	}
	if change != nil {
		change(&cfg)
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

// memory takes increments of a memory region, with each way of finding what
// changed, plain and encrypted.
func (b *bench) memory() error {
	method, why := kernel()
	for _, sealed := range []bool{false, true} {
		for _, m := range []delta.Method{method, delta.Hash} {
			if m == "" {
				b.add("memory region, kernel's bits", "not on this kernel: "+why, "")
				continue
			}
			if err := b.increments(m, sealed); err != nil {
				return err
			}
		}
	}
	return nil
}

// quick is how often what takes milliseconds is measured, the floor beside it by
// turns.
const quick = 9

func (b *bench) increments(m delta.Method, sealed bool) error {
	t, err := b.track(m, sealed, nil)
	if err != nil {
		return err
	}
	defer t.end()
	what := fmt.Sprintf("memory region (%s)", m)
	prefix := ""
	if sealed {
		prefix = "encrypted: "
	}
	first, err := b.create(t)
	if err != nil {
		return err
	}
	b.add(prefix+"full, "+what+", once", first.String(), "")
	if err := b.nothing(t, m, prefix+"nothing changed, "+what, sealed); err != nil {
		return err
	}
	var steps []result
	var shares []float64
	for range b.rounds {
		pages := b.gen.dirty(b.mem, len(b.mem)/pageSize/100)
		r, err := b.create(t)
		if err != nil {
			return err
		}
		floor, err := b.floor(pages)
		if err != nil {
			return err
		}
		steps, shares = append(steps, r), append(shares, float64(r.added)/float64(floor))
	}
	ours, peers := middle(steps), b.medians(phasePages)
	bars := slices.Concat(fasterThan(ours, peers, "restic", 10/factor(sealed)), fasterThan(ours, peers, "borg", 10/factor(sealed)))
	for _, p := range peers {
		if p.isBest {
			bars = append(bars, fasterThan(ours, peers, p.name, 1/factor(sealed))...)
		}
	}
	share := middleOf(shares)
	bars = append(bars, bar{fmt.Sprintf("added %.2fx of the compressed pages (<= 1.5)", share), share <= 1.5})
	b.add(prefix+"1 % of the pages changed, "+what+", detection included", ours.String(), "as files, above", bars...)
	return nil
}

// nothing measures checkpoints between which nothing changed.
func (b *bench) nothing(t *tracked, m delta.Method, what string, sealed bool) error {
	var all []result
	var hash []time.Duration
	for range quick {
		r, err := b.create(t)
		if err != nil {
			return err
		}
		all = append(all, r)
		if m == delta.Hash {
			hash = append(hash, b.hashing())
		}
	}
	ours := middle(all)
	most := time.Duration(50 * b.scale * factor(sealed) * float64(time.Millisecond))
	limit := bar{"<= " + seconds(most), ours.took <= most}
	if m == delta.Hash {
		speed := middleOf(hash)
		limit = bar{fmt.Sprintf("%.2fx of the hash's own %s (<= %.3g)", ratio(ours.took, speed), seconds(speed), 1.2*factor(sealed)), ratio(ours.took, speed) <= 1.2*factor(sealed)}
	}
	b.add(fmt.Sprintf("%s, %d times", what, quick), ours.String(), "", limit)
	return nil
}

// create takes a checkpoint; the bytes are what the store grew by, manifest included.
func (b *bench) create(t *tracked) (result, error) {
	before := treeSize(t.store.Path())
	began := startClock()
	cp, err := t.Create(b.ctx, "")
	r := result{"library", time.Since(began), treeSize(t.store.Path()) - before, false}
	if err == nil && cp.Size != b.size {
		err = fmt.Errorf("checkpoint of %d bytes, the memory has %d", cp.Size, b.size)
	}
	return r, err
}

// hashing is the hash's own speed: every page once, on all workers.
func (b *bench) hashing() time.Duration {
	began := startClock()
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
	return time.Since(began)
}

// intact compares the newest checkpoint with the memory, byte by byte, once
// nobody writes to it any more.
func (b *bench) intact(t *tracked) error {
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
