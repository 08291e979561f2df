package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
)

func TestExpired(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 10, 0, 0, 0, 0, time.UTC)
	cp := func(id, workload string, epoch forestall.Epoch, daysOld int) forestall.Checkpoint {
		return forestall.Checkpoint{ID: id, Workload: workload, Epoch: epoch, Time: now.AddDate(0, 0, -daysOld)}
	}
	all := []forestall.Checkpoint{
		cp("a1", "a", 1, 9), cp("a2", "a", 2, 8), cp("a3", "a", 3, 1),
		cp("b1", "b", 1, 30), cp("b2", "b", 2, 20), // idle for long: the newest stays
		cp("c1", "c", 1, 7), // exactly as old as the retention
	}
	for _, c := range []struct {
		name string
		keep func(forestall.Checkpoint) bool
		want []string
	}{
		{"by age, but never the newest", nil, []string{"a1", "a2", "b1"}},
		{"but not what is kept", func(cp forestall.Checkpoint) bool { return cp.ID == "a2" }, []string{"a1", "b1"}},
	} {
		var got []string
		for _, cp := range (Retention{All: 7 * 24 * time.Hour}).expired(all, now, c.keep, anyWhole) {
			got = append(got, cp.ID)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestPruneFreesWhatNothingNeeds(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), state(t)
	old := time.Now().Add(-48 * time.Hour)
	first := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src, Time: old}))
	writeFiles(t, src, map[string]string{"model/weights": noise(2, 20<<10)})
	second := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	removed, freed, err := d.Prune(t.Context(), time.Hour, time.Now(), nil)
	if err != nil || removed != 1 || freed < 40<<10 || freed > 42<<10 {
		t.Fatalf("prune removed %d checkpoints and freed %d bytes (%v), want the first's 40 KiB", removed, freed, err)
	}
	if _, err := d.Get(first.ID); err == nil {
		t.Error("the first checkpoint is still listed")
	}
	if err := d.Verify(t.Context(), second.ID); err != nil {
		t.Errorf("the second suffered: %v", err)
	}
}

