// Package parallel does many things on a few goroutines.
package parallel

import (
	"context"
	"sync"
	"sync/atomic"
)

// Do calls do for 0..n-1, in that order, on at most workers goroutines, at least
// one, and returns, once all have ended, the first error; after it, and once ctx
// is done, no further index is begun. The context that do gets ends with it.
func Do(ctx context.Context, workers, n int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		wg   sync.WaitGroup
		next atomic.Int64
	)
	for range min(max(1, workers), n) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := do(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
