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
