package delta

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// pagemap is a page map that the test writes.
type pagemap []uint64

func (p pagemap) ReadAt(b []byte, off int64) (int, error) {
	for i := 0; i < len(b); i += entryLen {
		at := (off + int64(i)) / entryLen
		if at >= int64(len(p)) {
			return i, errors.New("there is no such page")
		}
		binary.LittleEndian.PutUint64(b[i:], p[at])
	}
	return len(b), nil
}

// This kernel may keep no soft-dirty bits; what is read from them can be tested
// nevertheless.
func TestSoftDirtyBits(t *testing.T) {
	page := uint64(os.Getpagesize())
	if page != PageSize {
		t.Skipf("the test's page map has pages of %d bytes, this machine of %d", PageSize, page)
	}
	const here, dirty, swapped = entryPresent, entrySoftDirty, entrySwapped
	p := make(pagemap, 40)
	cleared := 0
	s := &softDirty{
		pid: os.Getpid(), pagemap: p, at: []Span{{2 * page, 6 * page}, {20*page + 100, 22*page + 50}},
		clear: func() error {
			cleared++
			for i := range p {
				p[i] &^= dirty
			}
			return nil
		},
	}
	defer func() { _ = s.close() }()
	const size = 4*PageSize + 2*PageSize - 50
	for _, step := range []struct {
		name string
		set  map[int]uint64
		want []Range
	}{
		{"first", map[int]uint64{2: here, 3: here | dirty, 20: here, 21: here}, []Range{{0, size}}},
		{"nothing", nil, nil},
		{"a write", map[int]uint64{3: here | dirty}, []Range{{PageSize, PageSize}}},
		{"a first write", map[int]uint64{5: here | dirty}, []Range{{3 * PageSize, PageSize}}},
		{"a first read", map[int]uint64{4: here}, []Range{{2 * PageSize, PageSize}}},
		{"swapped out", map[int]uint64{3: swapped}, nil},
		{"written, then swapped out", map[int]uint64{3: swapped | dirty}, []Range{{PageSize, PageSize}}},
		{"discarded", map[int]uint64{5: 0}, []Range{{3 * PageSize, PageSize}}},
		{"discarded and new to the kernel", map[int]uint64{5: dirty}, nil},
		{"second span, which begins inside a page", map[int]uint64{20: here | dirty}, []Range{{4 * PageSize, PageSize}}},
		{"its end", map[int]uint64{22: here | dirty}, []Range{{5 * PageSize, PageSize - 50}}},
	} {
		for i, entry := range step.set {
			p[i] = entry
		}
		got, err := s.mark(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	if cleared != 11 {
		t.Errorf("cleared %d times", cleared)
	}
	s.clear = func() error { return errors.New("no") }
	p[3] |= dirty
	if _, err := s.mark(context.Background()); err == nil {
		t.Error("bits that cannot be cleared were taken")
	}
	s.clear = func() error { return nil }
	if got, err := s.mark(context.Background()); err != nil || Bytes(got) != size {
		t.Errorf("after an error %v, %v; want everything", got, err)
	}
}
