package checkpoint

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/stratoswarm/forestall"
	"github.com/zeebo/blake3"
)

// aPack returns a pack of a few chunks, and where they are.
func aPack(t testing.TB) ([]byte, []packChunk) {
	t.Helper()
	c := must[*codec](t)(newCodec(DefaultOptions()))
	t.Cleanup(c.close)
	b, chunks := packHeader(), []packChunk(nil)
	for _, content := range []string{prose(5000), noise(1, 3000), "x"} {
		h := c.sum([]byte(content))
		entry := c.encode(make([]byte, packEntryLen), h, []byte(content), 0, must[*zstd.Encoder](t)(c.encoder(0)))
		sealEntry(entry, h)
		chunks = append(chunks, packChunk{h, uint32(len(b)), uint32(len(entry))})
		b = append(b, entry...)
	}
	end, _ := packEnd(chunks, [packNonceLen]byte{1})
	return append(b, end...), chunks
}

var packFields = cmp.AllowUnexported(packChunk{})

func TestPackIndex(t *testing.T) {
	b, want := aPack(t)
	for _, tail := range []int{len(b), packFooterLen} {
		got, _, need, err := decodePackEnd(b[len(b)-tail:], int64(len(b)))
		if need > 0 {
			got, _, need, err = decodePackEnd(b[len(b)-need:], int64(len(b)))
		}
		if err != nil || need != 0 {
			t.Fatalf("tail of %d: %v, %d more", tail, err, need)
		}
		if diff := cmp.Diff(want, got, packFields); diff != "" {
			t.Errorf("tail of %d (-want +got):\n%s", tail, diff)
		}
	}
	end := len(b) - int(b[len(b)-12])*packIndexEntry - packFooterLen
	for i := end; i < len(b); i++ {
		b[i] ^= 2
		if _, _, need, err := decodePackEnd(b, int64(len(b))); err == nil && need == 0 {
			t.Errorf("a flipped bit in byte %d was accepted", i)
		}
		b[i] ^= 2
	}
}

func TestSalvage(t *testing.T) {
	b, want := aPack(t)
	if diff := cmp.Diff(want, salvage(b), packFields); diff != "" {
		t.Errorf("whole (-want +got):\n%s", diff)
	}
	b[want[1].at+33] ^= 1 // its length
	if diff := cmp.Diff([]packChunk{want[0], want[2]}, salvage(b[:len(b)-20]), packFields); diff != "" {
		t.Errorf("damaged (-want +got):\n%s", diff)
	}
}

// FuzzPack feeds the readers of packs anything.
func FuzzPack(f *testing.F) {
	b, _ := aPack(f)
	f.Add(b)
	f.Add(b[:len(b)-9])
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, c := range salvage(b) {
			if _, err := openEntry(b[c.at:c.at+c.size], c.hash); err != nil {
				t.Fatalf("salvaged what cannot be opened: %v", err)
			}
		}
		chunks, _, _, err := decodePackEnd(b, int64(len(b)))
		if err != nil {
			return
		}
		for _, c := range chunks {
			if int(c.at)+int(c.size) > len(b) {
				t.Fatalf("chunk of %d bytes at %d in %d", c.size, c.at, len(b))
			}
		}
	})
}

// TestPackWithoutIndex opens a store one of whose packs has lost its index: all
// chunks are still there, GC writes them elsewhere and puts the pack aside.
func TestPackWithoutIndex(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), state(t)
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	path, _, _ := packedAt(t, d, someChunk(t, d, cp))
	closeDir(t, d)
	fi := must[os.FileInfo](t)(os.Stat(path))
	flip(t, path, fi.Size()-60)
	d = must[*Dir](t)(OpenDir(d.path, small()))
	defer func() { closeDir(t, d) }()
	if err := d.Verify(t.Context(), cp.ID); err != nil {
		t.Error(err)
	}
	if _, err := d.GC(t.Context()); err != nil {
		t.Error(err)
	}
	if err := d.Verify(t.Context(), cp.ID); err != nil {
		t.Errorf("after GC: %v", err)
	}
	if _, err := os.Stat(filepath.Join(d.path, rotDir, "pack-"+filepath.Base(path))); err != nil {
		t.Error(err)
	}
	closeDir(t, d)
	d = must[*Dir](t)(OpenDir(d.path, small()))
	if err := d.Verify(t.Context(), cp.ID); err != nil {
		t.Errorf("after GC and opening: %v", err)
	}
}

// A chunk that was found rotten is not taken for a good one at the next start.
func TestRotIsRemembered(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), state(t)
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	h := someChunk(t, d, cp)
	damageChunk(t, d, h)
	if _, err := d.readChunk(nil, h); err == nil {
		t.Fatal("a damaged chunk was read")
	}
	closeDir(t, d)
	d = must[*Dir](t)(OpenDir(d.path, small()))
	defer func() { closeDir(t, d) }()
	if d.has(h) {
		t.Error("the damaged chunk counts as there")
	}
	cp = must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	for range 2 {
		if err := d.Verify(t.Context(), cp.ID); err != nil {
			t.Error(err)
		}
		closeDir(t, d)
		d = must[*Dir](t)(OpenDir(d.path, small()))
	}
}

