package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/blake3"

	"github.com/stratoswarm/forestall/checkpoint"
)

// parallel hands a worker each block of mem and its place.
func (b *bench) parallel(mem []byte, size int, work func() (each func(at int, block []byte) error)) error {
	type part struct {
		at    int
		block []byte
	}
	parts := make(chan part, b.workers)
	errs := make(chan error, b.workers)
	var wg sync.WaitGroup
	for range b.workers {
		wg.Go(func() {
			each := work()
			for p := range parts {
				if err := each(p.at, p.block); err != nil {
					errs <- err
					break
				}
			}
			for range parts { // after an error
			}
		})
	}
	at := 0
	for block := range slices.Chunk(mem, size) {
		parts <- part{at, block}
		at += len(block)
	}
	close(parts)
	wg.Wait()
	close(errs)
	return <-errs
}

// compress is the floor of a full save: klauspost's zstd at its fastest over the
// same bytes in blocks of 1 MiB, on all workers, nothing written.
func (b *bench) compress(mem []byte) (time.Duration, int64, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(b.workers))
	if err != nil {
		return 0, 0, err
	}
	var mu sync.Mutex
	var total int64
	began := startClock()
	err = b.parallel(mem, 1<<20, func() func(int, []byte) error {
		var out []byte
		return func(_ int, block []byte) error {
			out = enc.EncodeAll(block, out[:0])
			mu.Lock()
			defer mu.Unlock()
			total += int64(len(out))
			return nil
		}
	})
	return time.Since(began), total, err
}

// hashAndWrite is the floor of storing bytes raw under their hashes, durably:
// BLAKE3 of each MiB and its write, on all workers, then one fsync.
func (b *bench) hashAndWrite(mem []byte) (time.Duration, error) {
	path := filepath.Join(b.work, "floor")
	defer os.Remove(path)
	began := startClock()
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	err = b.parallel(mem, 1<<20, func() func(int, []byte) error {
		return func(at int, block []byte) error {
			_ = blake3.Sum256(block)
			_, err := f.WriteAt(block, int64(at))
			return err
		}
	})
	err = errors.Join(err, f.Sync(), f.Close())
	return time.Since(began), err
}

// floor is what changed pages come to when only they are compressed.
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

// raw scores what does not compress on its own: the speed and the bytes for the
// incompressible half, and the decisions on pages of many kinds.
func (b *bench) raw() error {
	noise := make([]byte, 0, b.size/2)
	for i := 0; int64(i)*pageSize < b.size; i += 2 {
		noise = append(noise, b.mem[i*pageSize:(i+1)*pageSize]...)
	}
	var ours []result
	var floors []time.Duration
	for range b.rounds {
		floor, err := b.hashAndWrite(noise)
		if err != nil {
			return err
		}
		r, _, err := b.saveRegion(noise)
		if err != nil {
			return err
		}
		ours, floors = append(ours, r), append(floors, floor)
	}
	r, floor := middle(ours), middleOf(floors)
	b.add("the incompressible half alone, region, durable", r.String(), "",
		bar{fmt.Sprintf("stored raw: %.4f bytes a byte (<= 1.002)", float64(r.added)/float64(len(noise))), float64(r.added) <= 1.002*float64(len(noise))},
		bar{fmt.Sprintf("%.2fx of BLAKE3 and a durable write of the same bytes, overlapped, %s (<= 1.4)", ratio(r.took, floor), seconds(floor)), ratio(r.took, floor) <= 1.4})
	return b.decisions()
}

// saveRegion saves bytes as a region into a store of their own, and returns
// which of their pages are stored raw.
func (b *bench) saveRegion(mem []byte) (r result, raw []bool, err error) {
	d, err := b.open("store-raw", false)
	if err != nil {
		return r, nil, err
	}
	defer os.RemoveAll(d.Path())
	began := startClock()
	cp, err := d.SaveRegions(b.ctx, checkpoint.Regions{Workload: "raw", Regions: []checkpoint.Region{{Name: "noise", Size: int64(len(mem)), Content: bytes.NewReader(mem)}}})
	r = result{"library", time.Since(began), cp.Added, false}
	if err = errors.Join(err, d.Close()); err == nil {
		raw, err = rawPages(d.Path(), mem)
	}
	return r, raw, err
}

