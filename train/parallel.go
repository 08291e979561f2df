package train

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// threads returns how many goroutines are meant: n, or one per processor.
func threads(n int) int {
	if n > 0 {
		return n
	}
	return runtime.GOMAXPROCS(0)
}

// parallel calls work for 0 to n-1, each once, from up to that many goroutines,
// and returns when all calls have. Whoever is free takes the next number, so
// that a busy processor delays its own call only. worker tells the goroutines
// apart: calls with the same worker never overlap.
func parallel(threads, n int, work func(worker, i int)) {
	var taken atomic.Int64
	run := func(worker int) {
		for {
			i := int(taken.Add(1)) - 1
			if i >= n {
				return
			}
			work(worker, i)
		}
	}
	var others sync.WaitGroup
	for worker := 1; worker < min(threads, n); worker++ {
		others.Go(func() { run(worker) })
	}
	run(0)
	others.Wait()
}
