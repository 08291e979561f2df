package delta

import (
	"math/rand/v2"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestManyRanges marks regions with more changed ranges than one call of the
// kernel reports, in patterns and at random, alone and beside a writer.
func TestManyRanges(t *testing.T) {
	for _, f := range Probe() {
		t.Run(string(f.Method), func(t *testing.T) {
			if f.Err != nil {
				t.Skipf("this kernel does not offer %s: %v", f.Method, f.Err)
			}
			const pages = 65536
			b, err := unix.Mmap(-1, 0, pages*PageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = unix.Munmap(b) }()
			for i := range pages {
				b[i*PageSize] = 1
			}
			r, err := OpenMemory(b, Options{Method: f.Method})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = r.Close() }()
			if _, err := r.Mark(t.Context()); err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(1, 2))
			for round := range 40 {
				want := make(map[int]bool)
				var mu sync.Mutex
				write := func(p int) {
					mu.Lock()
					defer mu.Unlock()
					b[p*PageSize+rng.IntN(PageSize)]++
					want[p] = true
				}
				switch {
				case round < 3:
					for p := round; p < pages; p += 2 {
						write(p)
					}
				default:
					for range 4000 + 20*round {
						write(rng.IntN(pages))
					}
				}
				got := make(map[int]bool)
				take := func() {
					ranges, err := r.Mark(t.Context())
					if err != nil {
						t.Error(err)
					}
					for _, x := range ranges {
						for at := x.Offset; at < x.End(); at += PageSize {
							got[int(at/PageSize)] = true
						}
					}
				}
				if round%2 == 1 && r.Live() {
					done := make(chan struct{})
					go func() {
						defer close(done)
						for range 500 {
							write(rng.IntN(pages))
						}
					}()
					take()
					<-done
				}
				take()
				lost := 0
				for p := range want {
					if !got[p] {
						lost++
						t.Errorf("round %d: page %d was written and is not reported", round, p)
					}
				}
				if lost > 0 {
					t.Fatalf("round %d: %d of %d pages lost", round, lost, len(want))
				}
			}
		})
	}
}
