package engine

import (
	"context"
	"sync"
)

// keyed is one lock for each name; waiting for it ends with the context.
type keyed struct {
	mu    sync.Mutex
	locks map[string]chan struct{} // of capacity 1; full while held
}

// lock returns the function that unlocks, or the context's error.
func (k *keyed) lock(ctx context.Context, name string) (unlock func(), err error) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]chan struct{}{}
	}
	l := k.locks[name]
	if l == nil {
		l = make(chan struct{}, 1)
		k.locks[name] = l
	}
	k.mu.Unlock()
	select {
	case l <- struct{}{}:
		return func() { <-l }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
