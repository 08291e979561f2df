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

// TestParcelFileDamage: whatever is wrong with a parcel, no store takes it.
func TestParcelFileDamage(t *testing.T) {
	b, _, _ := parcelBytes(t)
	take := func(b []byte) error {
		p, err := ReadParcel(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return err
		}
		return openDir(t, small()).Take(context.Background(), p)
	}
	for at := 0; at < len(b); at += 1 + len(b)/150 {
		broken := bytes.Clone(b)
		broken[at] ^= 1
		if err := take(broken); !errors.Is(err, ErrCorrupt) {
			t.Errorf("bit of byte %d of %d flipped: %v, want ErrCorrupt", at, len(b), err)
		}
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
