package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/blake3"

	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/checkpoint/seal"
)

// bench is one run.
type bench struct {
	ctx     context.Context
	work    string
	short   bool
	size    int64
	scale   float64 // of bars in seconds: size over 1 GiB
	workers int

	gen    *generator
	mem    []byte // the state, as memory
	source string // the state, as files
	store  *checkpoint.Dir
	keys   *seal.Keyring // of stores that are opened; nil: plain
	last   string        // ID of the newest checkpoint of the files

	peers            []*peer
	versions, absent []string
	pagePeers        []result // at the row of changed pages
	rows             []row
}

func (b *bench) prepare() (err error) {
	b.gen = newGenerator(42)
	b.mem = b.gen.memory(b.size)
	b.source = filepath.Join(b.work, "state")
	if err := writeState(b.source, b.mem); err != nil {
		return err
	}
	b.peers, b.versions, b.absent, err = findPeers(b.ctx, b.work)
	if err != nil {
		return err
	}
	b.store, err = b.open("store")
	return err
}

// open makes a store. Its clock is an hour ahead: files have rested, so that
// their times can be trusted, as in a store that is used every 5 minutes.
func (b *bench) open(name string) (*checkpoint.Dir, error) {
	opt := checkpoint.DefaultOptions()
	opt.Workers, opt.Keys = b.workers, b.keys
	opt.Now = func() time.Time { return time.Now().Add(time.Hour) }
	return checkpoint.OpenDir(filepath.Join(b.work, name), opt)
}

// save takes a checkpoint of the files, and returns time and bytes.
func (b *bench) save() (result, error) {
	before := treeSize(b.store.Path())
	began := begin()
	cp, err := b.store.Save(b.ctx, checkpoint.Snapshot{Workload: "bench", Source: b.source})
	took := time.Since(began)
	b.last = cp.ID
	return result{"forestall", took, treeSize(b.store.Path()) - before, false}, err
}

