package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
)

// copyAll is a clone on file systems that have none.
func copyAll(dst, src *os.File) error {
	_, err := io.Copy(dst, src)
	return err
}

// scribbler changes a directory as workloads do.
type scribbler struct {
	t   *testing.T
	dir string
	rng *rand.Rand
}

func (s *scribbler) file() string { return filepath.Join(s.dir, fmt.Sprint("f", s.rng.IntN(4))) }

// write writes in place, through a descriptor.
func (s *scribbler) write(path string, at int64, b []byte) {
	s.t.Helper()
	f := must[*os.File](s.t)(os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600))
	_, err := f.WriteAt(b, at)
	if err := errors.Join(err, f.Close()); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scribbler) scribble() {
	s.t.Helper()
	for range s.rng.IntN(4) {
		path := s.file()
		var size int64
		if fi, err := os.Stat(path); err == nil {
			size = fi.Size()
		}
		random := []byte(noise(s.rng.Uint64(), 1+s.rng.IntN(12000)))
		switch op := s.rng.IntN(10); {
		case size == 0 || op == 0: // another file in its place
			content := noise(s.rng.Uint64(), 1<<20+s.rng.IntN(1<<20))
			writeFiles(s.t, s.dir, map[string]string{filepath.Base(path) + ".new": content})
			if err := os.Rename(path+".new", path); err != nil {
				s.t.Fatal(err)
			}
		case op == 1:
			s.write(path, size, random) // longer
		case op == 2:
			if err := os.Truncate(path, max(1, size-int64(len(random)))); err != nil {
				s.t.Fatal(err)
			}
		case op == 3: // inserted
			old := must[[]byte](s.t)(os.ReadFile(path))
			at := s.rng.IntN(len(old))
			s.write(path, 0, bytes.Join([][]byte{old[:at], random, old[at:]}, nil))
		case op == 4:
			if err := os.Remove(path); err != nil {
				s.t.Fatal(err)
			}
		case op == 5: // with what it has
			old := must[[]byte](s.t)(os.ReadFile(path))
			s.write(path, 0, old[:min(len(old), 9000)])
		default: // in place
			for range 1 + s.rng.IntN(3) {
				s.write(path, s.rng.Int64N(size), random)
			}
		}
	}
}

// Whatever a workload does to its files between two checkpoints and between the
// first copy and the freeze, the checkpoint has what was there at the freeze.
func TestStageIsTheMomentOfTheFreeze(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(d *Dir){
		"copied":                   func(*Dir) {},
		"cloned":                   func(d *Dir) { d.clone = copyAll },
		"nothing ever rests":       func(d *Dir) { d.opt.Now = func() time.Time { return time.Unix(0, 0) } },
		"everything always rested": func(d *Dir) { d.opt.Now = func() time.Time { return time.Now().Add(time.Hour) } },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, src, seed := openDir(t, small()), t.TempDir(), rand.Uint64()
			t.Logf("seed %d", seed)
			d.opt.ChunkSize, d.opt.AverageCut = 64<<10, 16<<10
			change(d)
			s := scribbler{t, src, rand.New(rand.NewPCG(seed, 0))}
			inPlace := 0
			for i := range 40 {
				s.scribble()
				st := must[*Staged](t)(d.Precopy(t.Context(), Snapshot{Workload: "w", Source: src}))
				if name != "everything always rested" || i%2 == 0 {
					s.scribble()
				}
				want := readTree(t, src)
				if err := st.Freeze(t.Context(), time.Time{}); err != nil {
					t.Fatal(err)
				}
				s.scribble()
				cp := must[forestall.Checkpoint](t)(st.Save(t.Context(), 0))
				for _, a := range st.asides {
					if a.saved && st.inPlace(a) {
						inPlace++
					}
				}
				target := filepath.Join(t.TempDir(), "t")
				if err := d.Restore(t.Context(), cp.ID, target); err != nil {
					t.Fatal(err)
				}
				sameTree(t, want, readTree(t, target))
				if t.Failed() {
					t.Fatalf("checkpoint %d is not the moment of the freeze", i)
				}
			}
			if inPlace == 0 {
				t.Error("no file was ever saved in place")
			}
			noTemporaryFiles(t, d)
		})
	}
}

