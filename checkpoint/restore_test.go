package checkpoint

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall"
)

func TestRestoreReplacesTheTarget(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), state(t)
	want := readTree(t, src)
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	writeFiles(t, src, map[string]string{"log": "later", "extra": "x"})
	if err := d.Restore(t.Context(), cp.ID, src); err != nil {
		t.Fatal(err)
	}
	sameTree(t, want, readTree(t, src))
	if left := must[[]os.DirEntry](t)(os.ReadDir(filepath.Dir(src))); len(left) != 1 {
		t.Errorf("left beside the target: %v", left)
	}
}

func TestRestoreFollowsALinkedStateDirectory(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), state(t)
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(src, link); err != nil {
		t.Fatal(err)
	}
	writeFiles(t, src, map[string]string{"extra": "x"})
	if err := d.Restore(t.Context(), cp.ID, link); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(src, "extra")); !errors.Is(err, os.ErrNotExist) {
		t.Error("the directory behind the link was not replaced")
	}
	if fi, err := os.Lstat(link); err != nil || fi.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced")
	}
}

func TestRestoreOfRottenDataLeavesTheTarget(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(t *testing.T, d *Dir, cp forestall.Checkpoint) string{
		"bit in a chunk": func(t *testing.T, d *Dir, cp forestall.Checkpoint) string {
			return damageChunk(t, d, someChunk(t, d, cp))
		},
		"bit in an entry's length": func(t *testing.T, d *Dir, cp forestall.Checkpoint) string {
			p, at, _ := packedAt(t, d, someChunk(t, d, cp))
			return flip(t, p, at+33)
		},
		"pack cut off": func(t *testing.T, d *Dir, cp forestall.Checkpoint) string {
			p, _, _ := packedAt(t, d, someChunk(t, d, cp))
			if err := os.Truncate(p, 100); err != nil {
				t.Fatal(err)
			}
			return p
		},
		"pack missing": func(t *testing.T, d *Dir, cp forestall.Checkpoint) string {
			p, _, _ := packedAt(t, d, someChunk(t, d, cp))
			if err := os.Remove(p); err != nil {
				t.Fatal(err)
			}
			return p
		},
		"bit in the manifest": func(t *testing.T, d *Dir, cp forestall.Checkpoint) string {
			return flip(t, d.manifestPath(cp.ID), 90)
		},
		"manifest missing": func(t *testing.T, d *Dir, cp forestall.Checkpoint) string {
			if err := os.Remove(d.manifestPath(cp.ID)); err != nil {
				t.Fatal(err)
			}
			return d.manifestPath(cp.ID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, src := openDir(t, small()), state(t)
			cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
			file := damage(t, d, cp)
			d.packs.close() // who has it open goes on reading what was unlinked
			target := filepath.Join(t.TempDir(), "target")
			writeFiles(t, target, map[string]string{"old": "state"})
			before := readTree(t, target)
			if err := d.Restore(t.Context(), cp.ID, target); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), file) {
				t.Errorf("restore: %v, want ErrCorrupt naming %s", err, file)
			}
			sameTree(t, before, readTree(t, target))
			if err := d.Verify(t.Context(), cp.ID); !errors.Is(err, ErrCorrupt) {
				t.Errorf("verify: %v, want ErrCorrupt", err)
			}
			if left := must[[]os.DirEntry](t)(os.ReadDir(filepath.Dir(target))); len(left) != 1 {
				t.Errorf("left beside the target: %v", left)
			}
			// The state is still there: the next checkpoint heals the store.
			cp = must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
			if err := d.Verify(t.Context(), cp.ID); err != nil {
				t.Errorf("after the next checkpoint: %v", err)
			}
		})
	}
}

// someChunk returns a chunk of noise.
func someChunk(t *testing.T, d *Dir, cp forestall.Checkpoint) hash {
	t.Helper()
	m := must[*manifest](t)(d.loadManifest(cp.ID))
	for _, e := range m.entries {
		if e.path == "model/weights" {
			return e.extents[2].hash
		}
	}
	t.Fatal("no file of noise")
	return hash{}
}

func flip(t *testing.T, path string, at int64) string {
	t.Helper()
	b := must[[]byte](t)(os.ReadFile(path))
	b[at] ^= 4
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRestoreRefusesAFile(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), state(t)
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	target := filepath.Join(t.TempDir(), "file")
	writeFiles(t, filepath.Dir(target), map[string]string{"file": "x"})
	if err := d.Restore(t.Context(), cp.ID, target); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("error %v", err)
	}
	if err := d.Restore(t.Context(), strings.Repeat("0", 64), target); !errors.Is(err, ErrNotFound) {
		t.Errorf("error %v, want ErrNotFound", err)
	}
}

