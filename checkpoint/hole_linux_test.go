package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stratoswarm/forestall"
)

// allocated returns how many bytes a file takes up on the disk.
func allocated(t *testing.T, path string) int64 {
	t.Helper()
	return must[os.FileInfo](t)(os.Stat(path)).Sys().(*syscall.Stat_t).Blocks * 512
}

// sparse makes a file of that size in which nothing but the parts is written.
func sparse(t *testing.T, path string, size int64, parts map[int64]string) {
	t.Helper()
	f := must[*os.File](t)(os.Create(path))
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	for at, s := range parts {
		must[int](t)(f.WriteAt([]byte(s), at))
	}
}

// Holes are not read, and what is restored has them, too.
func TestHoles(t *testing.T) {
	t.Parallel()
	var read int64
	opt := small()
	opt.OnRead = func(n int) { read += int64(n) }
	opt.Workers = 1
	d, src := openDir(t, opt), t.TempDir()
	const size = 40<<20 + 5
	files := map[string]map[int64]string{
		"hollow": nil,
		"first":  {0: "x"},
		"last":   {size - 1: "x"},
		"amid":   {9 << 20: noise(1, 300<<10), 9<<20 + 4<<20: noise(2, 70<<10), 30 << 20: strings.Repeat("\x00", 1<<20)},
	}
	for name, parts := range files {
		sparse(t, filepath.Join(src, name), size, parts)
	}
	if allocated(t, filepath.Join(src, "hollow")) > 0 {
		t.Skip("the file system has no holes")
	}
	cp := must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	m := must[*manifest](t)(d.loadManifest(cp.ID))
	var chunks int64
	for _, e := range m.entries {
		if e.size > 0 && len(e.extents) > 400 {
			t.Errorf("%s has %d extents", e.path, len(e.extents))
		}
	}
	for _, h := range m.hashes() {
		s, _ := d.index.get(h)
		chunks += s.size()
	}
	if chunks > 1<<20 {
		t.Errorf("%d bytes of chunks", chunks)
	}
	target := filepath.Join(t.TempDir(), "t")
	read = 0
	if err := d.Restore(t.Context(), cp.ID, target); err != nil {
		t.Fatal(err)
	}
	sameTree(t, readTree(t, src), readTree(t, target))
	if read > 8<<20 {
		t.Errorf("%d bytes of chunks were read", read)
	}
	for name := range files {
		if n := allocated(t, filepath.Join(target, name)); n > 1<<20 {
			t.Errorf("%s takes up %d bytes", name, n)
		}
	}

	// One that was filled in part is the file that it is now, and the copy that a
	// frozen one is saved from has the holes.
	sparse(t, filepath.Join(src, "hollow"), size, map[int64]string{20 << 20: noise(3, 5000)})
	copied := filepath.Join(t.TempDir(), "copy")
	from := filepath.Join(src, "amid")
	c := content{path: from, seen: seenAs(must[os.FileInfo](t)(os.Lstat(from)))}
	if err := c.copyTo(copied, func(_, _ *os.File) error { return syscall.ENOTSUP }); err != nil {
		t.Fatal(err)
	}
	if must[string](t)(readString(copied)) != must[string](t)(readString(from)) || allocated(t, copied) > 2<<20 {
		t.Errorf("the copy takes up %d bytes, or holds something else", allocated(t, copied))
	}
	cp = must[forestall.Checkpoint](t)(d.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	if err := d.Restore(t.Context(), cp.ID, target); err != nil {
		t.Fatal(err)
	}
	sameTree(t, readTree(t, src), readTree(t, target))
}

func readString(path string) (string, error) {
	b, err := os.ReadFile(path)
	return string(b), err
}

func TestShortHolesAreData(t *testing.T) {
	for name, c := range map[string]struct {
		data, want []PageRange
		size       int64
	}{
		"all data":    {[]PageRange{{0, 100}}, []PageRange{{0, 100}}, 100},
		"all hole":    {nil, nil, 100},
		"short hole":  {nil, []PageRange{{0, 9}}, 9},
		"between":     {[]PageRange{{0, 10}, {19, 5}, {40, 60}}, []PageRange{{0, 24}, {40, 60}}, 100},
		"at the ends": {[]PageRange{{9, 10}, {50, 41}}, []PageRange{{0, 19}, {50, 50}}, 100},
		"long ends":   {[]PageRange{{10, 10}, {50, 40}}, []PageRange{{10, 10}, {50, 40}}, 100},
	} {
		if got := withoutShort(c.data, c.size, 10); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestEachFilled(t *testing.T) {
	for name, c := range map[string]struct {
		b    string
		at   int64
		want []PageRange
	}{
		"nothing":    {strings.Repeat("\x00", 5*holeSize+3), 7, nil},
		"all":        {strings.Repeat("x", 5*holeSize+3), 7, []PageRange{{7, 5*holeSize + 3}}},
		"a last one": {strings.Repeat("\x00", 2*holeSize) + "x", 1, []PageRange{{2 * holeSize, 2}}},
		"a first":    {"x" + strings.Repeat("\x00", 2*holeSize), holeSize - 1, []PageRange{{holeSize - 1, 1}}},
		"amid":       {strings.Repeat("\x00", holeSize) + "x" + strings.Repeat("\x00", 2*holeSize), 0, []PageRange{{holeSize, holeSize}}},
	} {
		var got []PageRange
		if err := eachFilled([]byte(c.b), c.at, func(b []byte, at int64) error {
			if string(b) != c.b[at-c.at:][:len(b)] {
				t.Errorf("%s: other bytes at %d", name, at)
			}
			got = append(got, PageRange{at, int64(len(b))})
			return nil
		}); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v (%v), want %v", name, got, err, c.want)
		}
	}
}

// A file that says that it is larger than any disk, as one that reserves address
// space may, is refused by name, and not counted out.
func TestHoleBeyondAllDisks(t *testing.T) {
	t.Parallel()
	d, src := openDir(t, small()), memoryDir(t)
	path := filepath.Join(src, "reserved")
	writeFiles(t, src, map[string]string{"reserved": "x"})
	if err := os.Truncate(path, 1<<60); err != nil {
		t.Skip("the file system has no such files:", err)
	}
	if _, err := d.Save(t.Context(), Snapshot{Workload: "w", Source: src}); !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want ErrTooLarge naming %s", err, path)
	}
}

// What could not be read back is not saved.
func TestTreeOfTooMany(t *testing.T) {
	t.Parallel()
	add := func([]byte) (hash, error) { return hash{}, nil }
	entries := []entry{{path: ".", kind: kindDir}, {path: "f", kind: kindFile, extents: make([]extent, 3)}}
	if err := checkTree(entries, 5); err != nil {
		t.Error(err)
	}
	if err := checkTree(entries, 4); !errors.Is(err, ErrTooLarge) {
		t.Errorf("5 entries and extents of at most 4: %v", err)
	}
	if _, _, err := writeTree(entries[:1], add); err != nil {
		t.Error(err)
	}
}
