package delta

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"testing"
)

// apply adds an increment to what is kept.
func apply(tb testing.TB, kept []byte, inc Increment) {
	tb.Helper()
	for _, r := range inc.Dirty {
		if n, err := inc.Content.ReadAt(kept[r.Offset:r.End()], r.Offset); int64(n) < r.Length {
			tb.Fatalf("range %v: %d bytes, %v", r, n, err)
		}
	}
}

// While goroutines write, the memory is copied beforehand; once they stand
// still, base and increment are the memory, byte for byte.
func TestCaptureBesideWriters(t *testing.T) {
	b := make([]byte, 8<<20+123)
	methods(t, b, func(t *testing.T, r *Region) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		var (
			writers sync.WaitGroup
			gate    sync.RWMutex // held while the writers stand still
			stop    = make(chan struct{})
			rngs    = []*rand.Rand{rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2))}
		)
		for i, rng := range rngs {
			writers.Go(func() {
				half := b[i*len(b)/2 : (i+1)*len(b)/2]
				for {
					select {
					case <-stop:
						return
					default:
					}
					gate.RLock()
					for range 50 {
						half[rng.IntN(len(half))]++
					}
					gate.RUnlock()
				}
			})
		}
		ctx, kept := context.Background(), make([]byte, len(b))
		for i := range 20 {
			if err := r.Precopy(ctx, Rounds{Most: 3, Enough: 0}); err != nil {
				t.Fatal(err)
			}
			gate.Lock()
			inc, err := r.Capture(ctx)
			want := bytes.Clone(b)
			gate.Unlock()
			if err != nil {
				t.Fatal(err)
			}
			if i%4 == 3 { // it was not kept: the next one includes it
				continue
			}
			if i == 9 { // the base is lost
				r.Forget()
				clear(kept)
				continue
			}
			apply(t, kept, inc)
			if err := r.Settle(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(kept, want) {
				t.Fatalf("checkpoint %d: base and increment are not the memory", i)
			}
		}
		close(stop)
		writers.Wait()
	})
}

func TestForget(t *testing.T) {
	b := bytes.Repeat([]byte("state"), 10_000)
	methods(t, b, func(t *testing.T, r *Region) {
		ctx := context.Background()
		for i, want := range []int64{int64(len(b)), 0, int64(len(b))} {
			if i == 2 {
				r.Forget()
			}
			inc, err := r.Capture(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if got := Bytes(inc.Dirty); got != want {
				t.Fatalf("capture %d has %d bytes, want %d", i, got, want)
			}
			kept := bytes.Clone(b)
			apply(t, kept, inc)
			if !bytes.Equal(kept, b) {
				t.Fatalf("capture %d is not the memory", i)
			}
			if err := r.Settle(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestRoundsAgain(t *testing.T) {
	r := Rounds{Most: 4, Enough: 100}
	for _, tc := range []struct {
		done         int
		before, last int64
		want         bool
	}{
		{1, 0, 50, false},        // little enough
		{1, 0, 5000, true},       // the first round copies everything
		{2, 5000, 1000, true},    // it shrinks
		{2, 1000, 990, false},    // the workload writes as fast as it is copied
		{4, 100_000, 500, false}, // the most
	} {
		if got := r.again(tc.done, tc.before, tc.last); got != tc.want {
			t.Errorf("after %d rounds, %d then %d bytes: %v", tc.done, tc.before, tc.last, got)
		}
	}
}