// TestManySmallPacksBecomeFew saves often: GC merges what each save wrote.
func TestManySmallPacksBecomeFew(t *testing.T) {
	t.Parallel()
	opt := small()
	opt.PackSize = 1 << 20
	d := openDir(t, opt)
	src := t.TempDir()
	var ids []string
	for i := range 40 {
		writeFiles(t, src, map[string]string{"f": noise(uint64(i), 30<<10)})
		ids = append(ids, must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src})).ID)
	}
	before := must[Stats](t)(d.Stats())
	if _, err := d.GC(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := must[Stats](t)(d.Stats())
	if before.Packs != 40 || after.Packs > 2 || after.Chunks != before.Chunks || after.PackBytes > before.PackBytes {
		t.Errorf("before %+v, after %+v", before, after)
	}
	for _, id := range ids {
		if err := d.Verify(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	if freed, err := d.GC(t.Context()); freed != 0 || err != nil {
		t.Errorf("another GC freed %d (%v)", freed, err)
	}
}

func TestSplitKeepsWhatDoesNotCompress(t *testing.T) {
	t.Parallel()
	c := must[*codec](t)(newCodec(DefaultOptions()))
	defer c.close()
	mixed := func(phase int) string {
		var b strings.Builder
		b.WriteString(noise(9, phase))
		for i := range 20 {
			b.WriteString(noise(uint64(i), splitPage))
			b.WriteString(prose(splitPage))
		}
		return b.String()[:150_000]
	}
	for name, k := range map[string]struct {
		content string
		phase   int
		codec   byte
		most    float64 // share that may be left
	}{
		"random":    {noise(1, 100_000), 0, codecRaw, 1.001},
		"text":      {prose(100_000), 5, codecZstd, 0.3},
		"mixed":     {mixed(0), 0, codecSplit, 0.66},
		"mid page":  {mixed(1000), splitPage - 1000, codecSplit, 0.66},
		"one byte":  {"x", 17, codecRaw, 12},
		"tiny text": {strings.Repeat("ab", 300), 4095, codecZstd, 0.2},
	} {
		file := c.encode([]byte("before"), hash{}, []byte(k.content), k.phase, must[*zstd.Encoder](t)(c.encoder(0)))[6:]
		if file[5] != k.codec || float64(len(file)) > k.most*float64(len(k.content)) {
			t.Errorf("%s: codec %d, %d bytes of %d, want codec %d and at most %.2f of it", name, file[5], len(file), len(k.content), k.codec, k.most)
		}
		got, err := c.decode(nil, file, blake3.Sum256([]byte(k.content)))
		if err != nil || string(got) != k.content {
			t.Errorf("%s comes back otherwise: %v", name, err)
		}
	}
}

func TestIncompressible(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	random := make([]byte, splitPage)
	miss := 0
	for range 10_000 {
		for i := 0; i < len(random); i += 8 {
			copy(random[i:], []byte{byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())})
		}
		if !incompressible(random) {
			miss++
		}
	}
	if miss > 5 {
		t.Errorf("%d of 10,000 random pages taken for compressible", miss)
	}
	if incompressible([]byte(prose(splitPage))) || incompressible(bytes.Repeat([]byte{7}, splitPage)) {
		t.Error("text or a constant taken for incompressible")
	}
}

func TestIndex(t *testing.T) {
	t.Parallel()
	var x index
	hashes := make([]hash, 20_000)
	for i := range hashes {
		hashes[i] = blake3.Sum256([]byte{byte(i), byte(i >> 8)})
		if !x.put(hashes[i], uint32(i%7), uint32(i), i%1000) {
			t.Fatalf("chunk %d is there already", i)
		}
	}
	slots := 0
	for i := range x.shards {
		slots += cap(x.shards[i].slots)
	}
	if slots > len(hashes)*2 {
		t.Errorf("%d slots for %d chunks", slots, len(hashes))
	}
	if x.put(hashes[5], 9, 9, 9) || !x.remove(hashes[6], 6) || x.remove(hashes[7], 6) || !x.move(hashes[8], 1, 3, 44) || x.move(hashes[9], 1, 3, 44) {
		t.Error("put, remove or move did not look at what is there")
	}
	for i, h := range hashes {
		s, ok := x.get(h)
		want := slot{pack: uint32(i % 7), at: uint32(i), bits: uint32(i%1000) | spared}
		if i == 8 {
			want.pack, want.at = 3, 44
		}
		s.key = [16]byte{}
		if ok != (i != 6) || ok && s != want {
			t.Fatalf("chunk %d: %+v %v, want %+v", i, s, ok, want)
		}
	}
	x.sweep(func(s *slot) bool { return s.pack == 3 })
	for i, h := range hashes {
		if _, ok := x.get(h); ok != (i%7 == 3 || i == 8) {
			t.Fatalf("chunk %d after the sweep: %v", i, ok)
		}
	}
}

// FuzzCatalogue feeds the reader of catalogues anything: what it accepts must
// survive being written and read again.
func FuzzCatalogue(f *testing.F) {
	b := catalogueHeader(2, 0)
	b = record{kind: recordAdd, id: hash{1}}.append(b)
	b = record{kind: recordFence, id: hash{2}, number: 7}.append(b)
	f.Add(b)
	f.Add(b[:len(b)-3])
	f.Fuzz(func(t *testing.T, b []byte) {
		records, _, err := decodeCatalogue(b)
		if err != nil {
			return
		}
		again := catalogueHeader(len(records), 0)
		for _, r := range records {
			again = r.append(again)
		}
		got, damaged, err := decodeCatalogue(again)
		if err != nil || damaged > 0 || !slices.Equal(got, records) {
			t.Fatalf("%v comes back as %v (%d damaged, %v)", records, got, damaged, err)
		}
	})
}

// FuzzSmallFiles feeds the readers of fences and scrub cursors anything.
func FuzzSmallFiles(f *testing.F) {
	f.Add(encodeFence("w", 7))
	f.Add(scrubCursor{hash{3}, time.Unix(5, 6)}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := decodeFence("w", b); err == nil && !fenceOfV1(b) && !bytes.Equal(encodeFence("w", e), b) {
			t.Fatal("an accepted fence is encoded otherwise")
		}
		if s, err := decodeScrubCursor(b); err == nil {
			if again, err := decodeScrubCursor(s.encode()); err != nil || again != s {
				t.Fatalf("%+v comes back as %+v (%v)", s, again, err)
			}
		}
	})
}

