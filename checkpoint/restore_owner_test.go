package checkpoint

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stratoswarm/forestall"
)

func ownerAt(t *testing.T, path string) owner {
	t.Helper()
	return ownerOf(must[os.FileInfo](t)(os.Lstat(path)))
}

func modeAt(t *testing.T, path string) fs.FileMode {
	t.Helper()
	return must[os.FileInfo](t)(os.Lstat(path)).Mode()
}

func TestRestoreKeepsOwners(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("not root: only root may give files away")
	}
	d, src := openDir(t, small()), state(t)
	ids := map[string][2]int{".": {7, 8}, "log": {1234, 70000}, "hollow": {5, 5}, "dangling": {9, 9}, "a/b": {1 << 31, 0}}
	for name, id := range ids {
		if err := os.Lchown(filepath.Join(src, name), id[0], id[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(src, "log"), 0o755|fs.ModeSetuid|fs.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	want := readTree(t, src)
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	for _, target := range []string{src, filepath.Join(t.TempDir(), "new")} {
		if err := d.Restore(t.Context(), cp.ID, target); err != nil {
			t.Fatal(err)
		}
		sameTree(t, want, readTree(t, target))
		for name, id := range ids {
			if got := ownerAt(t, filepath.Join(target, name)); got != (owner{true, uint32(id[0]), uint32(id[1])}) {
				t.Errorf("%s belongs to %+v", name, got)
			}
		}
		if got := ownerAt(t, filepath.Join(target, "a")); got != (owner{true, 0, 0}) {
			t.Errorf("a belongs to %+v", got)
		}
	}
	if err := d.RestoreState(t.Context(), cp.ID, "log", filepath.Join(t.TempDir(), "state")); err != nil {
		t.Fatal(err)
	}
}

// Older checkpoints say nothing of owners: what is restored belongs to whoever
// restores it, and must not run with that one's rights.
func TestRestoreWithoutOwnersHasNoSetuid(t *testing.T) {
	t.Parallel()
	d, dir := openDir(t, small()), filepath.Join(t.TempDir(), "t")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	m := &manifest{entries: []entry{
		{path: ".", kind: kindDir, mode: 0o755},
		{path: "d", kind: kindDir, mode: 0o3755},
		{path: "f", kind: kindFile, mode: 0o6755},
	}}
	if err := d.build(t.Context(), m, dir); err != nil {
		t.Fatal(err)
	}
	if mode := modeAt(t, filepath.Join(dir, "f")); mode != 0o755 {
		t.Errorf("f has mode %v", mode)
	}
	if mode := modeAt(t, filepath.Join(dir, "d")); mode != 0o755|fs.ModeDir|fs.ModeSticky {
		t.Errorf("d has mode %v", mode)
	}
}

// A checkpoint of memory says nothing of owners and modes either: a directory or
// file that is there keeps its own.
func TestRestoreKeepsTheTargetsOwner(t *testing.T) {
	t.Parallel()
	d, target := openDir(t, small()), filepath.Join(t.TempDir(), "t")
	cp := must[forestall.Checkpoint](t)(d.SaveRegions(t.Context(), Regions{Workload: "w", Regions: []Region{{Name: "r", Size: 4, Content: bytes.NewReader([]byte("1234"))}}}))
	writeFiles(t, target, map[string]string{"r": "old"})
	own := ownerAt(t, target)
	if os.Geteuid() == 0 {
		own = owner{true, 77, 78}
		for _, p := range []string{target, filepath.Join(target, "r")} {
			if err := os.Chown(p, 77, 78); err != nil {
				t.Fatal(err)
			}
		}
	}
	for path, mode := range map[string]fs.FileMode{target: 0o2751, filepath.Join(target, "r"): 0o640} {
		if err := os.Chmod(path, fileMode(uint32(mode))); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.RestoreState(t.Context(), cp.ID, "r", target); err != nil {
		t.Fatal(err)
	}
	if mode := modeAt(t, filepath.Join(target, "r")); mode != 0o640 || ownerAt(t, filepath.Join(target, "r")) != own {
		t.Errorf("the file has mode %v and is of %+v", mode, ownerAt(t, filepath.Join(target, "r")))
	}
	if err := d.Restore(t.Context(), cp.ID, target); err != nil {
		t.Fatal(err)
	}
	if mode := modeAt(t, target); mode != 0o751|fs.ModeDir|fs.ModeSetgid || ownerAt(t, target) != own {
		t.Errorf("the directory has mode %v and is of %+v", mode, ownerAt(t, target))
	}
}