// all has every peer save the files as they are.
func (b *bench) all() (out []result, err error) {
	for _, p := range b.peers {
		r, err := p.measure(b.ctx, b.source)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// compress is the floor: klauspost's zstd at its fastest over the same bytes
// in blocks of 1 MiB, on all workers, nothing written.
func (b *bench) compress(mem []byte) (time.Duration, int64, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(b.workers))
	if err != nil {
		return 0, 0, err
	}
	began := begin()
	blocks := make(chan []byte, b.workers)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var total int64
	for range b.workers {
		wg.Go(func() {
			var out []byte
			for block := range blocks {
				out = enc.EncodeAll(block, out[:0])
				mu.Lock()
				total += int64(len(out))
				mu.Unlock()
			}
		})
	}
	for block := range slices.Chunk(mem, 1<<20) {
		blocks <- block
	}
	close(blocks)
	wg.Wait()
	return time.Since(began), total, nil
}

func (b *bench) full() error {
	floor, _, err := b.compress(b.mem)
	if err != nil {
		return err
	}
	ours, err := b.save()
	if err != nil {
		return err
	}
	peers, err := b.all()
	if err != nil {
		return err
	}
	limit := 2.5 * b.scale
	bars := []bar{
		{fmt.Sprintf("<= %.3g s", limit), ours.took.Seconds() <= limit},
		{fmt.Sprintf("%.2fx klauspost's %s (<= 1.4)", float64(ours.took)/float64(floor), seconds(floor)), float64(ours.took) <= 1.4*float64(floor)},
	}
	b.add("full, files, durable", ours.String(), peers, append(bars, fasterThan(ours.took, peers, "borg", 3.5/2.5)...)...)
	return nil
}

// raw scores what does not compress on its own.
func (b *bench) raw() error {
	noise := make([]byte, 0, b.size/2)
	for i := 0; int64(i)*pageSize < b.size; i += 2 {
		noise = append(noise, b.mem[i*pageSize:(i+1)*pageSize]...)
	}
	floor, err := b.hashAndWrite(noise)
	if err != nil {
		return err
	}
	d, err := b.open("store-raw")
	if err != nil {
		return err
	}
	defer os.RemoveAll(d.Path())
	defer func() { _ = d.Close() }()
	began := begin()
	cp, err := d.SaveRegions(b.ctx, checkpoint.Regions{Workload: "raw", Regions: []checkpoint.Region{{Name: "noise", Size: int64(len(noise)), Content: bytes.NewReader(noise)}}})
	if err != nil {
		return err
	}
	ours := result{"forestall", time.Since(began), cp.Added, false}
	b.add("the incompressible half alone, region, durable", ours.String(), nil,
		bar{fmt.Sprintf("stored raw: %.4f bytes a byte (<= 1.002)", float64(cp.Added)/float64(len(noise))), float64(cp.Added) <= 1.002*float64(len(noise))},
		bar{fmt.Sprintf("%.2fx of BLAKE3 and then a durable write of the same bytes, %s (<= 1.4)", float64(ours.took)/float64(floor), seconds(floor)), float64(ours.took) <= 1.4*float64(floor)})
	return nil
}

// hashAndWrite is the floor of storing bytes raw under their hashes.
func (b *bench) hashAndWrite(mem []byte) (time.Duration, error) {
	name := filepath.Join(b.work, "floor")
	defer os.Remove(name)
	began := begin()
	for block := range slices.Chunk(mem, 1<<20) {
		_ = blake3.Sum256(block)
	}
	f, err := os.Create(name)
	if err != nil {
		return 0, err
	}
	_, err = f.Write(mem)
	err = errors.Join(err, f.Sync(), f.Close())
	return time.Since(began), err
}

func (b *bench) unchanged() error {
	ours, err := b.save()
	if err != nil {
		return err
	}
	stats, err := b.store.Stats()
	if err != nil {
		return err
	}
	again, err := b.save()
	if err != nil {
		return err
	}
	after, err := b.store.Stats()
	if err != nil {
		return err
	}
	peers, err := b.all()
	if err != nil {
		return err
	}
	ours.took = min(ours.took, again.took)
	b.add("nothing changed, files", ours.String(), peers,
		bar{fmt.Sprintf("<= 0.22 s, kopia's; %d chunks written", after.Chunks-stats.Chunks), ours.took <= 220*time.Millisecond && after.Chunks == stats.Chunks})
	return nil
}

// pages has the files changed as the memory is, for the peers, and keeps what
// they took for the row of the memory region.
func (b *bench) pages() error {
	pages := b.gen.dirty(b.mem, len(b.mem)/pageSize/100)
	if err := writePages(b.source, b.mem, pages); err != nil {
		return err
	}
	peers, err := b.all()
	if err != nil {
		return err
	}
	ours, err := b.save()
	if err != nil {
		return err
	}
	b.add("1 % of the pages changed, as files", ours.String(), peers)
	b.pagePeers = peers
	return nil
}

func (b *bench) inserted() error {
	if err := b.gen.insert(b.source); err != nil {
		return err
	}
	ours, err := b.save()
	if err != nil {
		return err
	}
	peers, err := b.all()
	if err != nil {
		return err
	}
	b.add("1 KiB inserted in the middle of each file", ours.String(), peers, append([]bar{{fmt.Sprintf("added %s (<= 4 MB)", mb(ours.added)), ours.added <= 4e6}},
		fasterThan(ours.took, peers, "restic", 1)...)...)
	return nil
}

func (b *bench) restore() error {
	target := filepath.Join(b.work, "restored")
	began := begin()
	if err := b.store.Restore(b.ctx, b.last, target); err != nil {
		return err
	}
	ours := result{"forestall", time.Since(began), -1, false}
	if err := sameFiles(b.source, target); err != nil {
		return err
	}
	if err := os.RemoveAll(target); err != nil {
		return err
	}
	var peers []result
	for _, p := range b.peers {
		into := filepath.Join(b.work, "restored-"+filepath.Base(p.repo))
		if err := os.MkdirAll(into, 0o755); err != nil {
			return err
		}
		took, err := p.run(b.ctx, into, p.restore(p, into)...)
		if err != nil {
			return err
		}
		peers = append(peers, result{p.name, took, -1, p.isBest})
		if err := sameFiles(b.source, filepath.Join(into, b.source)); err != nil {
			return errors.Join(fmt.Errorf("%s did not restore what it saved", p.name), err)
		}
		if err := os.RemoveAll(into); err != nil {
			return err
		}
	}
	b.add("restore, verified to the last byte", ours.String(), peers, fasterThan(ours.took, peers, "restic", 1.5)...)
	return nil
}
