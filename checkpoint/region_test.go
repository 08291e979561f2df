package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stratoswarm/forestall"
	"pgregory.net/rapid"
)

// memory is a region's content that can be written to.
type memory []byte

func (m memory) WriteAt(b []byte, at int64) (int, error) { return copy(m[at:], b), nil }

// rewrite fills n random pages and returns their ranges.
func (m memory) rewrite(rng *rand.Rand, n int) (dirty []PageRange) {
	const page = 4 << 10
	for range n {
		at := rng.IntN(len(m)/page) * page
		copy(m[at:at+page], noise(rng.Uint64(), page))
		dirty = append(dirty, PageRange{int64(at), page})
	}
	return dirty
}

func readRegion(t testing.TB, d *Dir, id, name string, size int) []byte {
	t.Helper()
	got := make(memory, size)
	n, err := d.ReadFile(t.Context(), id, name, got)
	if err != nil {
		t.Fatal(err)
	}
	if n != int64(size) {
		t.Fatalf("region %q has %d bytes, want %d", name, n, size)
	}
	return got
}

// TestSaveRegionsManyTimes saves a region over and over, a hundredth of its
// pages rewritten each time: every checkpoint adds little and comes back whole,
// also once the chunks it began with are worn.
func TestSaveRegionsManyTimes(t *testing.T) {
	t.Parallel()
	opt := DefaultOptions()
	opt.ChunkSize = 64 << 10
	d := openDir(t, opt)
	rng := rand.New(rand.NewPCG(1, 2))
	mem := memory(noise(7, 4<<20))
	cp := must[forestall.Checkpoint](t)(d.SaveRegions(t.Context(), Regions{Workload: "w", Regions: []Region{
		{Name: "heap", Size: int64(len(mem)), Content: bytes.NewReader(mem)},
	}}))
	var changed, added int64
	for i := range 200 {
		dirty := mem.rewrite(rng, 10)
		ranges, err := normalize(slices.Clone(dirty), int64(len(mem)))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range ranges {
			changed += r.Length
		}
		cp = must[forestall.Checkpoint](t)(d.SaveRegions(t.Context(), Regions{Workload: "w", Base: cp.ID, Regions: []Region{
			{Name: "heap", Size: int64(len(mem)), Dirty: dirty, Content: bytes.NewReader(mem)},
		}}))
		added += cp.Added
		if i%40 == 0 && !bytes.Equal(readRegion(t, d, cp.ID, "heap", len(mem)), mem) {
			t.Fatalf("checkpoint %d came back otherwise", i)
		}
	}
	if float64(added) > 1.5*float64(changed) {
		t.Errorf("%d bytes added for %d changed, want at most 1.5 times as many", added, changed)
	}
	t.Logf("added %.3f of what changed", float64(added)/float64(changed))
	m := must[*manifest](t)(d.loadManifest(cp.ID))
	stored := 0
	for _, u := range usesOf(m.entries) {
		stored += int(u.size)
	}
	if stored > 2*len(mem) {
		t.Errorf("the last checkpoint needs %d bytes of chunks for %d", stored, len(mem))
	}
	target := filepath.Join(t.TempDir(), "t")
	if err := d.Restore(t.Context(), cp.ID, target); err != nil {
		t.Fatal(err)
	}
	if got := readTree(t, target)["heap"].Content; got != string(mem) {
		t.Error("restored as a directory it is something else")
	}
}

// onlyDirty is content that has the dirty ranges and nothing else.
type onlyDirty struct {
	memory []byte
	dirty  []PageRange
}

func (c onlyDirty) ReadAt(b []byte, off int64) (int, error) {
	for at := off; at < off+int64(len(b)); at++ {
		if !slices.ContainsFunc(c.dirty, func(r PageRange) bool { return r.Offset <= at && at < r.end() }) {
			return 0, fmt.Errorf("byte %d is read and is not dirty", at)
		}
	}
	return copy(b, c.memory[off:]), nil
}

// TestSaveRegionsSparse saves a region whose memory is at hand only where it is
// dirty: the content is read nowhere else, also once chunks are worn.
func TestSaveRegionsSparse(t *testing.T) {
	t.Parallel()
	opt := DefaultOptions()
	opt.ChunkSize = 64 << 10
	d := openDir(t, opt)
	rng := rand.New(rand.NewPCG(3, 4))
	mem := memory(noise(7, 1<<20))
	region := Region{Name: "heap", Size: int64(len(mem)), Content: bytes.NewReader(mem)}
	cp := must[forestall.Checkpoint](t)(d.SaveRegions(t.Context(), Regions{Workload: "w", Regions: []Region{region}}))
	region.Sparse = true
	for range 60 {
		region.Dirty = mem.rewrite(rng, 8)
		region.Content = onlyDirty{mem, region.Dirty}
		cp = must[forestall.Checkpoint](t)(d.SaveRegions(t.Context(), Regions{Workload: "w", Base: cp.ID, Regions: []Region{region}}))
		if !bytes.Equal(readRegion(t, d, cp.ID, "heap", len(mem)), mem) {
			t.Fatalf("checkpoint %d is not the memory", cp.Sequence)
		}
	}
	m := must[*manifest](t)(d.loadManifest(cp.ID))
	damageChunk(t, d, m.entries[1].extents[0].hash)
	if err := d.Verify(t.Context(), cp.ID); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("a damaged base: %v", err)
	}
	region.Dirty, region.Content = nil, onlyDirty{mem, nil}
	if _, err := d.SaveRegions(t.Context(), Regions{Workload: "w", Base: cp.ID, Regions: []Region{region}}); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("over a base with lost chunks: %v", err)
	}
}

