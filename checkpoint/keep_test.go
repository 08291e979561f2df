package checkpoint

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stratoswarm/forestall"
)

// Of a checkpoint whose manifest is lost the store still knows whose it is: a
// stale claim does not drop it, nor anybody while it is pinned.
func TestDropDamaged(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(*testing.T, string){
		"vanished": func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
		"unreadable": func(t *testing.T, path string) { flip(t, path, 20) },
	} {
		t.Run(name, func(t *testing.T) {
			d := openDir(t, small())
			cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Epoch: 2, Source: state(t)}))
			for _, err := range []error{d.Fence(t.Context(), "w", 2), d.Pin(cp.ID)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			closeDir(t, d)
			damage(t, d.manifestPath(cp.ID))
			for range 2 { // what the catalogue says survives being written anew
				d = must[*Dir](t)(OpenDir(d.path, small()))
				if d.Damaged()[cp.ID] == nil || d.WorkloadOf(cp.ID) != "w" {
					t.Fatalf("damaged %v, of workload %q", d.Damaged(), d.WorkloadOf(cp.ID))
				}
				closeDir(t, d)
			}
			d = must[*Dir](t)(OpenDir(d.path, small()))
			defer closeDir(t, d)
			if err := d.Drop(t.Context(), cp.ID, Claim{Epoch: 2}); !errors.Is(err, ErrPinned) {
				t.Errorf("drop of a pinned one: %v", err)
			}
			if err := d.Unpin(cp.ID); err != nil {
				t.Fatal(err)
			}
			if err := d.Drop(t.Context(), cp.ID, Claim{Epoch: 1}); !errors.Is(err, forestall.ErrStaleEpoch) {
				t.Errorf("drop with a stale claim: %v", err)
			}
			if err := d.Drop(t.Context(), cp.ID, Claim{Epoch: 2}); err != nil {
				t.Fatal(err)
			}
			if _, err := d.GC(t.Context()); err != nil || len(d.Damaged()) > 0 {
				t.Errorf("after the drop: GC %v, damaged %v", err, d.Damaged())
			}
		})
	}
}

// What a checkpoint cannot hold is counted and named.
func TestLeftOut(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), state(t)
	if err := syscall.Mkfifo(filepath.Join(src, "a", "queue"), 0o600); err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(memoryDir(t), "s") // a socket's path is at most 107 bytes long
	l := must[net.Listener](t)(net.Listen("unix", short))
	defer l.Close()
	if err := os.Rename(short, filepath.Join(src, "agent.sock")); err != nil {
		if err := syscall.Mkfifo(filepath.Join(src, "agent.sock"), 0o600); err != nil { // another file system
			t.Fatal(err)
		}
	}
	var ids []string
	for i := range 2 {
		var cp forestall.Checkpoint
		if s := (Snapshot{Workload: "w", Source: src}); i == 0 {
			cp = must[forestall.Checkpoint](t)(d.Save(t.Context(), s))
		} else {
			cp = must[forestall.Checkpoint](t)(must[*Staged](t)(d.Stage(t.Context(), s)).Save(t.Context(), 0))
		}
		if cp.LeftOut.Count != 2 || len(cp.LeftOut.First) != 2 || cp.LeftOut.First[0] != "a/queue (pipe)" || !strings.HasPrefix(cp.LeftOut.First[1], "agent.sock (") {
			t.Errorf("left out: %+v", cp.LeftOut)
		}
		ids = append(ids, cp.ID)
	}
	// The store knows it later, and elsewhere.
	closeDir(t, d)
	d = must[*Dir](t)(OpenDir(d.path, small()))
	defer closeDir(t, d)
	other := openDir(t, small())
	for _, id := range ids {
		if err := Copy(t.Context(), Local(other), Local(d), id); err != nil {
			t.Fatal(err)
		}
		for _, d := range []*Dir{d, other} {
			if cp := must[forestall.Checkpoint](t)(d.Get(id)); cp.LeftOut.Count != 2 {
				t.Errorf("listed: %+v", cp.LeftOut)
			}
			if l := must[forestall.LeftOut](t)(d.LeftOut(id)); l.Count != 2 || len(l.First) != 2 || l.First[0] != "a/queue (pipe)" {
				t.Errorf("read: %+v", l)
			}
		}
	}
}

// Added is what the store has grown by: chunks, tree, the packs' own indexes and
// the manifest.
func TestAddedIsAllOfIt(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), state(t)
	var sum int64
	for range 2 {
		cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
		sum += cp.Added - fileSize(t, d.manifestPath(cp.ID))
		if listed := must[forestall.Checkpoint](t)(d.Get(cp.ID)); listed.Added != cp.Added {
			t.Errorf("listed %d, returned %d", listed.Added, cp.Added)
		}
		writeFiles(t, src, map[string]string{"more": noise(9, 30<<10)})
	}
	if s := must[Stats](t)(d.Stats()); s.PackBytes != sum {
		t.Errorf("packs have %d bytes, the checkpoints say %d", s.PackBytes, sum)
	}
}
