package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/internal/durable"
)

var errPowerLoss = errors.New("the power went")

// crashFS is a file system that remembers what of it is durable. After a set
// number of operations it stops; crash then makes the directory that a machine
// might find after a power failure: names and content that were synced are there,
// anything else may be, in any combination that the order within one directory
// and within one write allows.
type crashFS struct {
	root string

	mu      sync.Mutex
	left    int // operations until the power goes; negative: none are counted
	done    int
	files   map[string]*crashInode                          // as programs see them
	durable map[string]*crashInode                          // as they would be found
	pending map[string][]func(names map[string]*crashInode) // by directory, in order
}

type crashInode struct {
	durable []byte
	writes  []crashWrite // since the last sync
}

type crashWrite struct {
	at int64
	b  []byte
}

func newCrashFS(root string) *crashFS {
	return &crashFS{
		root: root, left: -1, files: make(map[string]*crashInode), durable: make(map[string]*crashInode),
		pending: make(map[string][]func(map[string]*crashInode)),
	}
}

// step counts an operation. The caller holds c.mu.
func (c *crashFS) step() error {
	if c.left == 0 {
		return errPowerLoss
	}
	if c.left > 0 {
		c.left--
	}
	c.done++
	return nil
}

func (c *crashFS) change(path string, f func(names map[string]*crashInode)) {
	f(c.files)
	dir := filepath.Dir(path)
	c.pending[dir] = append(c.pending[dir], f)
}

func (c *crashFS) Create(path string) (durable.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.step(); err != nil {
		return nil, err
	}
	f, err := durable.OS{}.Create(path)
	if err != nil {
		return nil, err
	}
	ino := new(crashInode)
	c.change(path, func(names map[string]*crashInode) { names[path] = ino })
	return &crashFile{c: c, f: f, ino: ino}, nil
}

func (c *crashFS) Open(path string) (durable.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.step(); err != nil {
		return nil, err
	}
	f, err := durable.OS{}.Open(path)
	return &crashFile{c: c, f: f, ino: c.files[path]}, err
}

// OpenRead is not counted: what has been written is read as it is.
func (c *crashFS) OpenRead(path string) (durable.ReadFile, error) { return durable.OS{}.OpenRead(path) }

func (c *crashFS) Rename(from, to string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.step(); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	ino := c.files[from]
	if ino == nil {
		ino = &crashInode{durable: mustRead(to)}
	}
	// One step for the target's directory; that the old name is still there
	// as well is no harm, everything under tmp/ is removed.
	delete(c.files, from)
	c.change(to, func(names map[string]*crashInode) {
		delete(names, from)
		names[to] = ino
	})
	return nil
}

func mustRead(path string) []byte {
	b, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	return b
}

func (c *crashFS) Remove(path string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.step(); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	c.change(path, func(names map[string]*crashInode) { delete(names, path) })
	return nil
}

func (c *crashFS) SyncDir(path string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.step(); err != nil {
		return err
	}
	for _, f := range c.pending[path] {
		f(c.durable)
	}
	delete(c.pending, path)
	return nil
}

type crashFile struct {
	c   *crashFS
	f   durable.File
	ino *crashInode
}

func (f *crashFile) WriteAt(b []byte, at int64) (int, error) {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	if err := f.c.step(); err != nil {
		return 0, err
	}
	f.ino.writes = append(f.ino.writes, crashWrite{at, bytes.Clone(b)})
	return f.f.WriteAt(b, at)
}

func (f *crashFile) Sync() error {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	if err := f.c.step(); err != nil {
		return err
	}
	for _, w := range f.ino.writes {
		f.ino.durable = w.apply(f.ino.durable)
	}
	f.ino.writes = nil
	return nil
}

func (f *crashFile) Close() error { return f.f.Close() }

func (w crashWrite) apply(b []byte) []byte {
	if need := int(w.at) + len(w.b); len(b) < need {
		b = append(b, make([]byte, need-len(b))...)
	}
	copy(b[w.at:], w.b)
	return b
}

