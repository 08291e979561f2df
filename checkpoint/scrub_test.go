package checkpoint

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/internal/durable"
)

// TestScrubGoesOn scrubs a store in small portions, closing it in between, and
// finds what is rotten exactly once.
func TestScrubGoesOn(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), t.TempDir()
	defer func() { closeDir(t, d) }()
	var rot []hash
	for i := range 6 {
		writeFiles(t, src, map[string]string{"f": noise(uint64(i), 70<<10)})
		cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
		if i%3 == 0 {
			rot = append(rot, must[*manifest](t)(d.loadManifest(cp.ID)).entries[1].extents[2].hash)
		}
	}
	for _, h := range rot {
		damageChunk(t, d, h)
	}
	before := must[Stats](t)(d.Stats())
	bad, chunks, calls := 0, 0, 0
	for whole := false; !whole; calls++ {
		r := must[ScrubReport](t)(d.Scrub(t.Context(), 50<<10))
		if r.Bytes > 200<<10 {
			t.Errorf("%d bytes read, 50 KiB and a pack were allowed", r.Bytes)
		}
		bad, chunks, whole = bad+r.Bad, chunks+r.Chunks, r.Whole
		closeDir(t, d)
		d = must[*Dir](t)(OpenDir(d.path, small()))
	}
	if bad != len(rot) || chunks != before.Chunks-len(rot) || calls < 4 {
		t.Errorf("%d bad and %d good chunks in %d calls, want %d and %d", bad, chunks, calls, len(rot), before.Chunks-len(rot))
	}
	r := must[ScrubReport](t)(d.Scrub(t.Context(), 0))
	if !r.Whole || r.Bad == 0 || !strings.Contains(strings.Join(r.First, "\n"), rot[0].String()) {
		t.Errorf("the next pass does not miss the chunks: %+v", r)
	}
}

// The background work keeps to its rate.
func TestScrubIsPaced(t *testing.T) {
	t.Parallel()
	opt := small()
	opt.BackgroundRate = 200 << 10
	d, src := openDir(t, opt), t.TempDir()
	writeFiles(t, src, map[string]string{"f": noise(1, 60<<10)})
	must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	began := time.Now()
	r := must[ScrubReport](t)(d.Scrub(t.Context(), 0))
	if took := time.Since(began); took < 200*time.Millisecond || r.Bad > 0 {
		t.Errorf("%d bytes at 200 KiB/s took %v: %+v", r.Bytes, took, r)
	}
}

// A manifest that vanishes is missed, also after another start, until it is
// deleted or comes back.
func TestVanishedManifestIsMissed(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), state(t)
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	raw := must[[]byte](t)(d.manifestBytes(cp.ID))
	if err := (durable.OS{}).Remove(filepath.Join(d.path, manifestDir, cp.ID)); err != nil {
		t.Fatal(err)
	}
	reopen := func() {
		closeDir(t, d)
		d = must[*Dir](t)(OpenDir(d.path, small()))
	}
	defer func() { closeDir(t, d) }()
	missed := func() bool {
		_, err := d.Get(cp.ID)
		return err != nil && strings.Contains(err.Error(), "has vanished")
	}
	for range 2 {
		reopen()
		if !missed() {
			t.Error("it is not missed")
		}
	}
	if _, err := d.accept(cp.ID, raw, false, nil); err != nil || missed() {
		t.Errorf("it did not come back: %v", err)
	}
	reopen()
	if err := d.Verify(t.Context(), cp.ID); err != nil {
		t.Error(err)
	}
	if err := (durable.OS{}).Remove(filepath.Join(d.path, manifestDir, cp.ID)); err != nil {
		t.Fatal(err)
	}
	reopen()
	if err := d.Delete(t.Context(), cp.ID); err != nil || missed() {
		t.Errorf("delete: %v", err)
	}
	reopen()
	if missed() {
		t.Error("it is missed after it was deleted")
	}
}