// Of a file that is rewritten in place only the pages that differ are copied and
// written, of one in which something was inserted what the cuts do not find.
func TestStageCopiesPages(t *testing.T) {
	t.Parallel()
	for name, clone := range map[string]func(dst, src *os.File) error{"copied": reflink, "cloned": copyAll} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, src := openDir(t, DefaultOptions()), t.TempDir()
			d.clone = clone
			path := filepath.Join(src, "f")
			writeFiles(t, src, map[string]string{"f": noise(1, 8<<20), "same": noise(2, 3<<20)})
			stage := func() forestall.Checkpoint {
				t.Helper()
				st := must[*Staged](t)(d.Stage(t.Context(), Snapshot{Workload: "w", Source: src}))
				return must[forestall.Checkpoint](t)(st.Save(t.Context(), 0))
			}
			stage()
			s := scribbler{t, src, nil}
			for i := range int64(5) {
				s.write(path, i*1000*1000, []byte(noise(uint64(i+10), 100)))
			}
			if cp := stage(); cp.Added > 8*pageSize {
				t.Errorf("5 pages changed, %d bytes written", cp.Added)
			}
			s.write(path, 8<<20, []byte("and more"))
			if cp := stage(); cp.Added > 4*pageSize {
				t.Errorf("one page was appended, %d bytes written", cp.Added)
			}
			old := must[[]byte](t)(os.ReadFile(path))
			s.write(path, 0, append([]byte("before all"), old...))
			if cp := stage(); cp.Added > 1<<20 {
				t.Errorf("10 bytes inserted, %d bytes written", cp.Added)
			}
		})
	}
}

// What changed after the first copy and changed back is what it was.
func TestStageOfWhatChangedBack(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), t.TempDir()
	path, s := filepath.Join(src, "f"), scribbler{t, src, nil}
	writeFiles(t, src, map[string]string{"f": noise(1, 2<<20)})
	must[forestall.Checkpoint](t)(must[*Staged](t)(d.Stage(t.Context(), Snapshot{Workload: "w", Source: src})).Save(t.Context(), 0))
	s.write(path, 5000, []byte("first"))
	st := must[*Staged](t)(d.Precopy(t.Context(), Snapshot{Workload: "w", Source: src}))
	want := readTree(t, src)
	s.write(path, 5000, []byte("other"))
	if err := st.copyPages(t.Context(), []*aside{st.asides["f"]}, 1, false); err != nil {
		t.Fatal(err)
	}
	s.write(path, 5000, []byte("first"))
	if err := os.Chtimes(path, want["f"].MTime, want["f"].MTime); err != nil {
		t.Fatal(err)
	}
	if err := st.Freeze(t.Context(), time.Time{}); err != nil {
		t.Fatal(err)
	}
	cp := must[forestall.Checkpoint](t)(st.Save(t.Context(), 0))
	target := filepath.Join(t.TempDir(), "t")
	if err := d.Restore(t.Context(), cp.ID, target); err != nil {
		t.Fatal(err)
	}
	sameTree(t, want, readTree(t, target))
}

// A file that was left alone since the first copy is not read a second time.
func TestFreezeLeavesAloneWhatRested(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, rested()), t.TempDir()
	writeFiles(t, src, map[string]string{"f": noise(1, 2<<20), "g": noise(2, 2<<20)})
	st := must[*Staged](t)(d.Precopy(t.Context(), Snapshot{Workload: "w", Source: src}))
	if !st.trust.stamps {
		t.Skip("the file system of the temporary directory does not stamp every write: nothing may be left unread there")
	}
	// Unseen: a real write would move the times.
	st.asides["f"].from = filepath.Join(src, "none")
	s := scribbler{t, src, nil}
	s.write(filepath.Join(src, "g"), 7, []byte("changed"))
	if err := st.Freeze(t.Context(), time.Time{}); err != nil {
		t.Fatal(err)
	}
	must[forestall.Checkpoint](t)(st.Save(t.Context(), 0))
	// A copy that cannot be completed while the workload stands still is an error.
	s.write(filepath.Join(src, "f"), 7, []byte("changed"))
	st = must[*Staged](t)(d.Precopy(t.Context(), Snapshot{Workload: "w", Source: src}))
	s.write(filepath.Join(src, "f"), 9, []byte("changed"))
	st.asides["f"].from = filepath.Join(src, "none")
	if err := st.Freeze(t.Context(), time.Time{}); !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), "none") {
		t.Errorf("error %v, want ErrChanged naming the file", err)
	}
}

// A checkpoint whose base rotted is whole, at the second try at the latest.
func TestStageOverARottenBase(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), t.TempDir()
	writeFiles(t, src, map[string]string{"f": noise(1, 2<<20)})
	stage := func() (forestall.Checkpoint, error) {
		st := must[*Staged](t)(d.Stage(t.Context(), Snapshot{Workload: "w", Source: src}))
		return st.Save(t.Context(), 0)
	}
	must[forestall.Checkpoint](t)(stage())
	if d.pages.of("w", must[[]forestall.Checkpoint](t)(d.List("w"))[0].ID) == nil {
		t.Fatal("nothing is known of the pages")
	}
	d.pages.forget("w")
	if d.pages.pages != 0 {
		t.Errorf("%d pages are known after forgetting", d.pages.pages)
	}
	must[forestall.Checkpoint](t)(stage())
	for _, n := range d.packs.numbers() { // a pack that was touched is read before it is relied on
		p, _ := d.packs.get(n)
		f := must[*os.File](t)(os.OpenFile(d.packs.path(p.id), os.O_RDWR, 0))
		if _, err := f.WriteAt([]byte("rot"), 4000); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	scribble := scribbler{t, src, nil}
	scribble.write(filepath.Join(src, "f"), 5, []byte("x"))
	want := readTree(t, src)
	cp, err := stage()
	if err != nil {
		cp = must[forestall.Checkpoint](t)(stage())
	}
	if err := d.Verify(t.Context(), cp.ID); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "t")
	if err := d.Restore(t.Context(), cp.ID, target); err != nil {
		t.Fatal(err)
	}
	sameTree(t, want, readTree(t, target))
}

