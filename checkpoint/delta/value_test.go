package delta

import (
	"bytes"
	"context"
	"io"
	"math"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

type inner struct {
	Name  string
	When  time.Time
	Big   *big.Int
	Tags  map[string][]string
	Next  *inner
	Array [3]float32
}

type everything struct {
	mu      sync.Mutex
	Step    int
	Rate    float64
	On      bool
	Phase   complex64
	Bytes   []byte
	Weights []float64
	Grid    [][]uint16
	ByID    map[int64]inner
	Inner   inner
	Empty   []int
	None    []int
	Skipped chan int `checkpoint:"-"`
}

func sample() *everything {
	s := &everything{
		Step: -7, Rate: math.Inf(1), On: true, Phase: complex(1, -2), Bytes: []byte("abc"),
		Weights: make([]float64, 5000), Grid: [][]uint16{{1, 2}, nil, {}}, Empty: []int{},
		ByID: map[int64]inner{}, Inner: inner{Name: strings.Repeat("long ", 2000), Array: [3]float32{1, 2, 3}},
	}
	for i := range s.Weights {
		s.Weights[i] = float64(i) / 3
	}
	for i := range int64(50) {
		s.ByID[i*i-20] = inner{
			Name: "n", When: time.Unix(i, 5).UTC(), Big: big.NewInt(i), Tags: map[string][]string{"a": {"b"}, strings.Repeat("k", 5000): nil},
			Next: &inner{Name: "next"},
		}
	}
	return s
}

func encoded(t testing.TB, ptr any) []byte {
	t.Helper()
	v, err := Track(ptr)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := v.Snapshot(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func decode(ptr any, b []byte) error {
	v, err := Track(ptr)
	if err != nil {
		return err
	}
	return v.Restore(context.Background(), bytes.NewReader(b))
}

var equal = cmp.Options{
	cmp.Comparer(func(a, b *big.Int) bool { return a == b || a != nil && b != nil && a.Cmp(b) == 0 }),
	cmp.Comparer(func(a, b *sync.Mutex) bool { return true }),
	cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".mu" }, cmp.Ignore()),
}

func TestValueRoundTrip(t *testing.T) {
	in := sample()
	b := encoded(t, in)
	if !bytes.Equal(b, encoded(t, in)) {
		t.Fatal("two encodings of one value differ")
	}
	out := everything{Step: 99, None: []int{1}, ByID: map[int64]inner{-1: {}}}
	out.mu.Lock()
	if err := decode(&out, b); err != nil {
		t.Fatal(err)
	}
	if out.mu.TryLock() {
		t.Fatal("restoring unlocked the caller's mutex")
	}
	if diff := cmp.Diff(in, &out, equal); diff != "" {
		t.Fatalf("-in +out:\n%s", diff)
	}
}

// Restoring a damaged encoding is an error that leaves the value alone, or gives
// a value; it never panics and never allocates what the input has not.
func FuzzValueRestore(f *testing.F) {
	in := sample()
	in.ByID, in.Weights, in.Inner.Name = nil, in.Weights[:600], "short"
	f.Add(encoded(f, in))
	f.Add(encoded(f, &everything{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		out := everything{Step: 42}
		if err := decode(&out, b); err != nil && (out.Step != 42 || out.Weights != nil) {
			t.Fatal("an error left a mixture")
		}
	})
}

func TestValueDamage(t *testing.T) {
	in := sample()
	b := encoded(t, in)
	for n := 0; n < len(b); n += 997 {
		out := everything{Step: 42}
		if err := decode(&out, b[:n]); err == nil || out.Step != 42 {
			t.Fatalf("the first %d bytes: error %v, step %d", n, err, out.Step)
		}
	}
	if err := decode(&everything{}, append(bytes.Clone(b), 0)); err == nil {
		t.Fatal("a byte too many was taken")
	}
}

// A program that was upgraded reads what its older self wrote.
func TestValueOfAnotherVersion(t *testing.T) {
	type old struct {
		Kept int
		Gone map[string][]inner
		Was  string
	}
	type young struct {
		Was  string
		New  float64
		Kept int
	}
	out := young{New: 3}
	if err := decode(&out, encoded(t, &old{Kept: 5, Gone: map[string][]inner{"x": {{Name: "y"}}}, Was: "w"})); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(young{Was: "w", Kept: 5}, out); diff != "" {
		t.Fatal(diff)
	}
	var other struct{ Kept string }
	if err := decode(&other, encoded(t, &old{})); err == nil || !strings.Contains(err.Error(), "Kept") {
		t.Fatalf("another type: %v", err)
	}
}

func TestTrackRefuses(t *testing.T) {
	type cycle struct{ Self *cycle }
	for _, tc := range []struct {
		name string
		ptr  any
		want string
	}{
		{"no pointer", 5, "a pointer to the value is needed"},
		{"nil", (*int)(nil), "a pointer to the value is needed"},
		{"interface", &struct{ A []any }{}, ".A is of type interface"},
		{"channel", &struct{ C map[string]chan int }{}, ".C is of type chan int"},
		{"mutex", &struct{ Lock sync.Mutex }{}, "no field is exported"},
	} {
		if _, err := Track(tc.ptr); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", tc.name, err, tc.want)
		}
	}
	c := &cycle{}
	c.Self = c
	v, err := Track(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Snapshot(context.Background(), new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), "cycle") {
		t.Errorf("a cycle: %v", err)
	}
}

// What did not change stays where it was: when a small field and one large slice
// grow, the pages of the others are the same ones.
func TestValueKeepsPlaces(t *testing.T) {
	s := everything{Weights: make([]float64, 100_000), Bytes: make([]byte, 50_000)}
	for i := range s.Weights {
		s.Weights[i] = float64(i)
	}
	v, err := Track(&s)
	if err != nil {
		t.Fatal(err)
	}
	stream := NewStream(v.Snapshot)
	capture := func() Increment {
		inc, err := stream.Capture(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Settle(); err != nil {
			t.Fatal(err)
		}
		return inc
	}
	if inc := capture(); Bytes(inc.Dirty) != inc.Size {
		t.Fatalf("the first capture has %d of %d bytes", Bytes(inc.Dirty), inc.Size)
	}
	if inc := capture(); len(inc.Dirty) != 0 {
		t.Fatalf("nothing changed and %v is dirty", inc.Dirty)
	}
	s.Step, s.Bytes = 1, append(s.Bytes, 1)
	s.Weights[77_777] = 0
	if inc := capture(); Bytes(inc.Dirty) > 4*PageSize {
		t.Fatalf("three fields changed and %d bytes are dirty: %v", Bytes(inc.Dirty), inc.Dirty)
	}
}

// Whatever is written, base and increment give the stream.
func TestStreamIncrements(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var state []byte
		s := NewStream(func(_ context.Context, w io.Writer) error {
			for at := 0; at < len(state); {
				n := min(len(state)-at, 1+at%7000)
				if _, err := w.Write(state[at : at+n]); err != nil {
					return err
				}
				at += n
			}
			return nil
		})
		var kept []byte
		for range rapid.IntRange(1, 8).Draw(t, "captures") {
			size := rapid.IntRange(0, 5*PageSize).Draw(t, "size")
			state = append(state, make([]byte, max(0, size-len(state)))...)[:size]
			for range rapid.IntRange(0, 3).Draw(t, "writes") {
				if size > 0 {
					state[rapid.IntRange(0, size-1).Draw(t, "at")]++
				}
			}
			inc, err := s.Capture(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if !rapid.Bool().Draw(t, "kept") {
				continue
			}
			kept = append(kept, make([]byte, max(0, int(inc.Size)-len(kept)))...)[:inc.Size]
			for _, r := range inc.Dirty {
				if _, err := inc.Content.ReadAt(kept[r.Offset:r.End()], r.Offset); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Settle(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(kept, state) {
				t.Fatal("base and increment do not give the state")
			}
		}
	})
}
