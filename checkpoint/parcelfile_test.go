package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/stratoswarm/forestall"
)

func parcelBytes(t testing.TB) ([]byte, string, string) {
	t.Helper()
	d, source := openDir(t, small()), state(t)
	cp := must[forestall.Checkpoint](t)(d.Save(context.Background(), Snapshot{Workload: "w", Epoch: 1, Source: source}))
	p := must[*Parcel](t)(d.Parcel(cp.ID))
	defer p.Close()
	var b bytes.Buffer
	if err := WriteParcel(context.Background(), &b, p); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), cp.ID, source
}

func TestParcelFile(t *testing.T) {
	b, id, source := parcelBytes(t)
	p, err := ReadParcel(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if p.ID != id || p.Workload != "w" {
		t.Errorf("parcel of %.12s of %s", p.ID, p.Workload)
	}
	d := openDir(t, small())
	if err := d.Take(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "restored")
	if err := d.Restore(context.Background(), id, target); err != nil {
		t.Fatal(err)
	}
	sameTree(t, readTree(t, source), readTree(t, target))
}

// TestParcelFileDamage: whatever is wrong with a parcel, no store takes it. A
// few bits of a zstd frame mean nothing: with one of those flipped the content
// is the same, and taken.
func TestParcelFileDamage(t *testing.T) {
	b, id, _ := parcelBytes(t)
	take := func(b []byte) error {
		p, err := ReadParcel(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return err
		}
		d := openDir(t, small())
		if err := d.Take(context.Background(), p); err != nil {
			return err
		}
		if err := d.Verify(context.Background(), id); err != nil {
			t.Errorf("taken and not whole: %v", err)
		}
		return nil
	}
	meaningless := 0
	for at := 0; at < len(b); at += 1 + len(b)/150 {
		broken := bytes.Clone(b)
		broken[at] ^= 1
		if err := take(broken); err == nil {
			meaningless++
		} else if !errors.Is(err, ErrCorrupt) {
			t.Errorf("bit of byte %d of %d flipped: %v, want ErrCorrupt", at, len(b), err)
		}
	}
	if meaningless > 3 {
		t.Errorf("%d flipped bits were not noticed", meaningless)
	}
	for n := 0; n < len(b); n += 1 + len(b)/50 {
		if err := take(b[:n]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut off after %d of %d: %v, want ErrCorrupt", n, len(b), err)
		}
	}
}

func FuzzReadParcel(f *testing.F) {
	b, _, _ := parcelBytes(f)
	f.Add(b)
	f.Add(b[:60])
	f.Add([]byte(parcelMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ReadParcel(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		_ = p.Fetch(context.Background(), p.Chunks, func(_ Hash, file []byte) error {
			if len(file) > len(b) {
				t.Error("a chunk longer than the parcel")
			}
			return nil
		})
	})
}
