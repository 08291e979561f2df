package delta

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// methods opens b by every method that works here.
func methods(t *testing.T, b []byte, test func(t *testing.T, r *Region)) {
	t.Helper()
	for _, f := range Probe() {
		t.Run(string(f.Method), func(t *testing.T) {
			if f.Err != nil {
				t.Skipf("this kernel does not offer %s: %v", f.Method, f.Err)
			}
			r, err := OpenMemory(b, Options{Method: f.Method})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}()
			if r.Method() != f.Method {
				t.Fatalf("method %s, want %s", r.Method(), f.Method)
			}
			test(t, r)
		})
	}
}

func mark(t *testing.T, r *Region) []Range {
	t.Helper()
	got, err := r.Mark(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestMarkReportsWhatWasWritten(t *testing.T) {
	const pages = 1000
	for _, odd := range []int{0, 1, 4095} {
		b := make([]byte, pages*PageSize+odd)
		methods(t, b, func(t *testing.T, r *Region) {
			if diff := cmp.Diff([]Range{{0, int64(len(b))}}, mark(t, r)); diff != "" {
				t.Fatalf("first mark (-want +got):\n%s", diff)
			}
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rng := rand.New(rand.NewPCG(seed, 1))
			for range 50 {
				if got := mark(t, r); len(got) != 0 {
					t.Fatalf("nothing was written and %v is reported", got)
				}
				var want []Range
				for range rng.IntN(40) {
					at := rng.IntN(len(b))
					b[at]++
					want = append(want, align(Range{int64(at), 1}, int64(len(b))))
				}
				want = Union(want, nil)
				if diff := cmp.Diff(want, mark(t, r), cmpopts.EquateEmpty()); diff != "" {
					t.Fatalf("after writes (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// A slice that does not begin with a page: everything that was written is
// reported, and at most the page beside it.
func TestMarkOfUnalignedMemory(t *testing.T) {
	whole := make([]byte, 100*PageSize)
	b := whole[100 : len(whole)-333]
	methods(t, b, func(t *testing.T, r *Region) {
		mark(t, r)
		for at := range b {
			if at%4001 != 0 {
				continue
			}
			b[at]++
			got := mark(t, r)
			i := slices.IndexFunc(got, func(r Range) bool { return r.Offset <= int64(at) && int64(at) < r.End() })
			if i < 0 || Bytes(got) > 2*PageSize {
				t.Fatalf("byte %d was written, %v is reported", at, got)
			}
		}
	})
}

func TestMarkAfterCancel(t *testing.T) {
	b := make([]byte, 10*PageSize)
	methods(t, b, func(t *testing.T, r *Region) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := r.Mark(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v", err)
		}
		if got := mark(t, r); Bytes(got) != int64(len(b)) {
			t.Fatalf("%v is reported, want all", got)
		}
	})
}

func TestOpenMemoryRefuses(t *testing.T) {
	if _, err := OpenMemory(nil, Options{}); err == nil {
		t.Error("empty memory was taken")
	}
	if _, err := OpenMemory(make([]byte, 1), Options{Method: "guess"}); err == nil {
		t.Error("an unknown method was taken")
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	content := make([]byte, 5*PageSize+7)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	mark(t, r)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{1}, 5*PageSize); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Range{{5 * PageSize, 7}}, mark(t, r)); diff != "" {
		t.Fatal(diff)
	}
	if err := f.Truncate(PageSize); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Mark(context.Background()); !errors.Is(err, ErrRemapped) {
		t.Fatalf("a shorter file gives %v", err)
	}
}

func TestUnion(t *testing.T) {
	for _, tc := range []struct {
		name       string
		a, b, want []Range
	}{
		{"nothing", nil, nil, nil},
		{"apart", []Range{{8, 4}}, []Range{{0, 4}}, []Range{{0, 4}, {8, 4}}},
		{"touching", []Range{{0, 4}}, []Range{{4, 4}}, []Range{{0, 8}}},
		{"inside", []Range{{0, 10}}, []Range{{2, 3}}, []Range{{0, 10}}},
		{"empty", []Range{{5, 0}}, []Range{{1, 1}}, []Range{{1, 1}}},
	} {
		got := Union(slices.Clone(tc.a), tc.b)
		if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}
