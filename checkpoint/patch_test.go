package checkpoint

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stratoswarm/forestall"
)

// TestSavePatchesFilesRewrittenInPlace rewrites a hundredth of a file's pages
// before each of many checkpoints: each adds little more than those pages, all
// come back, and what the last needs stays bounded.
func TestSavePatchesFilesRewrittenInPlace(t *testing.T) {
	t.Parallel()
	opt := DefaultOptions()
	opt.Workers = 2
	opt.ChunkSize = 64 << 10
	d, src := openDir(t, opt), t.TempDir()
	rng := rand.New(rand.NewPCG(3, 4))
	mem := memory(noise(7, 4<<20))
	path := filepath.Join(src, "db")
	save := func() forestall.Checkpoint {
		t.Helper()
		if err := os.WriteFile(path, mem, 0o644); err != nil {
			t.Fatal(err)
		}
		return must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	}
	save()
	var cp forestall.Checkpoint
	var changed, added int64
	for i := range 90 {
		ranges := must[[]PageRange](t)(normalize(mem.rewrite(rng, 10), int64(len(mem))))
		for _, r := range ranges {
			changed += r.Length
		}
		cp = save()
		added += cp.Added
		if i%30 == 29 && !bytes.Equal(readRegion(t, d, cp.ID, "db", len(mem)), mem) {
			t.Fatalf("checkpoint %d came back otherwise", i)
		}
	}
	t.Logf("added %.3f of what changed", float64(added)/float64(changed))
	if float64(added) > 1.6*float64(changed) {
		t.Errorf("%d bytes added for %d changed, want at most 1.6 times as many", added, changed)
	}
	stored := 0
	for _, u := range usesOf(must[*manifest](t)(d.loadManifest(cp.ID)).entries) {
		stored += int(u.size)
	}
	if stored > 5*len(mem)/2 {
		t.Errorf("the last checkpoint needs %d bytes of chunks for %d", stored, len(mem))
	}

	// The file grows, shrinks, and has something inserted.
	most := int64(0) // that a change of a few bytes may add
	for _, change := range []func(){
		func() { mem = append(mem, noise(8, 50_000)...) },
		func() { mem = mem[:3_000_001] },
		func() { mem = append(mem[:1_000_000:1_000_000], append([]byte("inserted"), mem[1_000_000:]...)...) },
		func() { mem.rewrite(rng, 100) },
		func() { mem = memory(noise(9, 1<<20)) },
	} {
		before := len(mem)
		change()
		cp = save()
		if grown := len(mem) - before; grown == len("inserted") {
			most = cp.Added
		}
		if !bytes.Equal(readRegion(t, d, cp.ID, "db", len(mem)), mem) {
			t.Errorf("a file of %d bytes came back otherwise", len(mem))
		}
	}
	if most == 0 || most > 600<<10 {
		t.Errorf("%d bytes added for 8 that were inserted", most)
	}
}

// What has rotted of the previous checkpoint is no base: it is written anew.
func TestSaveDoesNotPatchWhatRotted(t *testing.T) {
	t.Parallel()
	opt := small()
	opt.AverageCut = 16 << 10
	d, src := openDir(t, opt), t.TempDir()
	mem := memory(noise(7, 256<<10))
	writeFiles(t, src, map[string]string{"db": string(mem)})
	first := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	for _, u := range usesOf(must[*manifest](t)(d.loadManifest(first.ID)).entries)[2:5] {
		damageChunk(t, d, u.hash) // found when it is read, not before
	}
	mem.rewrite(rand.New(rand.NewPCG(1, 1)), 20)
	writeFiles(t, src, map[string]string{"db": string(mem)})
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	// Chunks that did not change were not read; those that did are no patches
	// of rotten ones.
	bad := 0
	for _, u := range usesOf(must[*manifest](t)(d.loadManifest(cp.ID)).entries) {
		if _, err := d.readChunk(nil, u.hash); err != nil {
			bad++
		}
	}
	again := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	if err := d.Verify(t.Context(), again.ID); err != nil || bad > 3 {
		t.Errorf("%d chunks bad at first; the next checkpoint: %v", bad, err)
	}
}

// TestUnchangedPagesOfManyFiles: pages of many files lie in one chunk, of which
// each file uses little. A file that is read again and is what it was keeps what
// it has.
func TestUnchangedPagesOfManyFiles(t *testing.T) {
	t.Parallel()
	opt := DefaultOptions()
	opt.Now = rested().Now
	d, src := openDir(t, opt), t.TempDir()
	var content [8]memory
	save := func(files int) *manifest {
		t.Helper()
		for i, b := range content[:files] {
			if err := os.WriteFile(filepath.Join(src, string(rune('a'+i))), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
		return must[*manifest](t)(d.loadManifest(cp.ID))
	}
	for i := range content {
		content[i] = memory(noise(uint64(i), 1<<20))
	}
	save(len(content))
	for i := range content {
		copy(content[i][100<<10:], noise(uint64(50+i), 4096))
	}
	changed, again := save(len(content)), save(1)
	for i, e := range again.entries {
		if !slices.Equal(e.extents, changed.entries[i].extents) {
			t.Errorf("%s did not change and was written anew", e.path)
		}
	}
}
