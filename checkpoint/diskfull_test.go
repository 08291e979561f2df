package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stratoswarm/forestall"
	"golang.org/x/sys/unix"
)

// TestDiskFullAtEveryWrite lets each write of a checkpoint in turn find the
// disk full, having written half.
func TestDiskFullAtEveryWrite(t *testing.T) {
	d, src := openDir(t, small()), state(t)
	kept := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	for at := int64(1); ; at++ {
		writeFiles(t, src, map[string]string{"model/weights": noise(uint64(at)+10, 16<<10)})
		var n atomic.Int64
		d.write = func(path string, data []byte, sync bool) error {
			if n.Add(1) != at {
				return writeNew(path, data, sync)
			}
			return halfWritten(path, data)
		}
		_, err := d.Save(t.Context(), Snapshot{Workload: "w", Source: src})
		if err == nil {
			if at < 5 {
				t.Errorf("only %d writes were made", at-1)
			}
			break
		}
		if !errors.Is(err, ErrDiskFull) || !errors.Is(err, syscall.ENOSPC) ||
			!strings.Contains(err.Error(), d.path) || !strings.Contains(err.Error(), "checkpoint_retention") {
			t.Errorf("write %d: %v, want ErrDiskFull with the path and a remedy", at, err)
		}
		noTemporaryFiles(t, d)
		if cps := must[[]forestall.Checkpoint](t)(d.List("")); len(cps) != 1 {
			t.Errorf("write %d: %d checkpoints visible, want the first only", at, len(cps))
		}
		if err := d.Verify(t.Context(), kept.ID); err != nil {
			t.Errorf("write %d: the first checkpoint suffered: %v", at, err)
		}
	}
}

// halfWritten does what a full disk does to writeNew.
func halfWritten(path string, data []byte) error {
	if err := writeNew(path, data[:len(data)/2], false); err != nil {
		return err
	}
	os.Remove(path)
	return fmt.Errorf("write %s: %w", path, syscall.ENOSPC)
}

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
	defer d.Close()
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
	writeFiles(t, target, map[string]string{"old": noise(3, 2<<20)})
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
