package keyed

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzFrame: whatever a frame with a good checksum holds, loading it ends with
// heads that lie inside it, or an error.
func FuzzFrame(f *testing.F) {
	var body []byte
	for i, r := range []record{
		{kind: kindPut, key: "a", value: []byte("1")}, {kind: kindPut, key: "b"}, {kind: kindDelete, key: "a"}, {kind: kindMark},
	} {
		r.Version = Version{2, uint64(i + 1)}
		body = appendRecord(body, r)
	}
	f.Add(body)
	f.Add(body[:len(body)-1])
	f.Fuzz(func(t *testing.T, body []byte) {
		frame := append(appendHeader(nil), body...)
		seal(frame)
		got, rest, err := unseal(frame, maxFrame)
		if err != nil || len(rest) > 0 || !bytes.Equal(got, body) {
			t.Fatalf("a sealed frame gives %d bytes, %v", len(got), err)
		}
		l := &Log{heads: map[string]head{}, fence: fence{epoch: 5}}
		if err := l.loadFrame(got, 0); err != nil {
			return
		}
		for key, h := range l.heads {
			r, _, err := parseRecord(body[h.at : h.at+h.length])
			if err != nil || r.key != key || r.Version != h.Version {
				t.Fatalf("head %q is at %d: %+v, %v", key, h.at, r, err)
			}
		}
	})
}

// FuzzBody: the fields of a record come back.
func FuzzBody(f *testing.F) {
	f.Add([]byte{1, 5, 6, 1, 'k', 'v'})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseBody(b)
		if err != nil {
			return
		}
		again, rest, err := parseRecord(appendRecord(nil, r))
		if err != nil || len(rest) > 0 {
			t.Fatalf("%+v: %v", r, err)
		}
		if diff := cmp.Diff(r, again, cmp.AllowUnexported(record{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestFence(t *testing.T) {
	want := fence{epoch: 7, opening: 3}
	b := want.encode()
	if got, err := decodeFence(b); err != nil || got != want {
		t.Fatalf("%+v, %v", got, err)
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1
		if _, err := decodeFence(bad); err == nil {
			t.Errorf("byte %d flipped and was not noticed", i)
		}
	}
}
