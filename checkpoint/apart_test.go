package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stratoswarm/forestall"
)

// A restore must not replace the store that it reads from, nor another one.
func TestRestoreStaysApartFromStores(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), state(t)
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	other := openDir(t, small())
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Dir(d.path), link); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{
		d.path, filepath.Dir(d.path), filepath.Join(d.path, packDir), filepath.Join(d.path, "new", "deep"),
		filepath.Join(link, filepath.Base(d.path)), link, other.path,
	} {
		if err := d.Restore(t.Context(), cp.ID, target); !errors.Is(err, ErrStoreInTheWay) {
			t.Errorf("restore to %s: %v", target, err)
		}
		if err := d.RestoreState(t.Context(), cp.ID, "log", target); !errors.Is(err, ErrStoreInTheWay) {
			t.Errorf("restore of a state to %s: %v", target, err)
		}
		if _, err := d.Preview(t.Context(), cp.ID, "", target); !errors.Is(err, ErrStoreInTheWay) {
			t.Errorf("preview of %s: %v", target, err)
		}
	}
	if err := d.Verify(t.Context(), cp.ID); err != nil {
		t.Error(err)
	}
}