// While the workload stands still pages are compared in groups, and those that
// differ are kept in memory, up to a limit; what was found then is in the copy once
// it goes on.
func TestFreezeComparesGroups(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), t.TempDir()
	path, s := filepath.Join(src, "f"), scribbler{t, src, nil}
	writeFiles(t, src, map[string]string{"f": noise(1, 2<<20+100)})
	must[forestall.Checkpoint](t)(must[*Staged](t)(d.Stage(t.Context(), Snapshot{Workload: "w", Source: src})).Save(t.Context(), 0))
	for name, full := range map[string]bool{"kept": false, "too much to be kept": true} {
		s.write(path, 9, []byte(name)) // so that there is something to copy
		st := must[*Staged](t)(d.Precopy(t.Context(), Snapshot{Workload: "w", Source: src}))
		a := st.asides["f"]
		for i, g := range a.group {
			if !g.known {
				t.Errorf("%s: the sum of group %d is not known after the first copy", name, i)
			}
		}
		if full {
			st.late.room = 0
		}
		s.write(path, groupSize+5000, []byte(noise(7, 2*pageSize)+name))
		s.write(path, 2<<20+50, []byte(name))
		want := readTree(t, src)
		if err := st.Freeze(t.Context(), time.Time{}); err != nil {
			t.Fatal(err)
		}
		for i, g := range a.group {
			if changed := i == 1 || i == len(a.group)-1; g.known == changed {
				t.Errorf("%s: group %d was compared by pages: %v", name, i, !g.known)
			}
		}
		if kept := len(st.late.list); kept != map[bool]int{false: 2, true: 0}[full] {
			t.Errorf("%s: %d writes are kept", name, kept)
		}
		s.write(path, groupSize, []byte(noise(8, 4*pageSize))) // it goes on
		cp := must[forestall.Checkpoint](t)(st.Save(t.Context(), 0))
		target := filepath.Join(t.TempDir(), "t")
		if err := d.Restore(t.Context(), cp.ID, target); err != nil {
			t.Fatal(err)
		}
		sameTree(t, want, readTree(t, target))
	}
}

// A file that was shorter for a moment has pages of which nothing is known,
// whatever was known of their group.
func TestGroupOfAFileThatWasShorter(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), t.TempDir()
	path, s := filepath.Join(src, "f"), scribbler{t, src, nil}
	writeFiles(t, src, map[string]string{"f": noise(1, 2<<20)})
	must[forestall.Checkpoint](t)(must[*Staged](t)(d.Stage(t.Context(), Snapshot{Workload: "w", Source: src})).Save(t.Context(), 0))
	s.write(path, 2<<20-groupSize, []byte(noise(2, groupSize)))
	st := must[*Staged](t)(d.Precopy(t.Context(), Snapshot{Workload: "w", Source: src}))
	want, whole := readTree(t, src), must[[]byte](t)(os.ReadFile(path))
	if err := os.Truncate(path, 2<<20-groupSize+pageSize); err != nil {
		t.Fatal(err)
	}
	c := st.plan.todo[0]
	c.seen = seenAs(must[os.FileInfo](t)(os.Stat(path)))
	st.asideOf(&c)
	s.write(path, 0, whole)
	if err := os.Chtimes(path, want["f"].MTime, want["f"].MTime); err != nil {
		t.Fatal(err)
	}
	if err := st.Freeze(t.Context(), time.Time{}); err != nil {
		t.Fatal(err)
	}
	cp := must[forestall.Checkpoint](t)(st.Save(t.Context(), 0))
	target := filepath.Join(t.TempDir(), "t")
	if err := d.Restore(t.Context(), cp.ID, target); err != nil {
		t.Fatal(err)
	}
	sameTree(t, want, readTree(t, target))
}

// However many large files change, few are mapped at once: without a mapping left the
// program dies. What is not mapped is read.
func TestFewFilesAreMapped(t *testing.T) {
	t.Parallel()
	asides := make(map[string]*aside)
	for i := range int64(100) {
		name := fmt.Sprint("f", i)
		asides[name] = &aside{name: name, size: fromPages - 10 + i}
	}
	got := largest(asides, 3)
	if len(got) != 3 || got[0].name != "f99" || got[2].name != "f97" {
		t.Errorf("mapped: %d, from %v on", len(got), got[0].name)
	}
	if got := largest(asides, 1000); len(got) != 90 {
		t.Errorf("%d are worth it", len(got))
	}
}
