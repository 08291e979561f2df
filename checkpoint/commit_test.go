package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/internal/durable"
)

// failing is a file system on which an operation on what lies in one of the
// store's directories does not work.
func failing(op, dir string) durable.FS {
	return hookedFS{durable.OS{}, func(did, path string) error {
		if did == op && (filepath.Base(path) == dir || filepath.Base(filepath.Dir(path)) == dir) {
			return syscall.EIO
		}
		return nil
	}}
}

// A checkpoint whose commit failed when its manifest had its name already does
// not appear, neither beside the next one nor below a fence.
func TestFailedCommitStaysAway(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), state(t)
	d.fs = failing("syncdir", manifestDir)
	if _, err := d.Save(t.Context(), Snapshot{Workload: "w", Epoch: 1, Source: src}); !errors.Is(err, syscall.EIO) {
		t.Fatalf("save: %v", err)
	}
	d.fs = durable.OS{}
	if err := d.Fence(t.Context(), "w", 2); err != nil {
		t.Fatal(err)
	}
	kept := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Epoch: 2, Source: src}))
	closeDir(t, d)
	d = must[*Dir](t)(OpenDir(d.path, small()))
	defer closeDir(t, d)
	got := must[[]forestall.Checkpoint](t)(d.List(""))
	if len(got) != 1 || got[0].ID != kept.ID || len(d.Damaged()) > 0 {
		t.Errorf("after a restart: %+v, damaged %v", got, d.Damaged())
	}
}

// As long as it cannot be taken back there is neither a new checkpoint nor a
// higher fence.
func TestCommitInDoubt(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), state(t)
	file := d.catalogue.f
	d.catalogue.f = readOnlyFile{}
	d.fs = failing("syncdir", manifestDir)
	for range 2 {
		if _, err := d.Save(t.Context(), Snapshot{Workload: "w", Epoch: 1, Source: src}); err == nil {
			t.Fatal("saved")
		}
	}
	d.fs = durable.OS{}
	if err := d.Fence(t.Context(), "w", 2); !errors.Is(err, ErrReadOnly) || !strings.Contains(err.Error(), "take back checkpoint") {
		t.Errorf("fence: %v", err)
	}
	d.catalogue.f = file
	if err := d.Fence(t.Context(), "w", 2); err != nil {
		t.Fatal(err)
	}
	if left := must[[]os.DirEntry](t)(os.ReadDir(filepath.Join(d.path, manifestDir))); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A Delete that failed is not finished by the next start.
func TestFailedDelete(t *testing.T) {
	t.Parallel()
	d := openDir(t, small())
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: state(t)}))
	d.fs = failing("remove", manifestDir)
	if err := d.Delete(t.Context(), cp.ID); !errors.Is(err, syscall.EIO) {
		t.Fatalf("delete: %v", err)
	}
	d.fs = durable.OS{}
	if err := d.Pin(cp.ID); err != nil {
		t.Fatal(err)
	}
	closeDir(t, d)
	d = must[*Dir](t)(OpenDir(d.path, small()))
	defer closeDir(t, d)
	if err := d.Verify(t.Context(), cp.ID); err != nil || !d.Pinned(cp.ID) {
		t.Errorf("after a restart: pinned %v, %v", d.Pinned(cp.ID), err)
	}
}

// A pack whose index rots while the store is open does not keep GC from the
// others, nor what is whole of it from being kept.
func TestRepackPastRot(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), filepath.Join(t.TempDir(), "src")
	writeFiles(t, src, map[string]string{"a": noise(1, 30<<10), "b": noise(2, 20<<10)})
	old := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	writeFiles(t, src, map[string]string{"a": noise(3, 30<<10)})
	kept := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	p, _ := d.packs.get(0)
	flip(t, d.packs.path(p.id), p.size-packFooterLen-10)
	if err := d.Delete(t.Context(), old.ID); err != nil {
		t.Fatal(err)
	}
	if freed, err := d.GC(t.Context()); err != nil || freed < 20<<10 {
		t.Errorf("GC freed %d: %v", freed, err)
	}
	if err := d.Verify(t.Context(), kept.ID); err != nil {
		t.Error(err)
	}
	rot := filepath.Join(d.path, rotDir)
	if names := must[[]os.DirEntry](t)(os.ReadDir(rot)); len(names) != 1 {
		t.Errorf("put aside: %v, want the pack", names)
	}
	d.opt.Now = func() time.Time { return time.Now().Add(rotKept + time.Hour) }
	if _, err := d.GC(t.Context()); err != nil {
		t.Fatal(err)
	}
	if names := must[[]os.DirEntry](t)(os.ReadDir(rot)); len(names) != 0 {
		t.Errorf("put aside a month ago: %v", names)
	}
}
