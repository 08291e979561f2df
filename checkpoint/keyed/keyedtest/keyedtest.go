// Package keyedtest is the conformance suite of keyed spaces: every
// implementation runs it.
package keyedtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint/keyed"
)

// Open opens the space under test for a run with that epoch. Called again, it
// opens the same space, as another process would after the first one died or
// was given up. The test ends what it opened.
type Open func(t *testing.T, epoch forestall.Epoch) (keyed.Space, error)

// Run runs the suite. fresh returns how to open a new, empty space.
func Run(t *testing.T, fresh func(t *testing.T) Open) {
	t.Helper()
	for _, tc := range []struct {
		name string
		test func(*testing.T, Open)
	}{
		{"ReadsWhatWasWritten", readsWhatWasWritten},
		{"RefusesSizes", refusesSizes},
		{"KeepsNoReference", keepsNoReference},
		{"SurvivesReopening", survivesReopening},
		{"RefusesStaleEpochs", refusesStaleEpochs},
		{"VersionsGrow", versionsGrow},
		{"HeedsTheContext", heedsTheContext},
		{"Linearizable", linearizable},
		{"AgainstAMap", againstAMap},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.test(t, fresh(t)) })
	}
}

func opened(t *testing.T, open Open, epoch forestall.Epoch) keyed.Space {
	t.Helper()
	s, err := open(t, epoch)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s keyed.Space, key, value string) keyed.Version {
	t.Helper()
	v, err := s.Replicate(t.Context(), key, []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func expect(t *testing.T, s keyed.Space, key, want string, version keyed.Version) {
	t.Helper()
	e, err := s.ReadConsistent(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if string(e.Value) != want || e.Version != version {
		t.Fatalf("%.20q is %.40q of version %s, want %.40q of %s", key, e.Value, e.Version, want, version)
	}
}

func absent(t *testing.T, s keyed.Space, key string) {
	t.Helper()
	if e, err := s.ReadConsistent(t.Context(), key); !errors.Is(err, keyed.ErrNotFound) {
		t.Fatalf("%.20q is %.40q, error %v; want it not found", key, e.Value, err)
	}
}

func readsWhatWasWritten(t *testing.T, open Open) {
	s := opened(t, open, 1)
	absent(t, s, "a")
	if _, err := s.Delete(t.Context(), "a"); err != nil {
		t.Fatalf("deleting what is not there: %v", err)
	}
	expect(t, s, "a", "1", put(t, s, "a", "1"))
	b := put(t, s, "b", "")
	expect(t, s, "a", "2", put(t, s, "a", "2"))
	expect(t, s, "b", "", b)
	if _, err := s.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	absent(t, s, "a")
	expect(t, s, "b", "", b)
	expect(t, s, "a", "3", put(t, s, "a", "3"))
	odd := strings.Repeat("\x00\xff/", keyed.MaxKey/3)
	expect(t, s, odd, "odd", put(t, s, odd, "odd"))
	big := strings.Repeat("x", keyed.MaxValue)
	expect(t, s, "big", big, put(t, s, "big", big))
}

func refusesSizes(t *testing.T, open Open) {
	s := opened(t, open, 1)
	for _, tc := range []struct {
		key   string
		value int
	}{{"", 1}, {strings.Repeat("k", keyed.MaxKey+1), 1}, {"k", keyed.MaxValue + 1}} {
		if _, err := s.Replicate(t.Context(), tc.key, make([]byte, tc.value)); !errors.Is(err, keyed.ErrTooLarge) {
			t.Errorf("a key of %d and a value of %d bytes: %v", len(tc.key), tc.value, err)
		}
	}
	if _, err := s.ReadConsistent(t.Context(), ""); !errors.Is(err, keyed.ErrTooLarge) {
		t.Errorf("reading the empty key: %v", err)
	}
	if _, err := s.Delete(t.Context(), ""); !errors.Is(err, keyed.ErrTooLarge) {
		t.Errorf("deleting the empty key: %v", err)
	}
}

func keepsNoReference(t *testing.T, open Open) {
	s := opened(t, open, 1)
	value := []byte("before")
	v, err := s.Replicate(t.Context(), "k", value)
	if err != nil {
		t.Fatal(err)
	}
	copy(value, "after!")
	e, err := s.ReadConsistent(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	copy(e.Value, "after!")
	expect(t, s, "k", "before", v)
}

func survivesReopening(t *testing.T, open Open) {
	s := opened(t, open, 5)
	a, b := put(t, s, "a", "1"), put(t, s, "b", "2")
	if _, err := s.Delete(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	c := put(t, s, "c", "3")
	for epoch := forestall.Epoch(5); epoch < 8; epoch++ { // the same run may come back
		s = opened(t, open, epoch)
		expect(t, s, "a", "1", a)
		absent(t, s, "b")
		expect(t, s, "c", "3", c)
		if v := put(t, s, "d", "4"); !v.NewerThan(c) || !v.NewerThan(b) || v.Epoch != epoch {
			t.Fatalf("version %s after %s", v, c)
		}
	}
}

func refusesStaleEpochs(t *testing.T, open Open) {
	old := opened(t, open, 5)
	a := put(t, old, "a", "1")
	young := opened(t, open, 7)
	if _, err := old.Replicate(t.Context(), "a", []byte("stale")); !errors.Is(err, forestall.ErrStaleEpoch) {
		t.Fatalf("the old run writes: %v", err)
	}
	if _, err := old.Delete(t.Context(), "a"); !errors.Is(err, forestall.ErrStaleEpoch) {
		t.Fatalf("the old run deletes: %v", err)
	}
	for _, key := range []string{"a", "none"} {
		if _, err := old.ReadConsistent(t.Context(), key); !errors.Is(err, forestall.ErrStaleEpoch) {
			t.Fatalf("the old run reads %q: %v", key, err)
		}
	}
	expect(t, young, "a", "1", a)
	expect(t, young, "a", "2", put(t, young, "a", "2"))
	if _, err := open(t, 6); !errors.Is(err, forestall.ErrStaleEpoch) {
		t.Fatalf("an old run opens the space: %v", err)
	}
	expect(t, young, "a", "3", put(t, young, "a", "3"))
}

func versionsGrow(t *testing.T, open Open) {
	s := opened(t, open, 1)
	var (
		mu   sync.Mutex
		seen = make(map[keyed.Version]bool)
		wg   sync.WaitGroup
	)
	for w := range 4 {
		wg.Go(func() {
			var last keyed.Version
			for i := range 25 {
				v, err := s.Replicate(t.Context(), fmt.Sprintf("k%d", i%3), []byte{byte(w)})
				if err != nil {
					t.Error(err)
					return
				}
				if !v.NewerThan(last) {
					t.Errorf("version %s follows %s", v, last)
				}
				last = v
				mu.Lock()
				if seen[v] {
					t.Errorf("version %s was given twice", v)
				}
				seen[v] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func heedsTheContext(t *testing.T, open Open) {
	s := opened(t, open, 1)
	v := put(t, s, "k", "1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Replicate(ctx, "k", []byte("2")); !errors.Is(err, context.Canceled) {
		t.Errorf("replicate: %v", err)
	}
	if _, err := s.ReadConsistent(ctx, "k"); !errors.Is(err, context.Canceled) {
		t.Errorf("read: %v", err)
	}
	if _, err := s.Delete(ctx, "k"); !errors.Is(err, context.Canceled) {
		t.Errorf("delete: %v", err)
	}
	expect(t, s, "k", "1", v)
}

// linearizable checks what versions make easy to check: a read returns nothing
// older than the newest write that was acknowledged before it began, and the
// very value that was written under its version.
func linearizable(t *testing.T, open Open) {
	s := opened(t, open, 1)
	var (
		mu      sync.Mutex
		acked   = make(map[string]keyed.Version)
		written sync.Map // value -> version, once known
		wg      sync.WaitGroup
	)
	key := func(r *rand.Rand) string { return fmt.Sprintf("k%d", r.IntN(3)) }
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for w := range 3 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(w)))
			for i := range 60 {
				k, value := key(r), fmt.Sprintf("%d-%d", w, i)
				v, err := s.Replicate(t.Context(), k, []byte(value))
				if err != nil {
					t.Error(err)
					return
				}
				written.Store(value, v)
				mu.Lock()
				if v.NewerThan(acked[k]) {
					acked[k] = v
				}
				mu.Unlock()
			}
		})
	}
	for w := range 3 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(100+w)))
			for range 200 {
				k := key(r)
				mu.Lock()
				least := acked[k]
				mu.Unlock()
				e, err := s.ReadConsistent(t.Context(), k)
				if errors.Is(err, keyed.ErrNotFound) && least == (keyed.Version{}) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if least.NewerThan(e.Version) {
					t.Errorf("a read returned version %s after %s was acknowledged", e.Version, least)
				}
				if v, ok := written.Load(string(e.Value)); ok && v != e.Version {
					t.Errorf("a read returned %s with version %s; it was written as %s", e.Value, e.Version, v)
				}
			}
		})
	}
	wg.Wait()
}

// againstAMap does what a map does, with reopenings.
func againstAMap(t *testing.T, open Open) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	epoch := forestall.Epoch(1)
	s, model := opened(t, open, epoch), map[string][]byte{}
	for range 400 {
		k := fmt.Sprintf("key %d", r.IntN(20))
		switch n := r.IntN(20); {
		case n < 10:
			value := make([]byte, r.IntN(300))
			for i := range value {
				value[i] = byte(r.Uint32())
			}
			put(t, s, k, string(value))
			model[k] = value
		case n < 13:
			if _, err := s.Delete(t.Context(), k); err != nil {
				t.Fatal(err)
			}
			delete(model, k)
		case n == 13:
			epoch += forestall.Epoch(r.IntN(2))
			s = opened(t, open, epoch)
		default:
			e, err := s.ReadConsistent(t.Context(), k)
			want, ok := model[k]
			if !ok && !errors.Is(err, keyed.ErrNotFound) || ok && (err != nil || !bytes.Equal(e.Value, want)) {
				t.Fatalf("%s is %x, error %v; want %x", k, e.Value, err, want)
			}
		}
	}
}
