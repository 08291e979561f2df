package s3

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/blake3"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
)

// packOf makes a pack of chunk files, and its object.
func packOf(name byte, files ...string) (*pack, []byte) {
	b := newBuilder(1 << 10)
	for _, f := range files {
		b.add(checkpoint.Hash(blake3.Sum256([]byte(f))), []byte(f))
	}
	return b.seal(string(bytes.Repeat([]byte{name}, 32)))
}

func TestPackIndex(t *testing.T) {
	want, body := packOf('a', "one", "", "three")
	got, err := openIndex(want.packRef, body[want.Size-want.Index:])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.frames, got.frames, cmp.AllowUnexported(frame{})); diff != "" {
		t.Errorf("frames (-want +got):\n%s", diff)
	}
	for _, f := range got.frames {
		if file := body[f.offset:][:f.length]; blake3.Sum256(file) != f.sum {
			t.Errorf("at %d is %q", f.offset, file)
		}
	}
	for i := range body[want.Size-want.Index:] {
		broken := bytes.Clone(body[want.Size-want.Index:])
		broken[i] ^= 1
		if _, err := openIndex(want.packRef, broken); err == nil {
			t.Errorf("byte %d of the index may be anything", i)
		}
	}
}

func TestRecord(t *testing.T) {
	p, _ := packOf('a', "x")
	want := record{ID: checkpoint.Hash{7}.String(), Packs: []packRef{p.packRef}}
	b, err := sealRecord(want, []byte("the manifest"))
	if err != nil {
		t.Fatal(err)
	}
	got, manifest, err := openRecord(b)
	want.Bytes = int64(len("the manifest"))
	if diff := cmp.Diff(want, got); diff != "" || err != nil || string(manifest) != "the manifest" {
		t.Errorf("%v, %q (-want +got):\n%s", err, manifest, diff)
	}
	for n := range len(b) {
		if _, _, err := openRecord(b[:n]); err == nil {
			t.Errorf("the first %d of %d bytes pass for a record", n, len(b))
		}
	}
}

func TestChoose(t *testing.T) {
	h := func(s string) checkpoint.Hash { return blake3.Sum256([]byte(s)) }
	full, _ := packOf('a', "11111111", "22222222", "33333333")
	sparse, _ := packOf('b', "44444444", "55555555", "66666666")
	unused, _ := packOf('c', "77777777")
	var tiny []*pack
	var tinyChunks []checkpoint.Hash
	for i := range manySmall + 1 {
		p, _ := packOf(byte('d'), string(rune('A'+i)))
		p.Name = string(bytes.Repeat([]byte{byte('A' + i)}, 32))
		tiny = append(tiny, p)
		tinyChunks = append(tinyChunks, p.frames[0].hash)
	}
	for _, test := range []struct {
		name       string
		candidates []*pack
		chunks     []checkpoint.Hash
		size       int
		used       []*pack
		missing    []checkpoint.Hash
	}{
		{"nothing there", nil, []checkpoint.Hash{h("11111111")}, 100, nil, []checkpoint.Hash{h("11111111")}},
		{"all there", []*pack{full, unused}, []checkpoint.Hash{h("33333333"), h("11111111")}, 100, []*pack{full}, nil},
		{"a third needed is given up", []*pack{full, sparse}, []checkpoint.Hash{h("11111111"), h("22222222"), h("55555555"), h("new")}, 100, []*pack{full}, []checkpoint.Hash{h("55555555"), h("new")}},
		{"few small ones", tiny[:manySmall], tinyChunks[:manySmall], 10000, tiny[:manySmall], nil},
		{"many small ones are merged", tiny, tinyChunks, 10000, nil, tinyChunks},
		{"many ordinary ones", tiny, tinyChunks, 4, tiny, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			used, missing := choose(test.candidates, test.chunks, test.size)
			if diff := cmp.Diff(test.used, used, cmp.AllowUnexported(pack{}, frame{})); diff != "" {
				t.Errorf("used (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.missing, missing); diff != "" {
				t.Errorf("missing (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSpans(t *testing.T) {
	at := func(pack int, offset int64, length uint32) place {
		return place{pack, frame{offset: offset, length: length}}
	}
	got := spans([]place{at(1, 0, 10), at(0, maxSpan+100, 50), at(0, 10, 10), at(0, 40, 10), at(0, 50+maxGap+1, 5)})
	var ranges [][3]int64
	for _, s := range got {
		ranges = append(ranges, [3]int64{int64(s.pack), s.begin, s.end})
	}
	want := [][3]int64{{0, 10, 50}, {0, 50 + maxGap + 1, 50 + maxGap + 6}, {0, maxSpan + 100, maxSpan + 150}, {1, 0, 10}}
	if diff := cmp.Diff(want, ranges); diff != "" {
		t.Errorf("pack, begin, end (-want +got):\n%s", diff)
	}
}

func TestParseURL(t *testing.T) {
	var c Config
	if err := c.ParseURL("s3://bucket/a/b?endpoint=http://127.0.0.1:9000&region=eu"); err != nil {
		t.Fatal(err)
	}
	if c.Bucket != "bucket" || c.Prefix != "a/b" || c.Endpoint != "http://127.0.0.1:9000" || c.Region != "eu" {
		t.Errorf("%+v", c)
	}
	for _, bad := range []string{"", "bucket", "http://bucket", "s3:///x", "s3://b?secret=1"} {
		if err := c.ParseURL(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func FuzzObjects(f *testing.F) {
	p, body := packOf('a', "x", "y")
	rec, err := sealRecord(record{ID: checkpoint.Hash{7}.String(), Packs: []packRef{p.packRef}}, []byte("m"))
	if err != nil {
		f.Fatal(err)
	}
	cat, err := sealJSON(kindCatalog, catalog{Workload: "w", Checkpoints: []entry{{
		Checkpoint: forestall.Checkpoint{ID: checkpoint.Hash{7}.String(), Workload: "w", Time: time.Unix(1, 0)}, Record: p.Name,
	}}})
	if err != nil {
		f.Fatal(err)
	}
	gc, err := sealJSON(kindPlan, plan{Marked: map[string]time.Time{"packs/x": {}}})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{body, body[p.Size-p.Index:], rec, cat, gc, head(kindFormat), nil} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, manifest, err := openRecord(b); err == nil && len(manifest) > len(b) {
			t.Error("a manifest longer than its record")
		}
		_, _, _ = openRecordFront(b)
		_, _ = openCatalog(b, "w")
		_, _ = openPlan(b)
		// An index is read under a checksum: give it the right one.
		ref := packRef{Name: p.Name, Index: int64(len(b)), Size: int64(len(b)) + 20, Sum: checkpoint.Hash(blake3.Sum256(b)).String()}
		if got, err := openIndex(ref, b); err == nil && len(got.frames)*indexEntry > len(b) {
			t.Error("more chunks than the index holds")
		}
	})
}
