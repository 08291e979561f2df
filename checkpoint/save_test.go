package checkpoint

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"golang.org/x/sys/unix"
)

func TestSaveAndRestoreTheSameTree(t *testing.T) {
	t.Parallel()
	for _, compression := range []string{CompressionZstd, CompressionNone} {
		t.Run(compression, func(t *testing.T) {
			opt := small()
			opt.Compression = compression
			d, src := openDir(t, opt), state(t)
			at := time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)
			cp, err := d.Save(t.Context(), Snapshot{Workload: "train-7", Epoch: 4, Label: "before", Source: src, Time: at})
			if err != nil {
				t.Fatal(err)
			}
			if cp.Workload != "train-7" || cp.Epoch != 4 || cp.Sequence != 1 || cp.Label != "before" || !cp.Time.Equal(at) {
				t.Errorf("checkpoint is %+v", cp)
			}
			if want := int64(40<<10 + 6 + 20<<10 + 23 + 1); cp.Size != want {
				t.Errorf("size %d, want %d", cp.Size, want)
			}
			if cp.Added < 40<<10 || compression == CompressionZstd && cp.Added > 50<<10 {
				t.Errorf("added %d bytes for 40 KiB of noise and 20 KiB of prose", cp.Added)
			}
			target := filepath.Join(t.TempDir(), "deep", "er", "target")
			if err := d.Restore(t.Context(), cp.ID, target); err != nil {
				t.Fatal(err)
			}
			sameTree(t, readTree(t, src), readTree(t, target))
			if err := d.Verify(t.Context(), cp.ID); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSaveReadsAndWritesOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, rested()), state(t)
	needStamps(t, src)
	first := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))

	again := must[*plan](t)(d.plan(t.Context(), Snapshot{Workload: "w", Source: src}))
	again.end()
	if len(again.todo) != 0 {
		t.Errorf("%d files would be read again, want none", len(again.todo))
	}
	second := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	if second.Added != fileSize(t, d.manifestPath(second.ID)) || second.Sequence != 2 || second.ID == first.ID {
		t.Errorf("unchanged state: %+v", second)
	}

	f := must[*os.File](t)(os.OpenFile(filepath.Join(src, "model/weights"), os.O_WRONLY, 0))
	if _, err := f.WriteAt([]byte("new"), 9<<10); err != nil {
		t.Fatal(err)
	}
	f.Close()
	third := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	if third.Added < 2<<10 || third.Added > 18<<10 {
		t.Errorf("three bytes changed: %d bytes added, want a chunk of 4 KiB on average, or two", third.Added)
	}
	target := filepath.Join(t.TempDir(), "t")
	if err := d.Restore(t.Context(), third.ID, target); err != nil {
		t.Fatal(err)
	}
	sameTree(t, readTree(t, src), readTree(t, target))
}

// A page that is dirty already can be written through a mapping without any
// stamp moving, so a file that was touched just now must be read again.
func TestSaveDoesNotTrustFreshFiles(t *testing.T) {
	t.Parallel()
	d := openDir(t, small())
	src := t.TempDir()
	writeFiles(t, src, map[string]string{"mapped": strings.Repeat("a", 8<<10)})
	f := must[*os.File](t)(os.OpenFile(filepath.Join(src, "mapped"), os.O_RDWR, 0))
	defer f.Close()
	mem := must[[]byte](t)(unix.Mmap(int(f.Fd()), 0, 8<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED))
	defer func() { _ = unix.Munmap(mem) }()
	mem[0] = 'b'
	must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	mem[1] = 'c'
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	target := filepath.Join(t.TempDir(), "t")
	if err := d.Restore(t.Context(), cp.ID, target); err != nil {
		t.Fatal(err)
	}
	if got := must[[]byte](t)(os.ReadFile(filepath.Join(target, "mapped"))); string(got[:3]) != "bca" {
		t.Errorf("restored %q, want the write through the mapping", got[:3])
	}
}

func TestSavePassesOverSockets(t *testing.T) {
	t.Parallel()
	d := openDir(t, small())
	src := t.TempDir()
	writeFiles(t, src, map[string]string{"f": "x"})
	l := must[net.Listener](t)(net.Listen("unix", filepath.Join(src, "s")))
	defer l.Close()
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	m := must[*manifest](t)(d.loadManifest(cp.ID))
	if len(m.entries) != 2 {
		t.Errorf("entries %v, want the root and the file", m.entries)
	}
}

