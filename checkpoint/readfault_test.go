package checkpoint_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/checkpoint/seal"
	"github.com/stratoswarm/forestall/checkpoint/storetest"
)

// TestReadingFails works on a store whose files are read wrongly now and then,
// and looks after each step, without faults, that every checkpoint
// that was acknowledged is there to the last byte: no fault that passes makes
// the store put a chunk aside, rewrite a pack short of one or forget a manifest.
func TestReadingFails(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	for _, sealed := range []bool{false, true} {
		t.Run(fmt.Sprintf("sealed=%v", sealed), func(t *testing.T) {
			t.Parallel()
			t.Logf("seed %d", seed)
			opt := storeOptions()
			if sealed {
				opt.Keys = newKeys(t)
			}
			u := &unsteady{
				t: t, opt: opt, path: filepath.Join(t.TempDir(), "store"), tree: t.TempDir(),
				faults: storetest.NewFaults(http.DefaultTransport, seed), rng: rand.New(rand.NewPCG(seed, 2)),
				want: make(map[string]map[string]string),
			}
			u.open()
			steps := 150
			if testing.Short() {
				steps = 40
			}
			for range steps {
				u.faults.Set(0.1)
				u.step()
				u.faults.Set(0)
				u.check()
				if t.Failed() {
					t.FailNow()
				}
			}
			if err := u.d.Close(); err != nil {
				t.Error(err)
			}
			u.open()
			u.check()
			t.Logf("%v; %d steps succeeded, %d failed; %d checkpoints at the end", u.faults.Hits(), u.good, u.bad, len(u.want))
			if left, err := os.ReadDir(filepath.Join(u.path, "corrupt")); err != nil || len(left) > 0 {
				t.Errorf("put aside, of a store in which nothing is rotten: %v, %v", left, err)
			}
		})
	}
}

func newKeys(t *testing.T) *seal.Keyring {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	file, err := seal.New([]string{id.Recipient().String()}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := seal.Open(file, strings.NewReader(id.String()))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// unsteady is a store whose files are read wrongly now and then.
type unsteady struct {
	t          *testing.T
	opt        checkpoint.Options
	path, tree string
	d          *checkpoint.Dir
	faults     *storetest.Faults
	rng        *rand.Rand
	want       map[string]map[string]string // by ID: what each file holds
	files      map[string]string            // of the state, as it is
	good, bad  int
}

func (u *unsteady) open() { u.d = faultyDir(u.t, u.path, u.opt, u.faults) }

func (u *unsteady) step() {
	ctx := u.t.Context()
	var err error
	switch u.rng.IntN(8) {
	case 0, 1, 2:
		err = u.save()
	case 3:
		_, err = u.d.GC(ctx)
	case 4:
		_, err = u.d.Scrub(ctx, 0)
	case 5:
		for id := range u.want {
			err = u.d.Restore(ctx, id, filepath.Join(u.t.TempDir(), "t"))
			break
		}
	case 6:
		for id := range u.want {
			if len(u.want) < 3 {
				break
			}
			if err = u.d.Delete(ctx, id); err == nil {
				delete(u.want, id)
			}
			break
		}
	case 7:
		if err := u.d.Close(); err != nil {
			u.t.Error(err)
		}
		var d *checkpoint.Dir
		if d, err = checkpoint.OpenDirReading(u.path, u.opt, u.faults.ReadAt); err == nil {
			err = d.Close() // what it could not read it has told
		}
		u.faults.Set(0)
		u.open()
	}
	if err != nil {
		u.bad++
		return
	}
	u.good++
}

func (u *unsteady) save() error {
	if u.files == nil {
		u.files = make(map[string]string)
	}
	name := fmt.Sprint("f", u.rng.IntN(5))
	b := make([]byte, u.rng.IntN(40<<10))
	_, _ = rand.NewChaCha8([32]byte{byte(u.rng.Uint32()), byte(u.rng.Uint32())}).Read(b)
	u.files[name] = string(b)
	if err := os.WriteFile(filepath.Join(u.tree, name), b, 0o644); err != nil {
		u.t.Fatal(err)
	}
	cp, err := u.d.Save(u.t.Context(), checkpoint.Snapshot{Workload: "w", Source: u.tree})
	if err == nil {
		u.want[cp.ID] = make(map[string]string)
		for name, content := range u.files {
			u.want[cp.ID][name] = content
		}
	}
	return err
}

// check looks at everything, without faults.
func (u *unsteady) check() {
	all, err := u.d.List("")
	if err != nil {
		u.t.Fatal(err)
	}
	listed := make(map[string]forestall.Checkpoint)
	for _, cp := range all {
		listed[cp.ID] = cp
	}
	for id, files := range u.want {
		if _, ok := listed[id]; !ok {
			u.t.Errorf("checkpoint %.12s was acknowledged and is not listed", id)
		}
		for name, content := range files {
			got := make(inMemory, len(content))
			if _, err := u.d.ReadFile(u.t.Context(), id, name, got); err != nil {
				u.t.Errorf("checkpoint %.12s was acknowledged: %v", id, err)
			} else if string(got) != content {
				u.t.Errorf("checkpoint %.12s holds something else", id)
			}
		}
	}
	for id := range listed {
		if err := u.d.Verify(u.t.Context(), id); err != nil && !errors.Is(err, checkpoint.ErrNotFound) {
			u.t.Errorf("checkpoint %.12s is listed: %v", id, err)
		}
	}
}

type inMemory []byte

func (m inMemory) WriteAt(b []byte, at int64) (int, error) { return copy(m[at:], b), nil }
