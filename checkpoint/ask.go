package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
)

// answer is what one peer said.
type answer struct {
	peer  Peer
	epoch forestall.Epoch
	err   error
}

// answers are on their way from several peers.
type answers struct {
	ch     chan answer
	n      int
	cancel context.CancelFunc
}

// ask calls do for every peer at once; it may have another answer in the peer's
// stead. Who collects may leave early, the calls go on until they have ended or Run
// does. done is called after the last one, or at once when there is an error.
func (r *Replicator) ask(ctx context.Context, peers []Peer, done func(), do func(context.Context, Peer) answer) (*answers, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		done()
		return nil, fmt.Errorf("replicator: %w", ErrClosed)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(r.life, cancel)
	a := &answers{ch: make(chan answer, len(peers)), n: len(peers), cancel: cancel}
	var calls sync.WaitGroup
	for _, p := range peers {
		calls.Go(func() { a.ch <- do(ctx, p) })
	}
	r.wg.Go(func() {
		calls.Wait()
		stop()
		cancel()
		done()
	})
	return a, nil
}

// enough says which good answers are.
type enough struct {
	answers int
	counts  func(Peer) bool // which of them; nil: all
	// wanted, when not nil, is what one of them should be besides; once there are
	// enough, it is waited for as long as patience says or until all have answered.
	wanted   func(Peer) bool
	patience time.Duration
}

// collect returns the good answers once there are enough. It gives up, cancelling
// nothing, when too few can still come; at once when a peer knows a newer epoch; and,
// cancelling all, when ctx ends before.
func (a *answers) collect(ctx context.Context, need enough) (good []answer, err error) {
	var (
		failed []error
		over   <-chan time.Time
		have   int
		wanted = need.wanted == nil
	)
	for heard := 0; have < need.answers || !wanted && heard < a.n; heard++ {
		if heard == a.n {
			failed = append([]error{fmt.Errorf("%w: %d answered, %d needed", ErrUnderReplicated, have, need.answers)}, failed...)
			return good, errors.Join(failed...)
		}
		if have >= need.answers && over == nil {
			patience := time.NewTimer(need.patience)
			defer patience.Stop()
			over = patience.C
		}
		select {
		case got := <-a.ch:
			switch {
			case errors.Is(got.err, forestall.ErrStaleEpoch):
				return good, fmt.Errorf("%s: %w", got.peer.Name, got.err)
			case got.err != nil:
				failed = append(failed, fmt.Errorf("%s: %w", got.peer.Name, got.err))
			default:
				good = append(good, got)
				if need.counts == nil || need.counts(got.peer) {
					have++
				}
				wanted = wanted || need.wanted(got.peer)
			}
		case <-over:
			return good, nil
		case <-ctx.Done():
			if have >= need.answers {
				return good, nil // it counts; only the wanted one has not come
			}
			a.cancel()
			return good, context.Cause(ctx)
		}
	}
	return good, nil
}
