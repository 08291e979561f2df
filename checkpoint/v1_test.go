package checkpoint

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stratoswarm/forestall"
)

// TestStoreOfVersion1 opens a store that a program wrote before there were
// packs, extents and trees of blocks: everything in it must be read, new
// checkpoints go beside, and GC clears away what is no longer needed.
func TestStoreOfVersion1(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store")
	if err := os.CopyFS(path, os.DirFS("testdata/v1")); err != nil {
		t.Fatal(err)
	}
	d := must[*Dir](t)(OpenDir(path, small()))
	defer func() { closeDir(t, d) }()
	content := map[string]string{"weights": noise(1, 10<<10), "log": prose(9<<10) + "more\n", "sub/x": "x", "empty": ""}
	ids := []string{
		"a988c4560acde5d9d808791e3da7da0b5aba007fcd2469992425ffc8f050f6cc",
		"907135aeb5acf1f0cf38d9f380d52b470e94ac6dbff013673c582ba926b9e909",
	}
	check := func(id string) {
		t.Helper()
		target := filepath.Join(t.TempDir(), "t")
		if err := d.Restore(t.Context(), id, target); err != nil {
			t.Fatal(err)
		}
		got := make(map[string]string)
		for name, n := range readTree(t, target) {
			if n.Mode.IsRegular() {
				got[name] = n.Content
			}
		}
		want := content
		if id == ids[1] {
			want = map[string]string{"weights": content["weights"], "log": prose(9 << 10), "sub/x": "x", "empty": ""}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("checkpoint %.12s (-want +got):\n%.500s", id, diff)
		}
	}
	for i, cp := range must[[]forestall.Checkpoint](t)(d.List("train-7")) {
		if cp.ID != ids[i] || cp.Epoch != 3 || cp.Sequence != uint64(2-i) || cp.Label != "v1" {
			t.Errorf("checkpoint %d is %+v", i, cp)
		}
		check(cp.ID)
	}
	if e := must[forestall.Epoch](t)(d.Fenced("train-7")); e != 3 {
		t.Errorf("fenced at %v, want 3", e)
	}

	src := filepath.Join(t.TempDir(), "s")
	writeFiles(t, src, content)
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "train-7", Epoch: 3, Source: src, Time: time.Unix(1_760_001_000, 0)}))
	for _, id := range ids {
		if err := d.Delete(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.GC(t.Context()); err != nil {
		t.Fatal(err)
	}
	needed := must[*manifest](t)(d.loadManifest(cp.ID)).hashes()
	err := d.eachLoose(func(h hash, _ fs.FileInfo) error {
		if !slices.Contains(needed, h) {
			return fmt.Errorf("chunk %s was left", h)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	closeDir(t, d)
	d = must[*Dir](t)(OpenDir(path, small()))
	ids[0] = cp.ID
	check(cp.ID)
}
