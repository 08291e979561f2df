package checkpoint

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stratoswarm/forestall"
)

// damaged makes a checkpoint of a directory and flips a bit of what it stored of
// one file, with the store open or closed.
func damaged(t *testing.T, closed bool) (d *Dir, src string) {
	t.Helper()
	src = filepath.Join(t.TempDir(), "src")
	writeFiles(t, src, map[string]string{"rests": noise(1, 9<<10), "other": noise(2, 9<<10)})
	d = openDir(t, rested())
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	for _, e := range must[*manifest](t)(d.loadManifest(cp.ID)).entries {
		if e.path == "rests" {
			if closed {
				closeDir(t, d)
			}
			damageChunk(t, d, e.extents[0].hash)
		}
	}
	if closed {
		d = must[*Dir](t)(OpenDir(d.path, rested()))
		t.Cleanup(func() { closeDir(t, d) })
	}
	return d, src
}

// A pack that somebody has touched is verified before a checkpoint relies on it,
// whether a file is not read at all or its chunks are looked for.
func TestSaveBesideTouchedPack(t *testing.T) {
	for name, move := range map[string]bool{"file at rest": false, "file moved": true} {
		t.Run(name, func(t *testing.T) {
			d, src := damaged(t, false)
			if move {
				if err := os.Rename(filepath.Join(src, "rests"), filepath.Join(src, "moved")); err != nil {
					t.Fatal(err)
				}
			}
			cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
			if err := d.Verify(t.Context(), cp.ID); err != nil {
				t.Errorf("the checkpoint leans on what was damaged: %v", err)
			}
			if cp.Added > 8<<10 {
				t.Errorf("%d bytes written for one chunk", cp.Added)
			}
		})
	}
}

// What rotted unseen only reading finds: by Verify, before the checkpoint counts.
func TestSaveVerified(t *testing.T) {
	d, src := damaged(t, true)
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src, Verify: true}))
	if err := d.Verify(t.Context(), cp.ID); err != nil {
		t.Errorf("the checkpoint leans on what was damaged: %v", err)
	}
	again := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src, Verify: true}))
	if again.Added > 1<<10 {
		t.Errorf("%d bytes written with nothing damaged", again.Added)
	}
}

func TestSaveRegionsVerified(t *testing.T) {
	d := openDir(t, small())
	content := []byte(noise(3, 64<<10))
	r := Regions{Workload: "m", Verify: true, Regions: []Region{{Name: "heap", Size: int64(len(content)), Content: bytes.NewReader(content)}}}
	base := must[forestall.Checkpoint](t)(d.SaveRegions(t.Context(), r))
	m := must[*manifest](t)(d.loadManifest(base.ID))
	closeDir(t, d)
	damageChunk(t, d, m.entries[1].extents[0].hash)
	d = must[*Dir](t)(OpenDir(d.path, small()))
	t.Cleanup(func() { closeDir(t, d) })
	r.Base = base.ID
	cp := must[forestall.Checkpoint](t)(d.SaveRegions(t.Context(), r))
	if err := d.Verify(t.Context(), cp.ID); err != nil {
		t.Error(err)
	}
	if cp.Added > 8<<10 {
		t.Errorf("%d bytes written for one chunk", cp.Added)
	}
}
