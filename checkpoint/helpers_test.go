package checkpoint

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashChildEnv); dir != "" {
		crashChild(dir)
	}
	if dir := os.Getenv(userChildEnv); dir != "" {
		userChild(dir)
	}
	if path := os.Getenv(gcChildEnv); path != "" {
		gcChild(path)
	}
	goleak.VerifyTestMain(m)
}

// small cuts chunks at 4 KiB, so that small trees have many.
func small() Options {
	opt := DefaultOptions()
	opt.ChunkSize = 4 << 10
	opt.AverageCut = 4 << 10
	opt.PackSize = 64 << 10
	opt.Workers = 2
	return opt
}

// rested is small with a clock by which every file has rested long enough for
// its ident to be trusted.
func rested() Options {
	opt := small()
	opt.Now = func() time.Time { return time.Now().Add(time.Hour) }
	return opt
}

func openDir(t testing.TB, opt Options) *Dir {
	t.Helper()
	d, err := OpenDir(filepath.Join(t.TempDir(), "store"), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeDir(t, d) })
	return d
}

func closeDir(t testing.TB, d *Dir) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// node is what a tree holds at one path.
type node struct {
	Mode    fs.FileMode
	MTime   time.Time
	Content string
	Target  string
}

// readTree lists what a checkpoint of dir must hold.
func readTree(t testing.TB, dir string) map[string]node {
	t.Helper()
	out := make(map[string]node)
	err := filepath.WalkDir(dir, func(p string, de fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := de.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		n := node{Mode: fi.Mode(), MTime: fi.ModTime()}
		switch {
		case fi.Mode()&fs.ModeSymlink != 0:
			n.MTime = time.Time{}
			if n.Target, err = os.Readlink(p); err != nil {
				return err
			}
		case fi.Mode().IsRegular():
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			n.Content = string(b)
		case !fi.IsDir():
			return nil
		}
		out[rel] = n
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func sameTree(t testing.TB, want, got map[string]node) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("tree differs (-want +got):\n%.2000s", diff)
	}
}

// writeFiles writes files below dir, directories as needed.
func writeFiles(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// noise returns n bytes that do not compress, the same for the same seed.
func noise(seed uint64, n int) string {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	b := make([]byte, n)
	_, _ = r.Read(b)
	return string(b)
}

// prose returns n bytes that compress about as tensors and logs do.
func prose(n int) string {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "step %d loss %.6f\n", i, 1/float64(i+1))
	}
	return string(b.Bytes()[:n])
}

// memoryDir returns a directory that needs no disk, where there is such a thing:
// for tests whose durability is not the kernel's.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "checkpoint-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// needStamps skips a test of what is left unread where everything is read.
func needStamps(t testing.TB, dir string) {
	t.Helper()
	if !trustIn(dir).stamps {
		t.Skipf("%s is on a file system whose times are not known to tell every write", dir)
	}
}

// state makes a directory with a little of everything.
func state(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	writeFiles(t, dir, map[string]string{
		"model/weights": noise(1, 40<<10),
		"model/config":  "a = 1\n",
		"log":           prose(20 << 10),
		"empty":         "",
		"a-b":           "sorts between a and a/b",
		"a/b":           "x",
	})
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "hollow"), 0o755),
		os.Chmod(filepath.Join(dir, "hollow"), 0o1750),
		os.Chmod(filepath.Join(dir, "log"), 0o640),
		os.Symlink("../log", filepath.Join(dir, "model", "latest")),
		os.Symlink("nowhere", filepath.Join(dir, "dangling")),
		os.Chtimes(filepath.Join(dir, "log"), time.Unix(5, 7), time.Unix(5, 7)),
		os.Chtimes(filepath.Join(dir, "model"), time.Unix(9, 11), time.Unix(9, 11)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// gathered returns the sum of a metric's series that have all the given label
// values, of a histogram the number of observations.
func gathered(t testing.TB, reg prometheus.Gatherer, name string, labels ...string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			have := make(map[string]bool)
			for _, l := range m.GetLabel() {
				have[l.GetValue()] = true
			}
			if slices.ContainsFunc(labels, func(l string) bool { return !have[l] }) {
				continue
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// serve puts a store on loopback until stop is called.
func serve(t testing.TB, d *Dir) (p Peer, stop func()) {
	srv := httptest.NewServer(http.StripPrefix("/peer/checkpoints", Handler(d)))
	return Peer{Name: "served", URL: srv.URL + "/peer/checkpoints"}, srv.Close
}

// damageChunk flips a bit in the middle of a stored chunk.
func damageChunk(t testing.TB, d *Dir, h hash) string {
	t.Helper()
	path, at, size := packedAt(t, d, h)
	b := must[[]byte](t)(os.ReadFile(path))
	b[at+size/2] ^= 4
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// packedAt says in which pack a chunk is, and where.
func packedAt(t testing.TB, d *Dir, h hash) (path string, at, size int64) {
	t.Helper()
	s, ok := d.index.get(h)
	p, there := d.packs.get(s.pack)
	if !ok || !there {
		t.Fatalf("no pack has chunk %s", h)
	}
	return d.packs.path(p.id), int64(s.at), s.size()
}

// fileSize returns how long a file is.
func fileSize(t testing.TB, path string) int64 {
	t.Helper()
	return must[os.FileInfo](t)(os.Stat(path)).Size()
}