// rawPages reads the packs of a store of one region, as docs/format/checkpoint.md
// describes them.
func rawPages(store string, mem []byte) ([]bool, error) {
	const chunkSize = 1 << 20
	where := make(map[[32]byte]int)
	at := 0
	for block := range slices.Chunk(mem, chunkSize) {
		where[blake3.Sum256(block)] = at
		at += len(block)
	}
	raw, found := make([]bool, len(mem)/pageSize), 0
	packs, err := filepath.Glob(filepath.Join(store, "packs", "*"))
	if err != nil {
		return nil, err
	}
	for _, pack := range packs {
		b, err := os.ReadFile(pack)
		if err != nil {
			return nil, err
		}
		for b = b[8:]; len(b) > 50 && string(b[40:44]) == "FCHK"; {
			length := int(binary.LittleEndian.Uint32(b[32:]))
			at, ours := where[[32]byte(b[:32])]
			chunk := b[40 : 40+length]
			b = b[40+length:]
			if !ours {
				continue // a block of the tree
			}
			found++
			pages := int(binary.LittleEndian.Uint32(chunk[6:])) / pageSize
			for i := range pages {
				switch chunk[5] { // 0: as it is, 1: compressed, 2: a map of pages
				case 0:
					raw[at/pageSize+i] = true
				case 2:
					raw[at/pageSize+i] = chunk[12+i/8]>>(i%8)&1 == 1
				}
			}
		}
	}
	return raw, must(found == len(where), "%d of %d chunks are in the packs", found, len(where))
}

// decisions scores on pages of many kinds which of them are stored raw: wrongly,
// if zstd at its fastest, coding literals too, makes a page by itself a
// thirty-second shorter, or if it does not and the page was compressed.
func (b *bench) decisions() error {
	mem, kinds := b.gen.mixed(int(min(b.size/4, 64<<20)) / pageSize)
	r, raw, err := b.saveRegion(mem)
	if err != nil {
		return err
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithAllLitEntropyCompression(true), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	var out []byte
	wronglyRaw, wronglyCompressed := make(map[string]int), make(map[string]int)
	total, saved := 0, 0
	for i := range raw {
		page := mem[i*pageSize : (i+1)*pageSize]
		out = enc.EncodeAll(page, out[:0])
		shrinks := len(out) < pageSize-pageSize/32
		switch {
		case raw[i] && shrinks:
			wronglyRaw[kinds[i]]++
			saved += pageSize - len(out)
		case !raw[i] && !shrinks:
			wronglyCompressed[kinds[i]]++
		}
		total++
	}
	b.add(fmt.Sprintf("raw or not, %d pages of %d kinds", total, len(pageKinds)),
		fmt.Sprintf("%s; wrongly raw %s, which costs %.2f %% of the bytes; wrongly compressed %s", r, shareOf(wronglyRaw, total), 100*float64(saved)/float64(len(mem)), shareOf(wronglyCompressed, total)), "")
	return nil
}

func shareOf(wrong map[string]int, total int) string {
	sum, of := 0, ""
	for _, k := range pageKinds {
		if n := wrong[k.name]; n > 0 {
			sum += n
			of += fmt.Sprintf(", %s %d", k.name, n)
		}
	}
	if of != "" {
		of = " (" + of[2:] + ")"
	}
	return fmt.Sprintf("%.2f %%%s", 100*float64(sum)/float64(total), of)
}

// pageKinds are what states are made of, from noise to text.
var pageKinds = []struct {
	name string
	make func(g *generator, dst []byte)
}{
	{"random", func(g *generator, dst []byte) { _, _ = g.random.Read(dst) }},
	{"text", func(g *generator, dst []byte) { g.page(dst, 1) }},
	{"base64 of random", func(g *generator, dst []byte) {
		b := make([]byte, len(dst)*3/4)
		_, _ = g.random.Read(b)
		base64.StdEncoding.Encode(dst, b)
	}},
	{"float32, normal", func(g *generator, dst []byte) {
		for i := 0; i < len(dst); i += 4 {
			binary.LittleEndian.PutUint32(dst[i:], math.Float32bits(float32(g.rng.NormFloat64())*.02))
		}
	}},
	{"bfloat16, normal", func(g *generator, dst []byte) {
		for i := 0; i < len(dst); i += 2 {
			binary.LittleEndian.PutUint16(dst[i:], uint16(math.Float32bits(float32(g.rng.NormFloat64())*.02)>>16))
		}
	}},
	{"half random, half text", func(g *generator, dst []byte) {
		_, _ = g.random.Read(dst[:len(dst)/2])
		g.page(dst[len(dst)/2:], 1)
	}},
	{"an eighth text", func(g *generator, dst []byte) {
		_, _ = g.random.Read(dst)
		g.page(dst[:len(dst)/8], 1)
	}},
	{"counters", func(g *generator, dst []byte) {
		for i := 0; i < len(dst); i += 8 {
			binary.LittleEndian.PutUint64(dst[i:], uint64(g.rng.IntN(1<<20)))
		}
	}},
	{"random, repeated", func(g *generator, dst []byte) {
		_, _ = g.random.Read(dst[:1024])
		for i := 1024; i < len(dst); i += 1024 {
			copy(dst[i:], dst[:1024])
		}
	}},
}

// mixed makes n pages, of a kind drawn for each.
func (g *generator) mixed(n int) (mem []byte, kinds []string) {
	mem, kinds = make([]byte, n*pageSize), make([]string, n)
	for i := range kinds {
		k := pageKinds[g.rng.IntN(len(pageKinds))]
		k.make(g, mem[i*pageSize:(i+1)*pageSize])
		kinds[i] = k.name
	}
	return mem, kinds
}