func TestSaveRefuses(t *testing.T) {
	t.Parallel()
	d := openDir(t, small())
	src := state(t)
	must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Epoch: 5, Sequence: 3, Source: src}))
	if err := d.Fence(t.Context(), "w", 5); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "l")
	if err := os.Symlink(filepath.Dir(d.path), link); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		s    Snapshot
		is   error
		says string
	}{
		"stale epoch":   {Snapshot{Workload: "w", Epoch: 4, Source: src}, forestall.ErrStaleEpoch, "fenced at 5"},
		"same sequence": {Snapshot{Workload: "w", Epoch: 5, Sequence: 3, Source: src}, ErrNotNewer, "sequence 3 of epoch 5"},
		"bad name":      {Snapshot{Workload: "../w", Source: src}, forestall.ErrBadName, "../w"},
		"no directory":  {Snapshot{Workload: "w", Epoch: 5, Source: filepath.Join(src, "gone")}, os.ErrNotExist, "gone"},
		"a file":        {Snapshot{Workload: "w", Epoch: 5, Source: filepath.Join(src, "log")}, nil, "not a directory"},
		"store within":  {Snapshot{Workload: "w", Epoch: 5, Source: filepath.Dir(d.path)}, ErrStoreInTheWay, d.path},
		"by a link":     {Snapshot{Workload: "w", Epoch: 5, Source: link}, ErrStoreInTheWay, d.path},
		"in the store":  {Snapshot{Workload: "w", Epoch: 5, Source: filepath.Join(d.path, packDir)}, ErrStoreInTheWay, d.path},
		"long label":    {Snapshot{Workload: "w", Epoch: 5, Source: src, Label: strings.Repeat("x", 2000)}, nil, "label"},
		"no source":     {Snapshot{Workload: "w", Epoch: 5, Source: ""}, nil, "not given"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := d.Save(t.Context(), c.s)
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want %v saying %q", err, c.is, c.says)
			}
		})
	}
	if n := len(must[[]forestall.Checkpoint](t)(d.List(""))); n != 1 {
		t.Errorf("%d checkpoints, want the first only", n)
	}
	noTemporaryFiles(t, d)
}

func TestSaveNoticesThatStateDoesNotStandStill(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), state(t)
	p := must[*plan](t)(d.plan(t.Context(), Snapshot{Workload: "w", Source: src}))
	defer p.end()
	writeFiles(t, src, map[string]string{"log": "rewritten"})
	if _, err := d.execute(t.Context(), p); !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), "log") {
		t.Errorf("error %v, want ErrChanged naming the file", err)
	}
}

func TestStageFreezes(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, rested()), state(t)
	needStamps(t, src)
	must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	writeFiles(t, src, map[string]string{"log": "second"})
	want := readTree(t, src)
	st := must[*Staged](t)(d.Stage(t.Context(), Snapshot{Workload: "w", Source: src}))
	if len(st.plan.todo) != 1 {
		t.Errorf("%d files staged, want the changed one", len(st.plan.todo))
	}
	writeFiles(t, src, map[string]string{"log": "third, while the second is saved", "model/weights": "gone"})
	cp := must[forestall.Checkpoint](t)(st.Save(t.Context(), 3*time.Millisecond))
	if cp.Pause != 3*time.Millisecond {
		t.Errorf("pause %v", cp.Pause)
	}
	target := filepath.Join(t.TempDir(), "t")
	if err := d.Restore(t.Context(), cp.ID, target); err != nil {
		t.Fatal(err)
	}
	sameTree(t, want, readTree(t, target))
	noTemporaryFiles(t, d)
}

// noTemporaryFiles fails when anything unfinished is left.
func noTemporaryFiles(t *testing.T, d *Dir) {
	t.Helper()
	for _, dir := range []string{tmpDir, stageDir} {
		left := must[[]os.DirEntry](t)(os.ReadDir(filepath.Join(d.path, dir)))
		if len(left) > 0 {
			t.Errorf("%d files left in %s: %v", len(left), dir, left)
		}
	}
}

// TestSaveAtAnotherLevel compresses one state harder than the store does others.
func TestSaveAtAnotherLevel(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, DefaultOptions()), t.TempDir()
	writeFiles(t, src, map[string]string{"f": prose(200 << 10)})
	fast := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "a", Source: src}))
	writeFiles(t, src, map[string]string{"f": prose(200 << 10)[1:]})
	small := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "b", Source: src, Level: 19}))
	if small.Added*10 > fast.Added*9 {
		t.Errorf("level 19 takes %d bytes, level 1 %d", small.Added, fast.Added)
	}
	if _, err := d.Save(t.Context(), Snapshot{Workload: "c", Source: src, Level: 23}); err == nil || !strings.Contains(err.Error(), "level 23") {
		t.Errorf("level 23: %v", err)
	}
}

// meddling is a context that calls do when it is asked for the nth time whether it
// has ended, as a scan does at each entry.
type meddling struct {
	context.Context
	n  *int
	do func()
}

func (m meddling) Err() error {
	if *m.n--; *m.n == 0 {
		m.do()
	}
	return m.Context.Err()
}

// A file that is moved while the tree is being listed is in the checkpoint, or there
// is none.
func TestSaveWhileAFileIsMoved(t *testing.T) {
	t.Parallel()
	refused := 0
	for at := 1; ; at++ {
		d, src := openDir(t, small()), t.TempDir()
		writeFiles(t, src, map[string]string{"a/stays": "1", "b/moves": "2", "c/stays": "3"})
		n := at
		cp, err := d.Save(meddling{t.Context(), &n, func() {
			if err := os.Rename(filepath.Join(src, "b/moves"), filepath.Join(src, "a/moves")); err != nil {
				t.Error(err)
			}
		}}, Snapshot{Workload: "w", Source: src})
		if n > 0 {
			break // it was not asked as often
		}
		if errors.Is(err, ErrChanged) {
			refused++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		there := 0
		for _, e := range must[*manifest](t)(d.loadManifest(cp.ID)).entries {
			if filepath.Base(e.path) == "moves" {
				there++
			}
		}
		if there != 1 {
			t.Errorf("moved at %d: the checkpoint has the file %d times", at, there)
		}
	}
	if refused == 0 {
		t.Error("no move came in between")
	}
}
