package checkpoint

import (
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/internal/durable"
)

// TestDiskFullAtEveryWrite lets each write of a checkpoint in turn find the
// disk full, having written half.
func TestDiskFullAtEveryWrite(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), state(t)
	kept := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	for at := int64(1); ; at++ {
		writeFiles(t, src, map[string]string{"model/weights": noise(uint64(at)+10, 16<<10)})
		var n atomic.Int64
		d.fs = hookedFS{durable.OS{}, func(op, _ string) error {
			if (op == "create" || op == "write") && n.Add(1) == at {
				return syscall.ENOSPC
			}
			return nil
		}}
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

// hookedFS asks hook before each operation. A write that it refuses is half
// done.
type hookedFS struct {
	durable.FS
	hook func(op, path string) error
}

type hookedFile struct {
	durable.File
	path string
	hook func(op, path string) error
}

func (h hookedFS) Create(path string) (durable.File, error) {
	if err := h.hook("create", path); err != nil {
		return nil, err
	}
	f, err := h.FS.Create(path)
	return hookedFile{f, path, h.hook}, err
}

func (h hookedFS) Open(path string) (durable.File, error) {
	f, err := h.FS.Open(path)
	return hookedFile{f, path, h.hook}, err
}

func (h hookedFS) Rename(from, to string) error {
	if err := h.hook("rename", to); err != nil {
		return err
	}
	return h.FS.Rename(from, to)
}

func (h hookedFS) Remove(path string) error {
	if err := h.hook("remove", path); err != nil {
		return err
	}
	return h.FS.Remove(path)
}

func (h hookedFS) SyncDir(path string) error {
	if err := h.hook("syncdir", path); err != nil {
		return err
	}
	return h.FS.SyncDir(path)
}

func (f hookedFile) WriteAt(b []byte, at int64) (int, error) {
	if err := f.hook("write", f.path); err != nil {
		n, _ := f.File.WriteAt(b[:len(b)/2], at)
		return n, err
	}
	return f.File.WriteAt(b, at)
}

func (f hookedFile) Sync() error {
	if err := f.hook("sync", f.path); err != nil {
		return err
	}
	return f.File.Sync()
}

// A store that was opened on a full disk goes on with the catalogue that was there.
// What that says was dropped, and comes back, stays.
func TestComesBackAfterDiskFull(t *testing.T) {
	t.Parallel()
	d, src, aside := openDir(t, small()), state(t), openDir(t, small())
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	if err := Copy(t.Context(), Local(aside), Local(d), cp.ID); err != nil {
		t.Fatal(err)
	}
	if err := d.Delete(t.Context(), cp.ID); err != nil {
		t.Fatal(err)
	}
	closeDir(t, d)
	var full, synced atomic.Bool
	full.Store(true)
	again := must[*Dir](t)(openDirOn(hookedFS{durable.OS{}, func(op, path string) error {
		if op == "create" && full.Load() {
			return syscall.ENOSPC
		}
		if op == "sync" && filepath.Base(path) == catalogueFile {
			synced.Store(true)
		}
		return nil
	}}, d.path, small()))
	defer closeDir(t, again)
	full.Store(false)
	if err := Copy(t.Context(), Local(again), Local(aside), cp.ID); err != nil {
		t.Fatal(err)
	}
	if !synced.Load() {
		t.Error("after a power failure the next start drops it again")
	}
}
