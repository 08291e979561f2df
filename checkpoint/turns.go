package checkpoint

import (
	"context"
	"errors"
	"sync"
)

// errOvertaken: while it waited for its turn a newer checkpoint came.
var errOvertaken = errors.New("a newer checkpoint is brought instead")

// turns lets one push of a workload to a peer go on at a time. Of those that wait
// the last stays: a peer that is slower than checkpoints come gets each as soon as it
// has taken one, and no more than two are held for it.
type turns struct {
	busy keyed

	mu      sync.Mutex
	waiting map[string]*waiter
}

type waiter struct{ overtake context.CancelCauseFunc }

// await waits for the turn and returns what ends it.
func (t *turns) await(ctx context.Context, workload string, p Peer) (end func(), err error) {
	key := workload + "\x00" + p.Name
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	own := &waiter{cancel}
	t.mu.Lock()
	if t.waiting == nil {
		t.waiting = make(map[string]*waiter)
	}
	if older := t.waiting[key]; older != nil {
		older.overtake(errOvertaken)
	}
	t.waiting[key] = own
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.waiting[key] == own {
			delete(t.waiting, key)
		}
	}()
	return t.busy.lock(ctx, key)
}
