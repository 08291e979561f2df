package checkpoint

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
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
