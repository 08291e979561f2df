package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/blake3"
)

func sample() *manifest {
	return &manifest{
		header: header{workload: "train-7", epoch: 12, sequence: 3, time: 1_700_000_000_000_000_000, label: "é", size: 5000, added: 77, took: 5, pause: 6},
		entries: []entry{
			{path: ".", kind: kindDir, mode: 0o755, mtime: -1},
			{path: "-", kind: kindFile, mode: 0o4644},
			{path: "a", kind: kindDir, mode: 0o700},
			{path: "a-b", kind: kindFile, size: 5000, ident: ident{1, 2, -3}, chunks: []chunkRef{{hash{1}, 4096}, {hash{2}, 904}}},
			{path: "a/l", kind: kindSymlink, target: "../a-b"},
		},
	}
}

func TestManifestRoundTrip(t *testing.T) {
	want := sample()
	got, err := decodeManifest(want.encode())
	if err != nil {
		t.Fatal(err)
	}
	opts := cmp.AllowUnexported(manifest{}, header{}, entry{}, chunkRef{}, ident{})
	want.entries[1].chunks = []chunkRef{}
	if diff := cmp.Diff(want, got, opts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	h, _, err := decodeHeader(want.encode()[:200])
	if err != nil || h != want.header {
		t.Errorf("header alone: %+v %v", h, err)
	}
}

func TestManifestRefusesUnsafeTrees(t *testing.T) {
	link := func(path, target string) func(*manifest) {
		return func(m *manifest) {
			m.entries = append(m.entries[:3:3], entry{path: path, kind: kindSymlink, target: target})
			m.size = 0
		}
	}
	at := func(path string) func(*manifest) {
		return func(m *manifest) { m.entries = append(m.entries, entry{path: path, kind: kindDir}) }
	}
	for name, c := range map[string]struct {
		change func(*manifest)
		unsafe bool
	}{
		"parent":             {at("z/../.."), true},
		"dot dot":            {at(".."), true},
		"absolute":           {at("/z"), true},
		"unclean":            {at("z//z"), true},
		"trailing slash":     {at("z/"), true},
		"dot":                {at("a/."), true},
		"NUL":                {at("z\x00"), true},
		"empty":              {at(""), true},
		"no parent":          {at("z/z"), true},
		"below a file":       {at("a-b/z"), false},
		"below a link":       {at("a/l/z"), true},
		"not sorted":         {at("A"), false},
		"twice":              {at("a/l"), false},
		"no root":            {func(m *manifest) { m.entries = m.entries[1:] }, false},
		"no entries":         {func(m *manifest) { m.entries, m.size = nil, 0 }, false},
		"wrong size":         {func(m *manifest) { m.size++ }, false},
		"wrong chunks":       {func(m *manifest) { m.entries[3].size++; m.size++ }, false},
		"negative size":      {func(m *manifest) { m.entries[1].size = -1 }, false},
		"empty chunk":        {func(m *manifest) { m.entries[1].chunks = []chunkRef{{}} }, false},
		"mode":               {func(m *manifest) { m.entries[1].mode = 1 << 20 }, false},
		"kind":               {func(m *manifest) { m.entries[1].kind = 9 }, false},
		"bad workload":       {func(m *manifest) { m.workload = "../x" }, false},
		"absolute link":      {link("l", "/etc"), true},
		"link out":           {link("l", "../x"), true},
		"link out of a dir":  {link("a/m", "../../x"), true},
		"link through names": {link("a/m", "b/../../../x"), true},
		"empty link":         {link("l", ""), true},
	} {
		t.Run(name, func(t *testing.T) {
			m := sample()
			c.change(m)
			_, err := decodeManifest(m.encode())
			if err == nil || c.unsafe && !errors.Is(err, ErrUnsafePath) {
				t.Errorf("error %v", err)
			}
		})
	}
	m := sample()
	link("a/m", "../a/./l")(m)
	if _, err := decodeManifest(m.encode()); err != nil {
		t.Errorf("a link inside the tree: %v", err)
	}
}

func TestManifestRefusesDamage(t *testing.T) {
	b := sample().encode()
	for i := range b {
		c := slices.Clone(b)
		c[i] ^= 0x10
		if _, err := decodeManifest(c); err == nil {
			t.Errorf("a flipped bit in byte %d was accepted", i)
		}
		if _, err := decodeManifest(b[:i]); err == nil {
			t.Errorf("the first %d bytes were accepted", i)
		}
	}
	newer := reseal(append(slices.Clone(b[:len(manifestMagic)]), append([]byte{9}, b[len(manifestMagic)+1:]...)...))
	if _, err := decodeManifest(newer); err == nil || !strings.Contains(err.Error(), "version 9") {
		t.Errorf("a newer version: %v", err)
	}
}

// reseal makes both checksums of a changed manifest right again.
func reseal(b []byte) []byte {
	b = slices.Clone(b)
	if len(b) < headerStart+4+len(hash{}) {
		return b
	}
	body := b[:len(b)-len(hash{})]
	if end := headerStart + int(binary.LittleEndian.Uint32(b[headerStart-4:])); end >= 0 && end+4 <= len(body) {
		binary.LittleEndian.PutUint32(body[end:], crc32.Checksum(body[:end], castagnoli))
	}
	sum := blake3.Sum256(body)
	return append(body, sum[:]...)
}

// FuzzManifest feeds the reader anything, with its checksums made right: it
// must not panic, and what it accepts must come back byte for byte and name
// only places inside the tree.
func FuzzManifest(f *testing.F) {
	f.Add(sample().encode())
	f.Add((&manifest{header: header{workload: "w"}, entries: []entry{{path: ".", kind: kindDir}}}).encode())
	f.Add([]byte(manifestMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = reseal(b)
		m, err := decodeManifest(b)
		if err != nil {
			return
		}
		if !bytes.Equal(m.encode(), b) {
			t.Fatal("an accepted manifest is encoded otherwise")
		}
		for _, e := range m.entries[1:] {
			if checkEntryPath(e.path) != nil {
				t.Fatalf("accepted entry %q", e.path)
			}
		}
	})
}

// FuzzChunk feeds the chunk reader anything.
func FuzzChunk(f *testing.F) {
	c, err := newCodec(DefaultOptions())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(c.close)
	content := []byte(prose(5000))
	f.Add(c.encode(nil, content))
	f.Add(c.encode(nil, []byte(noise(1, 100))))
	want := hash(blake3.Sum256(content))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := c.decode(nil, b, want)
		if err == nil && !bytes.Equal(got, content) {
			t.Fatal("other content was accepted")
		}
	})
}
