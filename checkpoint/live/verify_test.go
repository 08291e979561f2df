package live_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/checkpoint/live"
)

// Config.Verify: what the disk lost with no trace is read, found and written anew.
func TestVerify(t *testing.T) {
	for _, verify := range []bool{false, true} {
		store := filepath.Join(t.TempDir(), "store")
		open := func() *checkpoint.Dir {
			d, err := checkpoint.OpenDir(store, checkpoint.DefaultOptions())
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		a, change := newAgent(1<<20), func(c *live.Config) { c.Verify = verify }
		d := open()
		create(t, manage(t, d, a, change), "")
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		packs, _ := filepath.Glob(filepath.Join(store, "packs", "*"))
		for _, path := range packs {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)/2] ^= 4
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		d = open()
		cp := create(t, manage(t, d, a, change), "")
		if err := d.Verify(t.Context(), cp.ID); errors.Is(err, checkpoint.ErrCorrupt) == verify {
			t.Errorf("verify %v: the checkpoint: %v", verify, err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}
