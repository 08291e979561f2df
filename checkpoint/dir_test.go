package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stratoswarm/forestall"
)

func TestOpenDirRefusesWhatIsNotAStore(t *testing.T) {
	foreign := t.TempDir()
	writeFiles(t, foreign, map[string]string{"thesis.tex": "x"})
	newer := t.TempDir()
	writeFiles(t, newer, map[string]string{markerFile: "forestall checkpoint store 3\n"})
	for dir, says := range map[string]string{foreign: "thesis.tex", newer: "store 3"} {
		if _, err := OpenDir(dir, small()); !errors.Is(err, ErrNotStore) || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, want ErrNotStore saying %q", err, says)
		}
	}
	if left := must[[]os.DirEntry](t)(os.ReadDir(foreign)); len(left) != 1 {
		t.Errorf("the foreign directory was touched: %v", left)
	}
	mount := t.TempDir() // a fresh ext4
	if err := os.Mkdir(filepath.Join(mount, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	closeDir(t, must[*Dir](t)(OpenDir(mount, small())))
}

// A store that a newer program has changed stays as it is, whatever of it looks
// like this version's; a marker with a flipped bit is damage.
func TestOpenDirRefusesANewerStore(t *testing.T) {
	d, src := openDir(t, small()), state(t)
	must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	closeDir(t, d)
	says := "forestall checkpoint store 9\n"
	writeFiles(t, d.path, map[string]string{markerFile: says})
	for _, open := range []func(string, Options) (*Dir, error){OpenDir, OpenDirReadOnly} {
		if _, err := open(d.path, small()); !errors.Is(err, ErrNotStore) || !strings.Contains(err.Error(), "store 9") {
			t.Errorf("error %v, want ErrNotStore", err)
		}
	}
	if b := must[[]byte](t)(os.ReadFile(filepath.Join(d.path, markerFile))); string(b) != says {
		t.Errorf("the marker is %q by now", b)
	}
	writeFiles(t, d.path, map[string]string{markerFile: "forestall checkpoint store 3\n"})
	closeDir(t, must[*Dir](t)(OpenDir(d.path, small())))
}

func TestOpenDirIsExclusive(t *testing.T) {
	d := openDir(t, small())
	if _, err := OpenDir(d.Path(), small()); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("error %v, want ErrLocked naming this process", err)
	}
	closeDir(t, d)
	closeDir(t, must[*Dir](t)(OpenDir(d.Path(), small())))
}

func TestOpenDirFindsAndCleans(t *testing.T) {
	d, src := openDir(t, small()), state(t)
	kept := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	rotten := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	closeDir(t, d)
	flip(t, d.manifestPath(rotten.ID), 20)
	writeFiles(t, d.path, map[string]string{"tmp/7": "half", "stage/3/0": "copy"})
	d = must[*Dir](t)(OpenDir(d.Path(), small()))
	defer closeDir(t, d)
	noTemporaryFiles(t, d)
	got := must[[]forestall.Checkpoint](t)(d.List(""))
	if diff := cmp.Diff([]forestall.Checkpoint{kept}, got); diff != "" {
		t.Errorf("list after reopening (-want +got):\n%s", diff)
	}
	if _, err := d.GC(t.Context()); !errors.Is(err, ErrCorrupt) {
		t.Errorf("gc with an unreadable manifest: %v, want ErrCorrupt", err)
	}
	s := must[Stats](t)(d.Stats())
	if s.Checkpoints != 1 || s.Workloads != 1 || s.StateBytes != kept.Size || s.PackBytes != kept.Added-fileSize(t, d.manifestPath(kept.ID)) || s.ChunkBytes >= s.PackBytes || s.FreeBytes <= 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestOptionsValidate(t *testing.T) {
	for says, change := range map[string]func(*Options){
		"compression \"lz4\"": func(o *Options) { o.Compression = "lz4" },
		"level 0":             func(o *Options) { o.Level = 0 },
		"chunk size 1":        func(o *Options) { o.ChunkSize = 1 },
		"workers 0":           func(o *Options) { o.Workers = 0 },
		"Now":                 func(o *Options) { o.Now = nil },
		"logger":              func(o *Options) { o.Logger = nil },
	} {
		opt := DefaultOptions()
		change(&opt)
		if _, err := OpenDir(t.TempDir(), opt); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, want one saying %q", err, says)
		}
	}
}

func TestTimeline(t *testing.T) {
	d, src := openDir(t, small()), state(t)
	at := func(minute int) time.Time { return time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC) }
	for _, m := range []int{10, 20, 30} {
		must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src, Time: at(m)}))
		must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "other", Source: src, Time: at(m)}))
	}
	l := must[Timeline](t)(d.Timeline("w"))
	for _, c := range []struct{ minute, want int }{{9, 0}, {10, 10}, {19, 10}, {29, 20}, {59, 30}} {
		cp, ok := l.NewestBefore(at(c.minute))
		if ok != (c.want > 0) || ok && !cp.Time.Equal(at(c.want)) {
			t.Errorf("newest before minute %d: %v %v, want minute %d", c.minute, cp.Time, ok, c.want)
		}
	}
	list := must[[]forestall.Checkpoint](t)(d.List("w"))
	if len(list) != 3 || !list[0].NewerThan(list[1]) || !list[1].NewerThan(list[2]) {
		t.Errorf("list is not newest first: %v", list)
	}
}

func TestFence(t *testing.T) {
	d := openDir(t, small())
	ctx := t.Context()
	if e := must[forestall.Epoch](t)(d.Fenced("w")); e != 0 {
		t.Errorf("never fenced: %v", e)
	}
	for _, c := range []struct {
		raise forestall.Epoch
		is    error
		now   forestall.Epoch
	}{{5, nil, 5}, {5, nil, 5}, {4, forestall.ErrStaleEpoch, 5}, {9, nil, 9}} {
		if err := d.Fence(ctx, "w", c.raise); !errors.Is(err, c.is) {
			t.Errorf("fence at %v: %v, want %v", c.raise, err, c.is)
		}
		closeDir(t, d)
		d = must[*Dir](t)(OpenDir(d.Path(), small()))
		if e := must[forestall.Epoch](t)(d.Fenced("w")); e != c.now {
			t.Errorf("after fence at %v and reopening: %v, want %v", c.raise, e, c.now)
		}
	}
	if err := d.Fence(ctx, "a/b", 1); !errors.Is(err, forestall.ErrBadName) {
		t.Errorf("bad name: %v", err)
	}
	closeDir(t, d)
	flip(t, filepath.Join(d.path, fenceDir, "w"), 6)
	d = must[*Dir](t)(OpenDir(d.Path(), small()))
	defer closeDir(t, d)
	if _, err := d.Fenced("w"); !errors.Is(err, ErrCorrupt) {
		t.Errorf("rotten fence: %v, want ErrCorrupt", err)
	}
	if _, err := d.Save(ctx, Snapshot{Workload: "w", Epoch: 99, Source: t.TempDir()}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("save behind a rotten fence: %v, want ErrCorrupt", err)
	}
}
