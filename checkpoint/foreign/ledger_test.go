package foreign

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall/checkpoint"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// dcp makes a directory as PyTorch's distributed checkpoint leaves it, whose
// index was written that long before noon.
func dcp(t testing.TB, dir string, age time.Duration) string {
	t.Helper()
	for name, content := range map[string]string{
		"__0_0.distcp": strings.Repeat("a", 5000), "__1_0.distcp": strings.Repeat("b", 7000), "sub/extra": "x", dcpIndex: "index of " + dir,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, noon.Add(-age), noon.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func open(t testing.TB) *Ledger {
	t.Helper()
	l, err := Open(filepath.Join(t.TempDir(), "ledger"), func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestRegisterAndVerify(t *testing.T) {
	ctx, l := context.Background(), open(t)
	dir := dcp(t, filepath.Join(t.TempDir(), "step-100"), time.Hour)
	e, err := l.Register(ctx, Registration{Workload: "train-7", Path: dir, Label: "step 100", Hash: true})
	if err != nil {
		t.Fatal(err)
	}
	if e.Kind != DCP || e.Size != int64(12001+len("index of "+dir)) || len(e.Files) != 4 || !e.Time.Equal(noon.Add(-time.Hour)) {
		t.Errorf("entry %+v", e)
	}
	again, err := l.Register(ctx, Registration{Workload: "train-7", Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e, again); diff != "" {
		t.Errorf("registered twice (-first +second):\n%s", diff)
	}
	if err := l.Verify(ctx, e.ID, true); err != nil {
		t.Fatal(err)
	}
	if e, err = l.Get(e.ID); err != nil || e.Verified == nil || !e.Verified.Equal(noon) {
		t.Errorf("after Verify: %+v, %v", e, err)
	}
	shard := filepath.Join(dir, "__1_0.distcp")
	for _, damage := range []struct {
		name     string
		do       func() error
		contents bool
		want     string
	}{
		{"a flipped bit", func() error { return os.WriteFile(shard, []byte(strings.Repeat("b", 6999)+"c"), 0o644) }, true, "content of " + shard},
		{"cut off", func() error { return os.Truncate(shard, 100) }, false, "has 100 bytes, 7000 were registered"},
		{"missing", func() error { return os.Remove(shard) }, false, shard + " is missing"},
		{"written over", func() error {
			dcp(t, dir, 0)
			return os.WriteFile(filepath.Join(dir, dcpIndex), []byte("index Of "+dir), 0o644)
		}, false, "another checkpoint was written over it"},
		{"gone", func() error { return os.RemoveAll(dir) }, false, "has gone"},
	} {
		if err := damage.do(); err != nil {
			t.Fatal(err)
		}
		err := l.Verify(ctx, e.ID, damage.contents)
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), damage.want) {
			t.Errorf("%s: %v, want %q", damage.name, err, damage.want)
		}
	}
}

func TestRegisterRefuses(t *testing.T) {
	ctx, l := context.Background(), open(t)
	unfinished := dcp(t, filepath.Join(t.TempDir(), "step"), time.Hour)
	if err := os.Remove(filepath.Join(unfinished, dcpIndex)); err != nil {
		t.Fatal(err)
	}
	fresh := t.TempDir()
	if err := os.WriteFile(filepath.Join(fresh, "f"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(fresh, "f"), noon, noon.Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	linked := t.TempDir()
	if err := os.Symlink("/etc/passwd", filepath.Join(linked, "link")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ path, want string }{
		{unfinished, "no .metadata, which is written last: it is not finished"},
		{fresh, "it may not be finished"},
		{linked, "not a regular file"},
		{t.TempDir(), "is empty"},
		{"/nowhere/at/all", "no such file"},
	} {
		if _, err := l.Register(ctx, Registration{Workload: "w", Path: tt.path}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.path, err, tt.want)
		}
	}
	if _, err := l.Register(ctx, Registration{Workload: "no/name", Path: dcp(t, filepath.Join(t.TempDir(), "ok"), time.Hour)}); err == nil {
		t.Error("a bad name is accepted")
	}
}

func TestPrune(t *testing.T) {
	ctx, l, root := context.Background(), open(t), t.TempDir()
	step := func(name string, age time.Duration) Entry {
		e, err := l.Register(ctx, Registration{Workload: "w", Path: dcp(t, filepath.Join(root, name), age)})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	step("step-5", time.Hour)
	damaged := step("step-4", 2*time.Hour)
	step("step-3", 3*time.Hour)
	pinned := step("step-2", 50*time.Hour)
	old := step("step-1", 60*time.Hour)
	reused := step("step-0", 70*time.Hour)
	over := step("latest", 80*time.Hour) // is written over and registered again
	if err := os.WriteFile(filepath.Join(over.Path, dcpIndex), []byte("a later one"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Register(ctx, Registration{Workload: "v", Path: over.Path}); err != nil {
		t.Fatal(err)
	}
	if err := l.Pin(pinned.ID, true); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(damaged.Path, "__0_0.distcp"), 1); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(reused.Path, dcpIndex), []byte("somebody else's"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := Retention{Age: 24 * time.Hour, Keep: 2, Data: true}
	dry, err := l.Prune(ctx, r, true)
	if err != nil {
		t.Fatal(err)
	}
	dropped, err := l.Prune(ctx, r, false)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(dry, dropped); diff != "" {
		t.Errorf("the dry run said otherwise:\n%s", diff)
	}
	var ids []string
	for _, e := range dropped {
		ids = append(ids, e.ID)
	}
	if want := []string{old.ID, reused.ID, over.ID}; !cmp.Equal(ids, want) {
		t.Errorf("dropped %v, want the old, the reused and the overwritten one", ids)
	}
	for path, want := range map[string]bool{old.Path: false, reused.Path: true, over.Path: true, pinned.Path: true, damaged.Path: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", path, err == nil, want)
		}
	}
	all, err := l.List("w")
	if err != nil || len(all) != 4 {
		t.Errorf("%d entries are left, %v; want 4", len(all), err)
	}
}

// TestPruneNothingWhole: the last resort stays even when it is damaged.
func TestPruneNothingWhole(t *testing.T) {
	ctx, l := context.Background(), open(t)
	e, err := l.Register(ctx, Registration{Workload: "w", Path: dcp(t, filepath.Join(t.TempDir(), "only"), 100*time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(e.Path, "__0_0.distcp"), 1); err != nil {
		t.Fatal(err)
	}
	if dropped, err := l.Prune(ctx, Retention{Keep: 1, Data: true}, false); len(dropped) != 0 || err != nil {
		t.Errorf("dropped %v, %v", dropped, err)
	}
}

// Content that was found damaged is not what Prune keeps in place of another.
func TestPruneKeepsTheNewestVerified(t *testing.T) {
	ctx, l, root := context.Background(), open(t), t.TempDir()
	register := func(name string, age time.Duration) Entry {
		e, err := l.Register(ctx, Registration{Workload: "w", Path: dcp(t, filepath.Join(root, name), age), Hash: true})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	newest, good, old := register("step-3", 50*time.Hour), register("step-2", 60*time.Hour), register("step-1", 70*time.Hour)
	shard := filepath.Join(newest.Path, "__1_0.distcp")
	rot := func(last string) {
		if err := os.WriteFile(shard, []byte(strings.Repeat("b", 6999)+last), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	rot("c")
	verify := func(contents, want bool) {
		t.Helper()
		if err := l.Verify(ctx, newest.ID, contents); errors.Is(err, ErrDamaged) == want {
			t.Errorf("verify, contents %v: %v, want it whole: %v", contents, err, want)
		}
	}
	verify(true, false)
	verify(false, false) // what was not read again is not whole again
	if e, err := l.Register(ctx, Registration{Workload: "w", Path: newest.Path, Hash: true}); err != nil || e.Damaged == nil {
		t.Errorf("registered again: %+v, %v; want it damaged still", e, err)
	}
	verify(true, false)
	prune := func(want ...string) {
		t.Helper()
		dropped, err := l.Prune(ctx, Retention{Age: 24 * time.Hour, Keep: 1, Data: true}, false)
		var ids []string
		for _, e := range dropped {
			ids = append(ids, e.ID)
		}
		if err != nil || !cmp.Equal(ids, want) {
			t.Errorf("dropped %v (%v), want %v", ids, err, want)
		}
	}
	prune(old.ID)
	rot("b")
	verify(true, true)
	verify(false, true)
	prune(good.ID)
}

// Data that an entry which stays needs is not removed for the sake of another.
func TestPruneSparesSharedData(t *testing.T) {
	for name, other := range map[string]string{"the same": "run/step", "inside": "run/step/sub", "above": "run"} {
		t.Run(name, func(t *testing.T) {
			ctx, l, root := context.Background(), open(t), t.TempDir()
			dir := filepath.Join(root, "run/step")
			if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o700); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"run/log", "run/step/weights", "run/step/sub/extra"} {
				path := filepath.Join(root, name)
				if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Chtimes(path, noon.Add(-60*time.Hour), noon.Add(-60*time.Hour)); err != nil {
					t.Fatal(err)
				}
			}
			register := func(workload, path string) Entry {
				e, err := l.Register(ctx, Registration{Workload: workload, Path: path})
				if err != nil {
					t.Fatal(err)
				}
				return e
			}
			shared := register("a", dir)
			register("a", dcp(t, filepath.Join(root, "later"), time.Hour))
			kept := register("b", filepath.Join(root, other))
			r := Retention{Age: 24 * time.Hour, Keep: 1, Data: true}
			if dropped, err := l.Prune(ctx, r, false); len(dropped) != 0 || err != nil {
				t.Errorf("dropped %v, %v", dropped, err)
			}
			if err := l.Verify(ctx, kept.ID, false); err != nil {
				t.Error(err)
			}
			if err := l.Forget(kept.ID); err != nil {
				t.Fatal(err)
			}
			if dropped, err := l.Prune(ctx, r, false); len(dropped) != 1 || dropped[0].ID != shared.ID || err != nil {
				t.Errorf("without the other: dropped %v, %v", dropped, err)
			}
			if _, err := os.Stat(filepath.Join(dir, "weights")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("its data is there: %v", err)
			}
		})
	}
}

func TestDamagedEntry(t *testing.T) {
	ctx, l := context.Background(), open(t)
	e, err := l.Register(ctx, Registration{Workload: "w", Path: dcp(t, filepath.Join(t.TempDir(), "a"), time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(l.dir, e.ID)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(b); at += 7 {
		broken := bytes.Clone(b)
		broken[at] ^= 1
		if _, err := decodeEntry(broken); err == nil {
			t.Fatalf("byte %d may be anything", at)
		}
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.List(""); !errors.Is(err, checkpoint.ErrCorrupt) {
		t.Errorf("list: %v, want ErrCorrupt", err)
	}
	if err := l.Forget(e.ID); err != nil {
		t.Errorf("forget a damaged entry: %v", err)
	}
}

func FuzzEntry(f *testing.F) {
	e := Entry{Workload: "w", Kind: Tree, Path: "/a", Time: noon, Registered: noon, Size: 3, Files: []File{{Path: "f", Size: 3}}}
	e.ID = e.identity()
	b, err := e.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:20])
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEntry(b)
		if err != nil {
			return
		}
		if again, err := e.encode(); err != nil {
			t.Error(err)
		} else if _, err := decodeEntry(again); err != nil {
			t.Errorf("what was read cannot be read again: %v", err)
		}
	})
}
