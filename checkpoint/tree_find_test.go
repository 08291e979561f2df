package checkpoint

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFindFile: each file of a tree of many blocks is found as the whole tree
// has it, those that go on from block to block too, and nothing else is.
func TestFindFile(t *testing.T) {
	numbered := func(n int) (h hash) {
		binary.LittleEndian.PutUint64(h[:], uint64(n)*0x9e3779b97f4a7c15)
		return h
	}
	m := &manifest{header: sample().header, entries: []entry{{path: ".", kind: kindDir, mode: 0o755}}}
	m.size = 0
	chunks := 0
	for i := range 3000 {
		e := entry{path: fmt.Sprintf("f%05d", i), kind: kindFile, mode: 0o600, extents: []extent{}}
		n := 1
		if i%700 == 3 {
			n = 20_000
		}
		for range n {
			chunks++
			e.extents = append(e.extents, whole(ref{numbered(chunks), 4096}))
			e.size += 4096
		}
		m.size += e.size
		m.entries = append(m.entries, e)
	}
	b, kept := packed(t, m)
	r, err := new(codec).decodeRoot(b)
	if err != nil {
		t.Fatal(err)
	}
	reads := 0
	read := func(dst []byte, h hash) ([]byte, error) {
		reads++
		return append(dst, kept[h]...), nil
	}
	for i, want := range m.entries {
		if i%97 != 0 && len(want.extents) < 2 && i < len(m.entries)-2 {
			continue
		}
		got, ok, err := r.findFile(want.path, read)
		if err != nil {
			t.Fatal(err)
		}
		if want.kind != kindFile {
			if ok {
				t.Errorf("%q is found as a file", want.path)
			}
			continue
		}
		if diff := cmp.Diff(want, got, manifestFields); !ok || diff != "" {
			t.Fatalf("%q: found %v (-want +got):\n%.500s", want.path, ok, diff)
		}
	}
	if _, ok, err := r.findFile("f00003x", read); ok || err != nil {
		t.Errorf("a file that is not there: %v, %v", ok, err)
	}
	reads = 0
	if _, ok, err := r.findFile("f00000", read); !ok || err != nil || reads > len(kept)/2 {
		t.Errorf("the first file took %d of %d blocks: %v", reads, len(kept), err)
	}
}
