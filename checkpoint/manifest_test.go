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
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/zstd"
	"github.com/stratoswarm/forestall/checkpoint/seal"
	"github.com/zeebo/blake3"
)

func sample() *manifest {
	return &manifest{
		header: header{workload: "train-7", epoch: 12, sequence: 3, time: 1_700_000_000_000_000_000, label: "é", size: 5000, added: 77, took: 5, pause: 6},
		entries: []entry{
			{path: ".", kind: kindDir, mode: 0o755, mtime: -1},
			{path: "-", kind: kindFile, mode: 0o4644},
			{path: "a", kind: kindDir, mode: 0o700},
			{path: "a-b", kind: kindFile, size: 5000, ident: ident{1, 2, -3}, extents: []extent{whole(ref{hash{1}, 4096}), {ref{hash{2}, 1000}, 96, 904}}},
			{path: "a/l", kind: kindSymlink, target: "../a-b"},
		},
	}
}

// packed returns m as a manifest file and its chunks.
func packed(t testing.TB, m *manifest) ([]byte, map[hash][]byte) {
	t.Helper()
	chunks := make(map[hash][]byte)
	level, top, err := writeTree(m.entries, func(block []byte) (hash, error) {
		h := hash(blake3.Sum256(block))
		chunks[h] = slices.Clone(block)
		return h, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return root{header: m.header, level: level, top: top}.encode(nil), chunks
}

// unpacked is the inverse of packed.
func unpacked(b []byte, chunks map[hash][]byte) (*manifest, error) {
	r, err := new(codec).decodeRoot(b)
	if err != nil {
		return nil, err
	}
	m, err := r.expand(func(dst []byte, h hash) ([]byte, error) {
		if chunks[h] == nil {
			return nil, corrupt("chunk "+h.String(), "is missing")
		}
		return append(dst, chunks[h]...), nil
	})
	if err == nil && r.entries == nil {
		m.blocks = nil
	}
	return m, err
}

var manifestFields = cmp.AllowUnexported(manifest{}, header{}, entry{}, extent{}, ref{}, ident{}, owner{})

func TestManifestRoundTrip(t *testing.T) {
	want := sample()
	b, chunks := packed(t, want)
	got, err := unpacked(b, chunks)
	if err != nil {
		t.Fatal(err)
	}
	want.entries[1].extents = []extent{}
	if diff := cmp.Diff(want, got, manifestFields); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	h, _, err := decodeHeader(b)
	if err != nil || h != want.header {
		t.Errorf("header alone: %+v %v", h, err)
	}
}

func TestManifestVersion1RoundTrip(t *testing.T) {
	want := sample()
	want.entries[3].extents = []extent{whole(ref{hash{1}, 4096}), whole(ref{hash{2}, 904})}
	want.entries[1].extents = []extent{}
	got, err := unpacked(want.encodeV1(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, manifestFields); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
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
		"parent":            {at("z/../.."), true},
		"dot dot":           {at(".."), true},
		"absolute":          {at("/z"), true},
		"unclean":           {at("z//z"), true},
		"trailing slash":    {at("z/"), true},
		"dot":               {at("a/."), true},
		"NUL":               {at("z\x00"), true},
		"empty":             {at(""), true},
		"no parent":         {at("z/z"), true},
		"below a file":      {at("a-b/z"), false},
		"below a link":      {at("a/l/z"), true},
		"not sorted":        {at("A"), false},
		"twice":             {at("a/l"), false},
		"no root":           {func(m *manifest) { m.entries = m.entries[1:] }, false},
		"no entries":        {func(m *manifest) { m.entries, m.size = nil, 0 }, false},
		"wrong size":        {func(m *manifest) { m.size++ }, false},
		"wrong extents":     {func(m *manifest) { m.entries[3].size++; m.size++ }, false},
		"outside the chunk": {func(m *manifest) { m.entries[3].extents[1].offset++ }, false},
		"negative size":     {func(m *manifest) { m.entries[1].size = -1 }, false},
		"empty chunk":       {func(m *manifest) { m.entries[1].extents = []extent{{}} }, false},
		"mode":              {func(m *manifest) { m.entries[1].mode = 1 << 20 }, false},
		"kind":              {func(m *manifest) { m.entries[1].kind = 9 }, false},
		"bad workload":      {func(m *manifest) { m.workload = "../x" }, false},
		"empty link":        {link("l", ""), true},
		"long link":         {link("l", strings.Repeat("x", maxPath+1)), true},
		"link with NUL":     {link("l", "x\x00"), true},
		"below a link out": {func(m *manifest) {
			link("l", "/etc")(m)
			m.entries = append(m.entries, entry{path: "l/z", kind: kindFile})
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			m := sample()
			c.change(m)
			_, err := unpacked(m.encodeV1(), nil)
			if name == "outside the chunk" {
				err = ErrCorrupt // version 1 has whole chunks only
			}
			if err == nil || c.unsafe && !errors.Is(err, ErrUnsafePath) {
				t.Errorf("version 1: error %v", err)
			}
			_, err = unpacked(packed(t, m))
			if err == nil || c.unsafe && !errors.Is(err, ErrUnsafePath) {
				t.Errorf("error %v", err)
			}
		})
	}
	for _, target := range []string{"../a/./l", "/etc", "../../x", "b/../../../x"} {
		m := sample()
		link("a/m", target)(m)
		if _, err := unpacked(packed(t, m)); err != nil {
			t.Errorf("a link to %s: %v", target, err)
		}
	}
}

func TestManifestRefusesDamage(t *testing.T) {
	b, _ := packed(t, sample())
	for _, b := range [][]byte{b, sample().encodeV1()} {
		for i := range b {
			c := slices.Clone(b)
			c[i] ^= 0x10
			if _, err := new(codec).decodeRoot(c); err == nil {
				t.Errorf("a flipped bit in byte %d was accepted", i)
			}
			if _, err := new(codec).decodeRoot(b[:i]); err == nil {
				t.Errorf("the first %d bytes were accepted", i)
			}
		}
	}
	newer := reseal(append(slices.Clone(b[:len(manifestMagic)]), append([]byte{9}, b[len(manifestMagic)+1:]...)...))
	if _, err := new(codec).decodeRoot(newer); err == nil || !strings.Contains(err.Error(), "version 9") {
		t.Errorf("a newer version: %v", err)
	}
}

// What was left out is in version 3, whose header has the number and whose sealed
// part the names; without it older programs can read the file.
func TestManifestLeftOut(t *testing.T) {
	plain, _ := packed(t, sample())
	if v := plain[len(manifestMagic)]; v != 2 {
		t.Errorf("version %d where nothing was left out", v)
	}
	want := root{header: sample().header, top: []ref{{hash{1}, 9}}, names: []string{"a/queue (pipe)", "agent.sock (socket)"}}
	want.left = 3
	keys, _ := aKeyring(t)
	for name, k := range map[string]*seal.Keyring{"clear": nil, "sealed": keys} {
		b := want.encode(k)
		if v := b[len(manifestMagic)]; v != 3 {
			t.Errorf("%s: version %d", name, v)
		}
		if sealed := k != nil; bytes.Contains(b, []byte("agent.sock")) == sealed {
			t.Errorf("%s: the names are in clear text: %v", name, !sealed)
		}
		got, err := (&codec{keys: k}).decodeRoot(b)
		if err != nil || got.left != 3 || !slices.Equal(got.names, want.names) {
			t.Errorf("%s: %d, %q, %v", name, got.left, got.names, err)
		}
	}
	b := want.encode(nil)
	for i := range b {
		c := slices.Clone(b)
		c[i] ^= 0x10
		if _, err := new(codec).decodeRoot(c); err == nil {
			t.Errorf("a flipped bit in byte %d was accepted", i)
		}
	}
	for name, bad := range map[string]root{
		"more names than there are": {left(1), 0, want.top, nil, false, want.names},
		"too many names":            {left(100), 0, want.top, nil, false, make([]string, firstLeftOut+1)},
		"none left out":             {left(0), 0, want.top, nil, false, nil},
		"a negative number":         {left(-1), 0, want.top, nil, false, nil},
	} {
		if _, err := new(codec).decodeRoot(bad.encodeAs(3, nil)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func left(n int64) header {
	h := sample().header
	h.left = n
	return h
}

// ownedSample is sample with whose each entry is.
func ownedSample() *manifest {
	m := sample()
	for i := range m.entries {
		m.entries[i].owner = owner{true, uint32(i / 2), 1<<32 - 1}
	}
	return m
}

// Owners are in blocks of version 2; without them older programs can read the
// tree.
func TestTreeWithOwners(t *testing.T) {
	version := func(m *manifest) (v byte) {
		_, chunks := packed(t, m)
		for _, b := range chunks {
			v = max(v, b[len(blockMagic)])
		}
		return v
	}
	if v := version(sample()); v != 1 {
		t.Errorf("version %d without owners", v)
	}
	want := ownedSample()
	if v := version(want); v != 2 {
		t.Errorf("version %d with owners", v)
	}
	want.entries[2].owner = owner{} // between others
	got, err := unpacked(packed(t, want))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, manifestFields, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
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

// FuzzManifest feeds the reader of manifest files anything, with its checksums
// made right: it must not panic, what it accepts of version 1 must come back
// byte for byte, and of later ones the same.
func FuzzManifest(f *testing.F) {
	b, _ := packed(f, sample())
	f.Add(b)
	f.Add(sample().encodeV1())
	f.Add((&manifest{header: header{workload: "w"}, entries: []entry{{path: ".", kind: kindDir}}}).encodeV1())
	f.Add(root{header: left(3), top: []ref{{hash{1}, 9}}, names: []string{"a.sock (socket)", ""}}.encode(nil))
	f.Add([]byte(manifestMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = reseal(b)
		r, err := new(codec).decodeRoot(b)
		if err != nil {
			return
		}
		if r.entries == nil {
			again, err := new(codec).decodeRoot(r.encode(nil))
			if err != nil || !slices.Equal(again.top, r.top) || again.header != r.header || again.level != r.level || !slices.Equal(again.names, r.names) {
				t.Fatalf("an accepted manifest comes back otherwise: %v", err)
			}
			return
		}
		m := &manifest{header: r.header, entries: r.entries}
		if !bytes.Equal(m.encodeV1(), b) {
			t.Fatal("an accepted manifest is encoded otherwise")
		}
		for _, e := range m.entries[1:] {
			if checkEntryPath(e.path) != nil {
				t.Fatalf("accepted entry %q", e.path)
			}
		}
	})
}

// FuzzBlock feeds the readers of tree blocks anything: they must not panic, and
// what they accept must survive being written and read again.
func FuzzBlock(f *testing.F) {
	_, chunks := packed(f, sample())
	for _, b := range chunks {
		f.Add(b)
	}
	_, chunks = packed(f, ownedSample())
	for _, b := range chunks {
		f.Add(b)
	}
	f.Add(encodeIndex(1, []ref{{hash{1}, 1}, {hash{2}, 1 << 20}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if refs, err := decodeIndex(b, 1); err == nil {
			again, err := decodeIndex(encodeIndex(1, refs), 1)
			if err != nil || !slices.Equal(refs, again) {
				t.Fatalf("index comes back as %v (%v)", again, err)
			}
		}
		var br blockReader
		if br.add(b) != nil {
			return
		}
		var again blockReader
		w := blockWriter{emit: func(b []byte) error { return again.add(b) }}
		for _, e := range br.entries {
			if err := w.add(e); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.end(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(br.entries, again.entries, manifestFields, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("entries come back otherwise:\n%s", diff)
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
	f.Add(c.encode(nil, hash{}, content, 0, must[*zstd.Encoder](f)(c.encoder(0))))
	f.Add(c.encode(nil, hash{}, []byte(noise(2, 6000)+prose(9000)), 77, must[*zstd.Encoder](f)(c.encoder(0))))
	f.Add(c.encode(nil, hash{}, []byte(noise(1, 100)), 0, nil))
	want := hash(blake3.Sum256(content))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := c.decode(nil, b, want)
		if err == nil && !bytes.Equal(got, content) {
			t.Fatal("other content was accepted")
		}
	})
}

// A manifest that says that it names more than there can be costs no memory.
func TestManifestOfTooManyNames(t *testing.T) {
	t.Parallel()
	front := root{header: left(3), top: []ref{{hash{1}, 9}}}.encode(nil)
	b := front[:len(front)-len(hash{})-1] // without the number of names, and the checksum
	b = binary.AppendUvarint(b, 1<<40)
	if _, err := new(codec).decodeRoot(reseal(append(b, make([]byte, len(hash{}))...))); err == nil || !strings.Contains(err.Error(), "malformed") {
		t.Errorf("error %v", err)
	}
}
