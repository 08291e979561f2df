package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/internal/durable"
)

func TestOpenDirReadOnly(t *testing.T) {
	ctx := context.Background()
	d, source := openDir(t, small()), state(t)
	first := must[forestall.Checkpoint](t)(d.Save(ctx, Snapshot{Workload: "w", Epoch: 1, Source: source}))
	r, err := OpenDirReadOnly(d.Path(), small()) // d is open still
	if err != nil {
		t.Fatal(err)
	}
	defer closeDir(t, r)
	if err := r.Verify(ctx, first.ID); err != nil {
		t.Error(err)
	}
	target := filepath.Join(t.TempDir(), "restored")
	if err := r.Restore(ctx, first.ID, target); err != nil {
		t.Fatal(err)
	}
	sameTree(t, readTree(t, source), readTree(t, target))
	writeFiles(t, source, map[string]string{"new": "x"})
	_, saved := r.Save(ctx, Snapshot{Workload: "w", Epoch: 1, Source: source})
	for what, err := range map[string]error{"save": saved, "delete": r.Delete(ctx, first.ID), "fence": r.Fence(ctx, "w", 9)} {
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s: %v, want ErrReadOnly", what, err)
		}
	}
	if _, err := OpenDirReadOnly(t.TempDir(), small()); !errors.Is(err, ErrNotStore) {
		t.Errorf("an empty directory: %v, want ErrNotStore", err)
	}
	if err := d.Verify(ctx, first.ID); err != nil {
		t.Errorf("the reader has changed the store: %v", err)
	}
}

func TestDiff(t *testing.T) {
	ctx := context.Background()
	d, source := openDir(t, small()), t.TempDir()
	writeFiles(t, source, map[string]string{"same": noise(1, 9000), "edited": "one", "gone": "x"})
	from := must[forestall.Checkpoint](t)(d.Save(ctx, Snapshot{Workload: "w", Epoch: 1, Source: source}))
	if err := removeTree(filepath.Join(source, "gone")); err != nil {
		t.Fatal(err)
	}
	writeFiles(t, source, map[string]string{"edited": "three", "new/file": "yy"})
	to := must[forestall.Checkpoint](t)(d.Save(ctx, Snapshot{Workload: "w", Epoch: 1, Source: source}))
	got, err := d.Diff(ctx, from.ID, to.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := Difference{From: from, To: to, Added: []string{"new", "new/file"}, Changed: []string{"edited"}, Removed: []string{"gone"}, Same: 2, Bytes: 7}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("diff (-want +got):\n%s", diff)
	}
	if _, err := d.Diff(ctx, from.ID, "nothing"); !errors.Is(err, ErrNotFound) {
		t.Errorf("diff with what is not there: %v", err)
	}
}

// meddledFS calls do once, before the first file is read of that name or in a
// directory of that name.
type meddledFS struct {
	durable.FS
	name string
	do   func()
	once *sync.Once
}

func (m meddledFS) OpenRead(path string) (durable.ReadFile, error) {
	if filepath.Base(path) == m.name || filepath.Base(filepath.Dir(path)) == m.name {
		m.once.Do(m.do)
	}
	return m.FS.OpenRead(path)
}

// Whatever an engine does with its store while somebody opens and reads it, what is
// listed can be read, and nothing is taken for lost that was dropped.
func TestOpenDirReadOnlyBesideItsEngine(t *testing.T) {
	t.Parallel()
	for _, name := range []string{catalogueFile, fenceDir, packDir, manifestDir, "when it is open"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var logs bytes.Buffer
			d, src := openDir(t, rested()), t.TempDir()
			save := func(files map[string]string) forestall.Checkpoint {
				t.Helper()
				writeFiles(t, src, files)
				return must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
			}
			kept := save(map[string]string{"stays": noise(1, 30<<10), "changes": noise(2, 30<<10)})
			dropped := save(map[string]string{"changes": noise(3, 30<<10), "more": noise(4, 30<<10)})
			newest := save(map[string]string{"changes": noise(5, 30<<10)})
			if err := d.Fence(t.Context(), "v", 1); err != nil {
				t.Fatal(err)
			}
			engine := func() {
				for _, id := range []string{kept.ID, dropped.ID} {
					if err := d.Delete(t.Context(), id); err != nil {
						t.Error(err)
					}
				}
				if _, err := d.GC(t.Context()); err != nil { // which writes packs anew
					t.Error(err)
				}
				save(map[string]string{"changes": noise(6, 30<<10)})
			}
			before := must[[]os.DirEntry](t)(os.ReadDir(d.packs.dir))
			once := new(sync.Once)
			opt := rested()
			opt.Logger = slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelError}))
			r, err := openDirReadOnlyOn(meddledFS{durable.OS{}, name, engine, once}, d.Path(), opt)
			if err != nil {
				t.Fatal(err)
			}
			defer closeDir(t, r)
			once.Do(engine)
			if after := must[[]os.DirEntry](t)(os.ReadDir(d.packs.dir)); slices.ContainsFunc(before, func(e os.DirEntry) bool {
				return slices.ContainsFunc(after, func(a os.DirEntry) bool { return a.Name() == e.Name() })
			}) && len(after) > len(before) {
				t.Fatal("no pack was written anew")
			}
			if lost := r.Damaged(); len(lost) > 0 || logs.Len() > 0 {
				t.Errorf("taken for damaged: %v; told: %s", lost, &logs)
			}
			if err := r.Verify(t.Context(), newest.ID); err != nil {
				t.Error(err)
			}
			for _, cp := range must[[]forestall.Checkpoint](t)(r.List("")) {
				if cp.ID == kept.ID || cp.ID == dropped.ID {
					continue // known to be there when the store was opened
				}
				if err := r.Restore(t.Context(), cp.ID, filepath.Join(t.TempDir(), "t")); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// refusingFS cannot open packs while refuse is set.
type refusingFS struct {
	durable.FS
	refuse *bool
}

func (f refusingFS) OpenRead(path string) (durable.ReadFile, error) {
	if *f.refuse && filepath.Base(filepath.Dir(path)) == packDir {
		return nil, syscall.EMFILE
	}
	return f.FS.OpenRead(path)
}

// Packs that could not be opened when they were looked at are looked at again, not
// taken for lost from then on.
func TestReadOnlyLooksAgainAfterAnError(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, rested()), t.TempDir()
	save := func(seed uint64, workload string) forestall.Checkpoint {
		writeFiles(t, src, map[string]string{"f": noise(seed, 30<<10)})
		return must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: workload, Source: src}))
	}
	cp := save(1, "w")
	refuse := new(bool)
	r, err := openDirReadOnlyOn(refusingFS{durable.OS{}, refuse}, d.Path(), rested())
	if err != nil {
		t.Fatal(err)
	}
	defer closeDir(t, r)
	save(2, "v") // another pack
	*refuse = true
	for range 2 {
		if _, err := r.lookAgain(r.looked()); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("packs that cannot be opened: %v", err)
		}
	}
	*refuse = false
	if err := r.Verify(t.Context(), cp.ID); err != nil {
		t.Error(err)
	}
}