// crash makes a directory that might be found.
func (c *crashFS) crash(rng *rand.Rand, to string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := maps.Clone(c.durable)
	for _, dir := range slices.Sorted(maps.Keys(c.pending)) {
		ops := c.pending[dir]
		for _, op := range ops[:rng.IntN(len(ops)+1)] {
			op(names)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(names)) {
		ino := names[path]
		b := bytes.Clone(ino.durable)
		for _, w := range ino.writes {
			switch rng.IntN(3) {
			case 0:
				b = w.apply(b)
			case 1: // torn
				b = crashWrite{w.at, w.b[:rng.IntN(len(w.b)+1)]}.apply(b)
			}
		}
		rel, err := filepath.Rel(c.root, path)
		if err != nil || strings.HasPrefix(rel, "..") {
			return fmt.Errorf("%s is outside the store: %w", path, err)
		}
		at := filepath.Join(to, rel)
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(at, b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// crashRun does a little of everything in a store, until it fails, and returns
// what was acknowledged by then.
type crashRun struct {
	saved   map[string]map[string]string // by ID: what each file holds
	order   []string
	dropped map[string]bool // Delete was called
	fence   forestall.Epoch // raised
	trying  forestall.Epoch // perhaps raised
}

func (r *crashRun) run(t *testing.T, d *Dir, src string) error {
	ctx := t.Context()
	save := func(cp forestall.Checkpoint, err error, files map[string]string) error {
		if err == nil {
			r.saved[cp.ID] = files
			r.order = append(r.order, cp.ID)
		}
		return err
	}
	region := ""
	memory := []byte(noise(50, 40<<10))
	for i := range uint64(7) {
		files := map[string]string{"a": noise(i, 24<<10), "b": noise(i/2, 20<<10), "c": prose(3 << 10)}
		writeFiles(t, src, files)
		cp, err := d.Save(ctx, Snapshot{Workload: "w", Epoch: r.fence, Source: src})
		if err := save(cp, err, files); err != nil {
			return err
		}
		copy(memory[i*4096:], noise(60+i, 4096))
		cp, err = d.SaveRegions(ctx, Regions{Workload: "m", Base: region, Regions: []Region{
			{Name: "heap", Size: int64(len(memory)), Content: bytes.NewReader(memory), Dirty: []PageRange{{int64(i) * 4096, 4096}}},
		}})
		if err := save(cp, err, map[string]string{"heap": string(memory)}); err != nil {
			return err
		}
		region = cp.ID
		switch i % 3 {
		case 1:
			r.trying++
			if err := d.Fence(ctx, "w", r.trying); err != nil {
				return err
			}
			r.fence = r.trying
		case 2:
			for _, id := range r.order[:2] {
				r.dropped[id] = true
				if err := d.Delete(ctx, id); err != nil {
					return err
				}
			}
			r.order = r.order[2:]
			if _, err := d.GC(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// check opens what a crash left and looks whether every promise was kept.
func (r *crashRun) check(t *testing.T, path string, opt Options) {
	t.Helper()
	d, err := OpenDir(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer closeDir(t, d)
	noTemporaryFiles(t, d)
	for id, files := range r.saved {
		if r.dropped[id] {
			if _, err := d.Get(id); err != nil && errors.Is(err, ErrCorrupt) {
				t.Errorf("a dropped checkpoint is missed: %v", err)
			}
			continue
		}
		for name, want := range files {
			got := make(memory, len(want))
			if _, err := d.ReadFile(t.Context(), id, name, got); err != nil {
				t.Errorf("acknowledged checkpoint %.12s: %v", id, err)
			} else if string(got) != want {
				t.Errorf("acknowledged checkpoint %.12s holds something else", id)
			}
		}
	}
	for _, cp := range must[[]forestall.Checkpoint](t)(d.List("")) {
		if err := d.Verify(t.Context(), cp.ID); err != nil {
			t.Errorf("a visible checkpoint is not whole: %v", err)
		}
	}
	if e := must[forestall.Epoch](t)(d.Fenced("w")); e != r.fence && e != r.trying {
		t.Errorf("fenced at %v, was raised to %v", e, r.fence)
	}
	if _, err := d.GC(t.Context()); err != nil {
		t.Errorf("gc: %v", err)
	}
	src := t.TempDir()
	writeFiles(t, src, map[string]string{"a": noise(3, 9<<10), "new": noise(77, 9<<10)})
	cp, err := d.Save(t.Context(), Snapshot{Workload: "w", Epoch: r.trying, Source: src})
	if err == nil {
		err = d.Verify(t.Context(), cp.ID)
	}
	if err != nil {
		t.Errorf("the next checkpoint: %v", err)
	}
}

// TestPowerLossAtEveryOperation lets the power go before each operation of a
// store in turn. What was acknowledged must be there and whole, what was not
// must not be seen unless it is whole, and the store must go on.
func TestPowerLossAtEveryOperation(t *testing.T) {
	t.Parallel()
	plainAndSealed(t, func(t *testing.T, opt Options) {
		t.Parallel()
		opt.Workers = 1
		powerLossAtEveryOperation(t, opt)
	})
}

func powerLossAtEveryOperation(t *testing.T, opt Options) {
	every, variants := 1, 2
	if testing.Short() {
		every, variants = 7, 1
	}
	total := 0
	for at := 0; ; at += every {
		base := memoryDir(t)
		fsys := newCrashFS(filepath.Join(base, "store"))
		fsys.left = at
		r := crashRun{saved: make(map[string]map[string]string), dropped: make(map[string]bool)}
		d, err := openDirOn(fsys, fsys.root, opt)
		if err == nil {
			err = r.run(t, d, filepath.Join(base, "src"))
			closeDir(t, d)
		}
		if err != nil && !errors.Is(err, errPowerLoss) {
			t.Fatalf("operation %d: %v", at, err)
		}
		for v := range variants {
			rng := rand.New(rand.NewPCG(uint64(at), uint64(v)))
			found := filepath.Join(base, fmt.Sprint("found", v))
			if cerr := fsys.crash(rng, found); cerr != nil && !errors.Is(cerr, fs.ErrNotExist) {
				t.Fatal(cerr)
			}
			r.check(t, found, opt)
			if t.Failed() {
				t.Fatalf("after the power went at operation %d, variant %d", at, v)
			}
		}
		if err == nil {
			total = fsys.done
			break
		}
		if rerr := os.RemoveAll(base); rerr != nil {
			t.Fatal(rerr)
		}
	}
	t.Logf("%d operations", total)
	if total < 100 {
		t.Errorf("only %d operations were made", total)
	}
}
