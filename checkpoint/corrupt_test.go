package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stratoswarm/forestall"
)

// need is what a checkpoint cannot be restored without: bytes of a file.
type need struct {
	path     string
	from, to int64
}

// specimen is a store to be damaged.
type specimen struct {
	opt   Options
	files map[string][]byte            // by path in the store
	saved map[string]map[string]string // by ID: what each file holds
	needs map[string][]need            // by ID
}

// newSpecimen makes a store with a little of everything, begun with version 1.
func newSpecimen(t *testing.T, opt Options) specimen {
	t.Helper()
	base := memoryDir(t)
	path := filepath.Join(base, "store")
	if err := os.CopyFS(path, os.DirFS("testdata/v1")); err != nil {
		t.Fatal(err)
	}
	s := specimen{opt, make(map[string][]byte), make(map[string]map[string]string), make(map[string][]need)}
	d := must[*Dir](t)(OpenDir(path, opt))
	for _, id := range []string{"907135aeb5acf1f0cf38d9f380d52b470e94ac6dbff013673c582ba926b9e909", "a988c4560acde5d9d808791e3da7da0b5aba007fcd2469992425ffc8f050f6cc"} {
		s.saved[id] = map[string]string{"weights": noise(1, 10<<10), "sub/x": "x"}
	}
	src := filepath.Join(base, "src")
	for i := range uint64(3) {
		files := map[string]string{"a": noise(i, 9<<10), "b": noise(i/2, 12<<10), "c": prose(3 << 10)}
		writeFiles(t, src, files)
		cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
		s.saved[cp.ID] = files
	}
	region, mem := "", []byte(noise(50, 24<<10))
	for i := range 3 {
		copy(mem[i*4096:], noise(uint64(60+i), 4096))
		cp := must[forestall.Checkpoint](t)(d.SaveRegions(t.Context(), Regions{Workload: "m", Base: region, Regions: []Region{
			{Name: "heap", Size: int64(len(mem)), Content: bytes.NewReader(mem), Dirty: []PageRange{{int64(i) * 4096, 4096}}},
		}}))
		s.saved[cp.ID] = map[string]string{"heap": string(mem)}
		region = cp.ID
	}
	for _, w := range []string{"w", "m"} {
		if err := d.Fence(t.Context(), w, 2); err != nil {
			t.Fatal(err)
		}
	}
	for id := range s.saved {
		rel := func(p string) string { return must[string](t)(filepath.Rel(path, p)) }
		s.needs[id] = []need{{rel(d.manifestPath(id)), 0, 1 << 30}}
		for _, h := range must[*manifest](t)(d.loadManifest(id)).hashes() {
			c, _ := d.index.get(h)
			if c.pack == looseChunk {
				s.needs[id] = append(s.needs[id], need{rel(d.loosePath(h)), 0, 1 << 30})
				continue
			}
			p, _ := d.packs.get(c.pack)
			s.needs[id] = append(s.needs[id], need{rel(d.packs.path(p.id)), int64(c.at), int64(c.at) + c.size()})
		}
	}
	closeDir(t, d)
	err := filepath.WalkDir(path, func(p string, de fs.DirEntry, err error) error {
		if err == nil && de.Type().IsRegular() && de.Name() != lockName {
			var b []byte
			b, err = os.ReadFile(p)
			s.files[must[string](t)(filepath.Rel(path, p))] = b
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// damage changes files at random and says what it did and which bytes it hit.
func (s specimen) damage(rng *rand.Rand) (files map[string][]byte, did string, hit []need) {
	files = maps.Clone(s.files)
	names := slices.Sorted(maps.Keys(files))
	pick := func() string { return names[rng.IntN(len(names))] }
	for range 1 + rng.IntN(2) {
		name := pick()
		b := bytes.Clone(files[name])
		if len(b) == 0 {
			continue
		}
		switch rng.IntN(5) {
		case 0, 1:
			at := rng.IntN(len(b))
			b[at] ^= 1 << rng.IntN(8)
			files[name] = b
			did += fmt.Sprintf("flip %s at %d; ", name, at)
			hit = append(hit, need{name, int64(at), int64(at) + 1})
		case 2:
			at := rng.IntN(len(b))
			files[name] = b[:at]
			did += fmt.Sprintf("cut %s at %d of %d; ", name, at, len(b))
			hit = append(hit, need{name, int64(at), 1 << 30})
		case 3:
			delete(files, name)
			names = slices.DeleteFunc(names, func(n string) bool { return n == name })
			did += fmt.Sprintf("delete %s; ", name)
			hit = append(hit, need{name, 0, 1 << 30})
		case 4:
			other := pick()
			if bytes.Equal(files[other], b) {
				continue
			}
			files[name], files[other] = files[other], b
			did += fmt.Sprintf("swap %s and %s; ", name, other)
			hit = append(hit, need{name, 0, 1 << 30}, need{other, 0, 1 << 30})
		}
	}
	return files, did, hit
}

// intact reports whether nothing was hit that the checkpoint needs.
func (s specimen) intact(id string, hit []need) bool {
	for _, n := range s.needs[id] {
		for _, h := range hit {
			if n.path == h.path && h.from < n.to && n.from < h.to {
				return false
			}
		}
	}
	return true
}

// alarm counts what is logged as a warning or an error.
type alarm struct{ n *atomic.Int64 }

func (a alarm) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (a alarm) Handle(context.Context, slog.Record) error    { a.n.Add(1); return nil }
func (a alarm) WithAttrs([]slog.Attr) slog.Handler           { return a }
func (a alarm) WithGroup(string) slog.Handler                { return a }

var corruptions = flag.Int("corruptions", 1000, "rounds of TestRandomCorruption")

// TestRandomCorruption damages a store at random, over and over: each damage is
// noticed by opening or scrubbing, no checkpoint is restored as anything but
// what was saved, and each that the damage left intact is restored.
func TestRandomCorruption(t *testing.T) {
	t.Parallel()
	plainAndSealed(t, func(t *testing.T, opt Options) {
		t.Parallel()
		opt.Workers = 1
		randomCorruption(t, newSpecimen(t, opt))
	})
}

// plainAndSealed runs a test on stores that are not encrypted, and on ones that
// are.
func plainAndSealed(t *testing.T, run func(t *testing.T, opt Options)) {
	t.Run("plain", func(t *testing.T) { run(t, small()) })
	t.Run("sealed", func(t *testing.T) {
		opt := small()
		opt.Keys, _ = aKeyring(t)
		run(t, opt)
	})
}

func randomCorruption(t *testing.T, s specimen) {
	rounds := *corruptions
	if testing.Short() {
		rounds = min(rounds, 500)
	}
	base := memoryDir(t)
	restored, refused := 0, 0
	for round := range rounds {
		rng := rand.New(rand.NewPCG(uint64(round), 5))
		files, did, hit := s.damage(rng)
		if len(hit) == 0 {
			continue
		}
		path := filepath.Join(base, fmt.Sprint(round))
		for name, b := range files {
			p := filepath.Join(path, name)
			if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		ok, no := s.examine(t, path, hit)
		restored, refused = restored+ok, refused+no
		if t.Failed() {
			t.Fatalf("round %d: %s", round, did)
		}
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d rounds: %d checkpoints restored, %d refused", rounds, restored, refused)
}

// examine opens a damaged store and holds it to its promises.
func (s specimen) examine(t *testing.T, path string, hit []need) (restored, refused int) {
	var noticed atomic.Int64
	opt := s.opt
	opt.Logger = slog.New(alarm{&noticed})
	d, err := OpenDir(path, opt)
	if errors.Is(err, ErrNotStore) && bothHit(hit, markerFile, catalogueFile) {
		return 0, len(s.saved) // the marker may say that the store is of a newer version
	}
	if (errors.Is(err, ErrKey) || errors.Is(err, ErrCorrupt)) && bothHit(hit, keysetFile) {
		return 0, len(s.saved) // it names another keyring, or none
	}
	if err != nil {
		t.Errorf("the store cannot be opened: %v", err)
		return
	}
	defer closeDir(t, d)
	r, err := d.Scrub(t.Context(), 0)
	if err != nil {
		t.Errorf("scrub: %v", err)
	}
	fenced := true
	for _, w := range []string{"w", "m"} {
		e, err := d.Fenced(w)
		if err != nil {
			fenced = false
		} else if e != 2 && !bothHit(hit, filepath.Join(fenceDir, w), catalogueFile) {
			t.Errorf("the fence of %q came back as %v", w, e)
		}
	}
	if noticed.Load() == 0 && r.Bad == 0 && fenced && !mended(hit) {
		t.Errorf("nothing was noticed")
	}
	for id, want := range s.saved {
		for name, content := range want {
			got := make(memory, len(content))
			_, err := d.ReadFile(t.Context(), id, name, got)
			switch {
			case err == nil && string(got) != content:
				t.Errorf("checkpoint %.12s came back otherwise", id)
			case err == nil:
				restored++
			case s.intact(id, hit):
				t.Errorf("checkpoint %.12s is intact: %v", id, err)
			case !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNotFound):
				t.Errorf("checkpoint %.12s: %v, want ErrCorrupt or ErrNotFound", id, err)
			default:
				refused++
			}
		}
	}
	return restored, refused
}

func bothHit(hit []need, paths ...string) bool {
	for _, p := range paths {
		if !slices.ContainsFunc(hit, func(n need) bool { return n.path == p }) {
			return false
		}
	}
	return true
}

// mended reports whether all that was hit was chunk files of version 1, which
// without a checksum of their own may have bits that make no difference to their
// content, or the name of the keyring, which is written anew where it is missing.
func mended(hit []need) bool {
	for _, h := range hit {
		if !strings.HasPrefix(h.path, chunkDir) && h.path != keysetFile {
			return false
		}
	}
	return true
}