func TestSaveRegionsGrowsAndShrinks(t *testing.T) {
	t.Parallel()
	d := openDir(t, small())
	text := []byte(noise(3, 30_000))
	base := ""
	for _, size := range []int64{20_000, 30_000, 4_097, 0, 9_000} {
		cp := must[forestall.Checkpoint](t)(d.SaveRegions(t.Context(), Regions{Workload: "w", Base: base, Regions: []Region{
			{Name: "z", Size: 3, Content: strings.NewReader("abc")},
			{Name: "a", Size: size, Content: bytes.NewReader(text)},
		}}))
		if got := readRegion(t, d, cp.ID, "a", int(size)); !bytes.Equal(got, text[:size]) {
			t.Errorf("size %d comes back otherwise", size)
		}
		if cp.Size != size+3 {
			t.Errorf("checkpoint says %d bytes, want %d", cp.Size, size+3)
		}
		base = cp.ID
	}
}

// A chunk of the base that has rotted is written anew although nothing in it
// is dirty.
func TestSaveRegionsHealsItsBase(t *testing.T) {
	t.Parallel()
	d := openDir(t, small())
	mem := noise(5, 64<<10)
	save := func(base string) forestall.Checkpoint {
		return must[forestall.Checkpoint](t)(d.SaveRegions(t.Context(), Regions{Workload: "w", Base: base, Regions: []Region{
			{Name: "heap", Size: int64(len(mem)), Content: strings.NewReader(mem)},
		}}))
	}
	first := save("")
	m := must[*manifest](t)(d.loadManifest(first.ID))
	damageChunk(t, d, m.entries[1].extents[3].hash)
	if err := d.Verify(t.Context(), first.ID); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("verify: %v, want ErrCorrupt", err)
	}
	second := save(first.ID)
	if err := d.Verify(t.Context(), second.ID); err != nil {
		t.Error(err)
	}
}

func TestSaveRegionsRefuses(t *testing.T) {
	t.Parallel()
	d := openDir(t, small())
	ok := Region{Name: "a", Size: 3, Content: strings.NewReader("abc")}
	for name, c := range map[string]struct {
		r    Regions
		is   error
		says string
	}{
		"base":     {Regions{Base: strings.Repeat("0", 64), Regions: []Region{ok}}, ErrNotFound, "base"},
		"slash":    {Regions{Regions: []Region{{Name: "a/b"}}}, ErrUnsafePath, "a/b"},
		"no name":  {Regions{Regions: []Region{{}}}, ErrUnsafePath, "name"},
		"twice":    {Regions{Regions: []Region{ok, ok}}, nil, `"a"`},
		"negative": {Regions{Regions: []Region{{Name: "a", Size: -1}}}, nil, "negative"},
		"content":  {Regions{Regions: []Region{{Name: "a", Size: 1}}}, nil, "Content"},
		"short":    {Regions{Regions: []Region{{Name: "a", Size: 4, Content: strings.NewReader("abc")}}}, ErrChanged, "ended at 3"},
	} {
		t.Run(name, func(t *testing.T) {
			c.r.Workload = "w"
			if _, err := d.SaveRegions(t.Context(), c.r); err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want %v saying %q", err, c.is, c.says)
			}
		})
	}
	if n := len(must[[]forestall.Checkpoint](t)(d.List(""))); n != 0 {
		t.Errorf("%d checkpoints", n)
	}
	noTemporaryFiles(t, d)
	if _, err := d.ReadFile(t.Context(), strings.Repeat("0", 64), "a", memory{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("error %v", err)
	}
}

// TestOverlay compares what extents say with the same done to bytes.
func TestOverlay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.Int64Range(0, 60).Draw(rt, "size")
		newSize := rapid.Int64Range(0, 60).Draw(rt, "new size")
		var old []extent
		want := []byte{}
		for n, at := 0, int64(0); at < size; n++ {
			offset := rapid.Uint32Range(0, 5).Draw(rt, "offset")
			length := uint32(min(size-at, rapid.Int64Range(1, 9).Draw(rt, "length")))
			old = append(old, extent{ref{hash{byte(n)}, 20}, offset, length})
			for i := range length {
				want = append(want, byte(n)<<5|byte(offset+i))
			}
			at += int64(length)
		}
		var dirty []PageRange
		for range rapid.IntRange(0, 4).Draw(rt, "ranges") {
			dirty = append(dirty, PageRange{rapid.Int64Range(0, 70).Draw(rt, "at"), rapid.Int64Range(0, 30).Draw(rt, "length")})
		}
		if newSize > size {
			dirty = append(dirty, PageRange{size, newSize - size})
		}
		dirty, err := normalize(dirty, newSize)
		if err != nil {
			rt.Fatal(err)
		}
		want = append(want, make([]byte, 60)...)[:newSize]
		var written []placed
		for _, job := range packRanges(dirty, 16) {
			var length, at uint32
			for _, r := range job {
				length += uint32(r.Length)
			}
			if length > 16 {
				rt.Fatalf("a chunk of %d bytes", length)
			}
			for _, r := range job {
				written = append(written, placed{extent{ref{hash{255}, length}, at, uint32(r.Length)}, r.Offset})
				at += uint32(r.Length)
				for i := range r.Length {
					want[r.Offset+i] = 0xff
				}
			}
		}
		got, err := overlay(keep(old, dirty, newSize), inOrder([][]placed{written}))
		if err != nil {
			rt.Fatal(err)
		}
		have := []byte{}
		for _, x := range got {
			for i := range x.length {
				b := x.hash[0]<<5 | byte(x.offset+i)
				if x.hash[0] == 255 {
					b = 0xff
				}
				have = append(have, b)
			}
		}
		if diff := cmp.Diff(want, have); diff != "" {
			rt.Fatalf("(-want +got):\n%s", diff)
		}
	})
}
