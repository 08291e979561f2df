package delta

import (
	"context"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/zeebo/xxh3"
)

// gib is 1 GiB as in the table of docs/benchmarks.md; -short takes 64 MiB.
func gib(b *testing.B) []byte {
	size := 1 << 30
	if testing.Short() {
		size = 64 << 20
	}
	mem := make([]byte, size)
	rng := rand.NewChaCha8([32]byte{1})
	for i := 0; i < size; i += 2 * PageSize {
		_, _ = rng.Read(mem[i : i+PageSize])
		for j := i + PageSize; j < i+2*PageSize; j++ {
			mem[j] = "abcdefgh"[j*j%8]
		}
	}
	return mem
}

func BenchmarkUnchanged(b *testing.B) { benchmarkMark(b, 0) }

func BenchmarkOnePercentDirty(b *testing.B) { benchmarkMark(b, 0.01) }

// benchmarkMark times the mark alone, which is what the pause contains; the
// writes in between, with their faults, are not in it.
func benchmarkMark(b *testing.B, share float64) {
	mem := gib(b)
	for _, f := range Probe() {
		b.Run(string(f.Method), func(b *testing.B) {
			if f.Err != nil {
				b.Skipf("this kernel does not offer %s: %v", f.Method, f.Err)
			}
			r, err := OpenMemory(mem, Options{Method: f.Method})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = r.Close() }()
			rng := rand.New(rand.NewPCG(1, 2))
			var took []time.Duration
			for b.Loop() {
				for range int(share * float64(len(mem)/PageSize)) {
					mem[rng.IntN(len(mem))]++
				}
				began := time.Now()
				if _, err := r.Mark(context.Background()); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			report(b, "mark", took[min(1, len(took)-1):], len(mem))
		})
	}
}

func report(b *testing.B, what string, took []time.Duration, size int) {
	slices.Sort(took)
	perGiB := float64(1<<30) / float64(size)
	b.ReportMetric(took[len(took)/2].Seconds()*1e3*perGiB, what+"-p50-ms/GiB")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1e3*perGiB, what+"-p99-ms/GiB")
}

// BenchmarkHashItself compares, turn about, the mark by hashing with nothing
// but the hash over the same pages on the same cores; "ratio" is of the minima.
func BenchmarkHashItself(b *testing.B) {
	mem := gib(b)
	r, err := OpenMemory(mem, Options{Method: Hash})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	var marks, bare []time.Duration
	for b.Loop() {
		began := time.Now()
		if _, err := r.Mark(context.Background()); err != nil {
			b.Fatal(err)
		}
		marked := time.Now()
		hashPages(mem)
		marks, bare = append(marks, marked.Sub(began)), append(bare, time.Since(marked))
	}
	report(b, "mark", marks, len(mem))
	report(b, "bare", bare, len(mem))
	b.ReportMetric(float64(slices.Min(marks))/float64(slices.Min(bare)), "ratio")
}

// hashPages is the hash's own speed: an equal part for each core.
func hashPages(mem []byte) {
	var wg sync.WaitGroup
	n := runtime.GOMAXPROCS(0)
	part := len(mem) / n &^ (PageSize - 1)
	for i := range n {
		wg.Go(func() {
			var x uint64
			for at := i * part; at+PageSize <= (i+1)*part; at += PageSize {
				x ^= xxh3.Hash128Seed(mem[at:at+PageSize], 42).Lo
			}
			runtime.KeepAlive(x)
		})
	}
	wg.Wait()
}

// BenchmarkFirstWrite is what following changes costs the writer: the time of
// the first write to a page after a mark, by method; "untracked" has none.
func BenchmarkFirstWrite(b *testing.B) {
	mem := make([]byte, 64<<20)
	touch := func() time.Duration {
		began := time.Now()
		for i := 0; i < len(mem); i += PageSize {
			mem[i]++
		}
		return time.Since(began)
	}
	touch()
	for _, f := range append([]Finding{{Method: "untracked"}}, Probe()...) {
		b.Run(string(f.Method), func(b *testing.B) {
			if f.Err != nil {
				b.Skipf("this kernel does not offer %s: %v", f.Method, f.Err)
			}
			var r *Region
			if f.Method != "untracked" {
				var err error
				if r, err = OpenMemory(mem, Options{Method: f.Method}); err != nil {
					b.Fatal(err)
				}
				defer func() { _ = r.Close() }()
			}
			var took []time.Duration
			for b.Loop() {
				if r != nil {
					if _, err := r.Mark(context.Background()); err != nil {
						b.Fatal(err)
					}
				}
				took = append(took, touch())
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/float64(len(mem)/PageSize), "write-p50-ns")
		})
	}
}