// While checkpoints come and go, GC must not take a chunk that any of them
// needs, although unchanged files are not written again.
func TestGCBesideSave(t *testing.T) {
	t.Parallel()
	d := openDir(t, rested())
	ctx, cancel := context.WithCancel(t.Context())
	var savers, collector sync.WaitGroup
	for w := range 3 {
		src := t.TempDir()
		writeFiles(t, src, map[string]string{"fixed": noise(uint64(w), 16<<10)})
		savers.Go(func() {
			var last forestall.Checkpoint
			for i := range 15 {
				// Every state has been there before: its chunks may be going.
				writeFiles(t, src, map[string]string{"f": noise(uint64(i%3), 16<<10)})
				cp, err := d.Save(ctx, Snapshot{Workload: fmt.Sprintf("w%d", w), Source: src})
				if err != nil {
					t.Error(err)
					return
				}
				if last.ID != "" {
					if err := d.Delete(ctx, last.ID); err != nil {
						t.Error(err)
					}
				}
				if err := d.Verify(ctx, cp.ID); err != nil {
					t.Error(err)
				}
				last = cp
			}
		})
	}
	collector.Go(func() {
		for ctx.Err() == nil {
			if _, err := d.GC(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	savers.Wait()
	cancel()
	collector.Wait()
	if _, err := d.GC(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, cp := range must[[]forestall.Checkpoint](t)(d.List("")) {
		if err := d.Verify(t.Context(), cp.ID); err != nil {
			t.Error(err)
		}
	}
	// 3 workloads of 4 fixed chunks and the 4 of one state each.
	if s := must[Stats](t)(d.Stats()); s.Chunks > 24 {
		t.Errorf("%d chunks left, want at most 24", s.Chunks)
	}
}

func TestGCSparesWhatPeersWereToldOf(t *testing.T) {
	t.Parallel()
	opt := small()
	now := time.Now()
	opt.Now = func() time.Time { return now }
	d, src := openDir(t, opt), state(t)
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	hashes := must[*manifest](t)(d.loadManifest(cp.ID)).hashes()
	if missing := must[[]hash](t)(d.missing(hashes)); len(missing) != 0 {
		t.Fatalf("%d chunks missing", len(missing))
	}
	if err := d.Delete(t.Context(), cp.ID); err != nil {
		t.Fatal(err)
	}
	if freed, err := d.GC(t.Context()); err != nil || freed != 0 {
		t.Errorf("freed %d bytes of promised chunks (%v)", freed, err)
	}
	now = now.Add(leaseTime + time.Second)
	if freed, err := d.GC(t.Context()); err != nil || freed != 0 {
		t.Errorf("freed %d bytes of chunks promised for longer (%v)", freed, err)
	}
	now = now.Add(leaseTime + time.Second)
	if freed, err := d.GC(t.Context()); err != nil || freed < cp.Size*3/4 {
		t.Errorf("freed %d bytes after the promise ran out (%v) of %d", freed, err, cp.Size)
	}
	if err := d.Restore(t.Context(), cp.ID, filepath.Join(t.TempDir(), "t")); err == nil {
		t.Error("a deleted checkpoint was restored")
	}
}

// A checkpoint that is saved, on the base of another, while GC reads manifests
// may be missed by it, and the base be deleted before its turn: what the base
// has must be visited all the same, although nobody holds it any more.
func TestGCVisitsWhatWasHeldMeanwhile(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, rested()), state(t)
	base := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	want := must[root](t)(d.loadRoot(base.ID))
	p := must[*plan](t)(d.plan(t.Context(), Snapshot{Workload: "w", Source: src}))
	d.beginGC()
	p.end()
	if roots := d.freshRoots(); len(roots) != 1 || !slices.Equal(roots[0].top, want.top) {
		t.Errorf("GC was told of %d checkpoints, want the base", len(roots))
	}
	d.endMarking()
	if p = must[*plan](t)(d.plan(t.Context(), Snapshot{Workload: "w", Source: src})); len(d.released) != 0 {
		t.Error("released checkpoints are collected though no GC runs")
	}
	p.end()
}

// While regions are saved, restored and deleted, GC with packs that are nearly
// always worth writing anew must not lose a byte.
func TestGCBesideRegions(t *testing.T) {
	t.Parallel()
	d := openDir(t, small())
	ctx, cancel := context.WithCancel(t.Context())
	var savers, collector sync.WaitGroup
	for w := range 3 {
		savers.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			mem := memory(noise(uint64(w), 128<<10))
			var last forestall.Checkpoint
			for range 25 {
				dirty := mem.rewrite(rng, 4)
				cp, err := d.SaveRegions(ctx, Regions{Workload: fmt.Sprintf("w%d", w), Base: last.ID, Regions: []Region{
					{Name: "heap", Size: int64(len(mem)), Dirty: dirty, Content: bytes.NewReader(mem)},
				}})
				if err != nil {
					t.Error(err)
					return
				}
				if last.ID != "" {
					if err := d.Delete(ctx, last.ID); err != nil {
						t.Error(err)
					}
				}
				got := make(memory, len(mem))
				if _, err := d.ReadFile(ctx, cp.ID, "heap", got); err != nil {
					t.Error(err)
				} else if !bytes.Equal(got, mem) {
					t.Error("a region came back otherwise")
				}
				last = cp
			}
		})
	}
	collector.Go(func() {
		for ctx.Err() == nil {
			if _, err := d.GC(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	savers.Wait()
	cancel()
	collector.Wait()
	for range 2 {
		if _, err := d.GC(t.Context()); err != nil {
			t.Error(err)
		}
	}
	s := must[Stats](t)(d.Stats())
	if s.PackBytes > 2*3*(128<<10)*2 {
		t.Errorf("packs have %d bytes for three states of 128 KiB", s.PackBytes)
	}
	noTemporaryFiles(t, d)
}

// A rotten block of an old checkpoint's tree keeps what was written before it was
// found, and nothing else.
func TestGCBesideARottenTree(t *testing.T) {
	t.Parallel()
	d, src, old := openDir(t, small()), t.TempDir(), t.TempDir()
	save := func(workload, source string) forestall.Checkpoint {
		t.Helper()
		return must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: workload, Source: source}))
	}
	files := make(map[string]string)
	for i := range 60 {
		files[fmt.Sprintf("%s%02d", strings.Repeat("n", 50), i)] = noise(uint64(i), 200)
	}
	writeFiles(t, old, files)
	rotten := save("old", old)
	sibling := save("sibling", old) // has the same tree
	busy := func(seed uint64) forestall.Checkpoint {
		writeFiles(t, src, map[string]string{"f": noise(seed, 50<<10)})
		return save("busy", src)
	}
	before := busy(100)
	raw := must[[]byte](t)(d.manifestBytes(rotten.ID))
	top := must[root](t)(d.decodeRoot("", raw)).top
	damageChunk(t, d, top[0].hash)
	drop := func(id string) {
		t.Helper()
		if err := d.Delete(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	gc := func(want bool) int64 {
		t.Helper()
		freed, err := d.GC(t.Context())
		if !want && err != nil {
			t.Error(err)
		}
		for _, says := range []string{rotten.ID[:12] + " of old", sibling.ID[:12] + " of sibling", "fetch it from a replica or delete it"} {
			if want && (!errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), says)) {
				t.Errorf("error %v, want ErrCorrupt that says %q", err, says)
			}
		}
		return freed
	}
	drop(before.ID)
	if freed := gc(true); freed != 0 {
		t.Errorf("%d bytes freed of what the rotten one may need", freed)
	}
	for i := range uint64(5) {
		drop(busy(200 + i).ID)
	}
	last := busy(300)
	if freed := gc(true); freed < 250<<10 {
		t.Errorf("%d bytes freed, want those of five checkpoints of 50 KiB", freed)
	}
	if err := d.Verify(t.Context(), last.ID); err != nil {
		t.Error(err)
	}
	for name := range files { // of the rotten one nothing else is lost
		h := d.codec.sum([]byte(files[name]))
		if !d.has(h) {
			t.Fatalf("the content of %s is lost", name)
		}
	}
	// Once the source is saved again the block is there, and all are whole.
	save("again", old)
	if err := d.Verify(t.Context(), rotten.ID); err != nil {
		t.Error(err)
	}
	if freed := gc(false); freed < 50<<10 {
		t.Errorf("%d bytes freed, want those of the checkpoint dropped first", freed)
	}
	if err := d.Verify(t.Context(), sibling.ID); err != nil {
		t.Error(err)
	}
}

// A file may hold just what a block of a tree does. That GC has marked it as
// content says nothing of what the block lists.
func TestGCTellsBlocksFromContent(t *testing.T) {
	t.Parallel()
	d := openDir(t, small())
	src := t.TempDir()
	writeFiles(t, src, map[string]string{"f": noise(1, 3<<10)})
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "tree", Source: src}))
	block := must[[]byte](t)(d.readChunk(nil, must[root](t)(d.loadRoot(cp.ID)).top[0].hash))
	if len(block) > d.opt.minCut() {
		t.Fatalf("a block of %d bytes would be cut", len(block))
	}
	copies := t.TempDir()
	writeFiles(t, copies, map[string]string{"copy": string(block)})
	for i := 0; ; i++ { // GC reads manifests by name
		if must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: fmt.Sprint("copy-", i), Source: copies})).ID < cp.ID {
			break
		}
	}
	if _, err := d.GC(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Verify(t.Context(), cp.ID); err != nil {
		t.Error(err)
	}
	if !d.whole(cp.ID) {
		t.Error("what the block lists has gone")
	}
}

// What is counted as garbage is what a GC then takes, and counting takes nothing.
func TestGarbage(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), t.TempDir()
	writeFiles(t, src, map[string]string{"f": noise(1, 30<<10)})
	first := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	writeFiles(t, src, map[string]string{"f": noise(2, 30<<10)})
	second := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	count := func(want func(int64) bool) {
		t.Helper()
		r := must[*Dir](t)(OpenDirReadOnly(d.path, small()))
		defer closeDir(t, r)
		for _, d := range []*Dir{d, r} {
			if n, err := d.Garbage(t.Context()); err != nil || !want(n) {
				t.Errorf("%d bytes of garbage, %v", n, err)
			}
		}
	}
	none := func(n int64) bool { return n == 0 }
	count(none)
	if err := d.Delete(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	some := func(n int64) bool { return n > 30<<10 && n < 32<<10 }
	count(some)
	count(some)
	if freed, err := d.GC(t.Context()); err != nil || freed < 30<<10 {
		t.Errorf("gc freed %d, %v", freed, err)
	}
	count(none)
	if err := d.Verify(t.Context(), second.ID); err != nil {
		t.Error(err)
	}
}