// A disk that cannot read a few places of the store's files costs what lies there:
// the store opens, the rest can be restored, saved to, collected and scrubbed, and
// nothing is thrown away that may be read some other time.
func TestBadSectors(t *testing.T) {
	t.Parallel()
	opt := small()
	opt.PackSize = 2 << 20
	d := openDir(t, opt)
	save := func(workload string, seed uint64) forestall.Checkpoint {
		t.Helper()
		src := t.TempDir()
		writeFiles(t, src, map[string]string{"f": noise(seed, 800<<10)})
		return must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: workload, Source: src}))
	}
	index, chunk, head, whole := save("index", 1), save("chunk", 2), save("head", 3), save("whole", 4)
	holds := func(cp forestall.Checkpoint) (pack string, at int64) {
		m := must[*manifest](t)(d.loadManifest(cp.ID))
		pack, at, _ = packedAt(t, d, m.entries[1].extents[1].hash)
		return pack, at
	}
	bad := make(map[string][]int64) // places that cannot be read, by file
	pack, _ := holds(index)
	bad[pack] = []int64{fileSize(t, pack) - 1}
	pack, at := holds(chunk)
	bad[pack] = []int64{at + 50, fileSize(t, pack) - 1}
	bad[d.manifestPath(head.ID)] = []int64{3}
	if err := d.Fence(t.Context(), "index", 1); err != nil {
		t.Fatal(err)
	}
	bad[filepath.Join(d.path, fenceDir, "index")] = []int64{5}
	closeDir(t, d)
	b := must[*Dir](t)(OpenDirReading(d.path, opt, func(path string, b []byte, at int64, as func([]byte, int64) (int, error)) (int, error) {
		for _, place := range bad[path] {
			if at <= place && place < at+int64(len(b)) {
				return 0, syscall.EIO
			}
		}
		return as(b, at)
	}))
	for _, cp := range []forestall.Checkpoint{index, whole} {
		if err := b.Verify(t.Context(), cp.ID); err != nil {
			t.Error(err)
		}
	}
	for _, cp := range []forestall.Checkpoint{chunk, head} {
		if err := b.Verify(t.Context(), cp.ID); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", cp.Workload, err)
		}
	}
	src := t.TempDir()
	if _, err := b.Save(t.Context(), Snapshot{Workload: "index", Epoch: 1, Source: src}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("under a fence that cannot be read: %v, want ErrCorrupt", err)
	}
	for range 2 {
		if _, err := b.GC(t.Context()); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), head.ID[:12]) {
			t.Errorf("gc: %v, want ErrCorrupt naming the checkpoint that cannot be read", err)
		}
		if r, err := b.Scrub(t.Context(), 0); err != nil || !r.Whole || r.Bad < 4 {
			t.Errorf("scrub: %+v, %v; want a whole pass that finds the damage", r, err)
		}
		src := t.TempDir()
		writeFiles(t, src, map[string]string{"new": noise(5, 9<<10)})
		if _, err := b.Save(t.Context(), Snapshot{Workload: "whole", Source: src}); err != nil {
			t.Error(err)
		}
	}
	closeDir(t, b)
	again := must[*Dir](t)(OpenDir(d.path, opt))
	defer closeDir(t, again)
	for _, cp := range []forestall.Checkpoint{index, chunk, head, whole} {
		if err := again.Verify(t.Context(), cp.ID); err != nil {
			t.Errorf("when all can be read again: %v", err)
		}
	}
}