func TestRestoreSweepsWhatKilledRestoresLeft(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), state(t)
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	parent := t.TempDir()
	writeFiles(t, parent, map[string]string{".t.restore-123/x": "half", ".t.restore-9.old/x": "old", ".tt.restore-1/x": "another's", ".t.restore-notes/x": "the operator's"})
	target := filepath.Join(parent, "t")
	sweep(parent, ".t.restore-", target)
	if b := must[[]byte](t)(os.ReadFile(filepath.Join(target, "x"))); string(b) != "old" {
		t.Errorf("the old state did not come back: %q", b)
	}
	if err := d.Restore(t.Context(), cp.ID, target); err != nil {
		t.Fatal(err)
	}
	if left := must[[]os.DirEntry](t)(os.ReadDir(parent)); len(left) != 3 {
		t.Errorf("left: %v, want the target, the neighbour's and what no restore has made", left)
	}
}

// TestRestoreLeavesOthersAlone: what another process builds is no rest; a restore
// that fails takes away what it made.
func TestRestoreLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), state(t)
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	parent := t.TempDir()
	target := filepath.Join(parent, "t")
	other := must[site](t)(newSite(parent, "t", target))
	writeFiles(t, other.dir, map[string]string{"x": "half"})
	if err := d.Restore(t.Context(), cp.ID, target); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(other.dir, "x")); err != nil {
		t.Errorf("another restore lost what it was building: %v", err)
	}
	if err := other.remove(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Restore(ctx, cp.ID, filepath.Join(parent, "a", "b", "t")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if left := must[[]os.DirEntry](t)(os.ReadDir(parent)); len(left) != 1 {
		t.Errorf("left: %v, want the target alone", left)
	}
}

func TestSwapByRenaming(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	writeFiles(t, parent, map[string]string{"build/x": "new", "target/x": "old"})
	if err := swapByRenaming(filepath.Join(parent, "build"), filepath.Join(parent, "target")); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{"target": "new", "build": "old"} {
		if b := must[[]byte](t)(os.ReadFile(filepath.Join(parent, dir, "x"))); string(b) != want {
			t.Errorf("%s holds %q, want %q", dir, b, want)
		}
	}
}

// Links are kept as they are, also those that lead out of the tree, and nothing
// is written through one.
func TestLinksThatLeadOut(t *testing.T) {
	t.Parallel()
	d, src, out := openDir(t, small()), state(t), t.TempDir()
	writeFiles(t, out, map[string]string{"b": "untouched"})
	for name, target := range map[string]string{"python": "/usr/bin/python3", "model/up": "../../beside", "out": out} {
		if err := os.Symlink(target, filepath.Join(src, name)); err != nil {
			t.Fatal(err)
		}
	}
	want := readTree(t, src)
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	target := filepath.Join(t.TempDir(), "target")
	// What the checkpoint has as a directory is a link in the target, and leads out.
	writeFiles(t, target, map[string]string{"out/deep": "x"})
	if err := os.Symlink(out, filepath.Join(target, "a")); err != nil {
		t.Fatal(err)
	}
	refused := func(err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), filepath.Join(target, "a")+" is not a directory") {
			t.Errorf("a state over a link: %v", err)
		}
	}
	_, err := d.Preview(t.Context(), cp.ID, "a", target)
	refused(err)
	refused(d.RestoreState(t.Context(), cp.ID, "a", target))
	if err := d.Restore(t.Context(), cp.ID, target); err != nil {
		t.Fatal(err)
	}
	sameTree(t, want, readTree(t, target))
	if got := readTree(t, out); len(got) != 2 || got["b"].Content != "untouched" {
		t.Errorf("behind the link is %v", got)
	}
}

// The dry run refuses what the restore refuses, in the same words.
func TestPreviewRefusesAsRestoreDoes(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), state(t)
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	target := filepath.Join(t.TempDir(), "target")
	writeFiles(t, target, map[string]string{"log/x": "in the checkpoint a file", "model": "in the checkpoint a directory", "dangling/x": "in the checkpoint a link"})
	before := readTree(t, target)
	for _, tc := range []struct{ state, target, says string }{
		{"log", target, "log is a directory"},
		{"dangling", target, "dangling is a directory"},
		{"model", target, "model is not a directory"},
		{"", filepath.Join(target, "model"), "model is not a directory"},
		{"log", filepath.Join(target, "model"), "model is not a directory"},
	} {
		_, err := d.Preview(t.Context(), cp.ID, tc.state, tc.target)
		restore := func() error { return d.RestoreState(t.Context(), cp.ID, tc.state, tc.target) }
		if tc.state == "" {
			restore = func() error { return d.Restore(t.Context(), cp.ID, tc.target) }
		}
		for _, err := range []error{err, restore()} {
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%q to %s: %v, want %q", tc.state, tc.target, err, tc.says)
			}
		}
	}
	sameTree(t, before, readTree(t, target))
}
