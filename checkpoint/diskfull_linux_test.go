package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stratoswarm/forestall"
	"golang.org/x/sys/unix"
)

// TestReallyFullDisk fills a small file system.
func TestReallyFullDisk(t *testing.T) {
	mnt := t.TempDir()
	if err := unix.Mount("tmpfs", mnt, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	defer func() {
		if err := unix.Unmount(mnt, 0); err != nil {
			t.Error(err)
		}
	}()
	d := must[*Dir](t)(OpenDir(filepath.Join(mnt, "store"), small()))
	defer closeDir(t, d)
	src := t.TempDir()
	writeFiles(t, src, map[string]string{"f": noise(1, 800<<10)})
	kept := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	writeFiles(t, src, map[string]string{"f": noise(2, 8<<20)})
	if _, err := d.Save(t.Context(), Snapshot{Workload: "w", Source: src}); !errors.Is(err, ErrDiskFull) {
		t.Errorf("save: %v, want ErrDiskFull", err)
	}
	if _, err := d.Stage(t.Context(), Snapshot{Workload: "w", Source: src}); !errors.Is(err, ErrDiskFull) {
		t.Errorf("stage: %v, want ErrDiskFull", err)
	}
	noTemporaryFiles(t, d)
	target := filepath.Join(mnt, "target")
	writeFiles(t, target, map[string]string{"old": noise(3, 2800<<10)})
	if err := d.Restore(t.Context(), kept.ID, target); !errors.Is(err, ErrDiskFull) {
		t.Errorf("restore: %v, want ErrDiskFull", err)
	}
	if _, err := os.Stat(filepath.Join(target, "old")); err != nil {
		t.Errorf("the target suffered: %v", err)
	}
	if err := d.Verify(t.Context(), kept.ID); err != nil {
		t.Errorf("the first checkpoint suffered: %v", err)
	}
	writeFiles(t, src, map[string]string{"f": noise(1, 800<<10) + "x"})
	must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
}

// TestFullDiskIsLeftAgain fills a file system with checkpoints: the store opens,
// drops the old ones and takes new ones again.
func TestFullDiskIsLeftAgain(t *testing.T) {
	mnt := t.TempDir()
	if err := unix.Mount("tmpfs", mnt, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	defer func() {
		if err := unix.Unmount(mnt, 0); err != nil {
			t.Error(err)
		}
	}()
	store, src := filepath.Join(mnt, "store"), t.TempDir()
	d := must[*Dir](t)(OpenDir(store, small()))
	var err error
	for i := uint64(0); err == nil; i++ {
		writeFiles(t, src, map[string]string{"f": noise(i, 300<<10)})
		_, err = d.Save(t.Context(), Snapshot{Workload: "w", Source: src})
	}
	if !errors.Is(err, ErrDiskFull) {
		t.Fatal(err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(mnt, &st); err != nil {
		t.Fatal(err)
	}
	writeFull(t, filepath.Join(mnt, "filler"), int(st.Bavail)*int(st.Bsize))
	closeDir(t, d)
	d = must[*Dir](t)(OpenDir(store, small()))
	defer func() { closeDir(t, d) }()
	kept := must[[]forestall.Checkpoint](t)(d.List("w"))
	for _, cp := range kept[2:] {
		if err := d.Delete(t.Context(), cp.ID); err != nil {
			t.Fatalf("delete on a full disk: %v", err)
		}
	}
	if freed, err := d.GC(t.Context()); freed < int64(len(kept)-2)*(300<<10) {
		t.Errorf("freed %d bytes (%v)", freed, err)
	}
	must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	closeDir(t, d)
	d = must[*Dir](t)(OpenDir(store, small()))
	if n := len(must[[]forestall.Checkpoint](t)(d.List("w"))); n != 3 || len(d.damaged) > 0 {
		t.Errorf("%d checkpoints, %d missed; want 3 and none", n, len(d.damaged))
	}
	for _, cp := range kept[:2] {
		if err := d.Verify(t.Context(), cp.ID); err != nil {
			t.Error(err)
		}
	}
}

// writeFull writes as much of n bytes as there is room for.
func writeFull(t *testing.T, path string, n int) {
	t.Helper()
	f := must[*os.File](t)(os.Create(path))
	defer f.Close()
	for _, piece := range []int{1 << 16, 1 << 12} {
		for ; n > 0; n -= piece {
			if _, err := f.Write(make([]byte, piece)); err != nil {
				break
			}
		}
	}
}
