package parallel

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

func TestDo(t *testing.T) {
	for _, c := range []struct{ workers, n int }{{1, 5}, {3, 5}, {8, 2}, {0, 3}, {4, 0}} {
		var mu sync.Mutex
		seen := make([]int, c.n)
		err := Do(t.Context(), c.workers, c.n, func(_ context.Context, i int) error {
			mu.Lock()
			defer mu.Unlock()
			seen[i]++
			return nil
		})
		for i, n := range seen {
			if n != 1 {
				t.Errorf("%+v: index %d was done %d times", c, i, n)
			}
		}
		if err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestDoEndsWithTheFirstError(t *testing.T) {
	bad := errors.New("bad")
	var begun atomic.Int64
	err := Do(t.Context(), 2, 1000, func(ctx context.Context, i int) error {
		begun.Add(1)
		if i == 1 {
			return bad
		}
		<-ctx.Done() // the other worker's
		return ctx.Err()
	})
	if !errors.Is(err, bad) || begun.Load() > 3 {
		t.Errorf("%v after %d were begun", err, begun.Load())
	}
	gone, cancel := context.WithCancelCause(t.Context())
	cancel(bad)
	if err := Do(gone, 2, 3, func(context.Context, int) error { t.Error("begun"); return nil }); !errors.Is(err, bad) {
		t.Errorf("of a context that has ended: %v", err)
	}
}
