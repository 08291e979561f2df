package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"sync"

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

// ask calls do for every peer at once. Who collects may leave early, the calls
// go on until they have ended or Run does. done is called after the last one,
// or at once when there is an error.
func (r *Replicator) ask(ctx context.Context, peers []Peer, done func(), do func(context.Context, Peer) (forestall.Epoch, error)) (*answers, error) {
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
		calls.Go(func() {
			e, err := do(ctx, p)
			a.ch <- answer{p, e, err}
		})
	}
	r.wg.Go(func() {
		calls.Wait()
		stop()
		cancel()
		done()
	})
	return a, nil
}

// collect returns the good answers once need of them are from peers that
// count. It gives up, cancelling nothing, when too few can still come; at once
// when a peer knows a newer epoch; and, cancelling all, when ctx ends.
func (a *answers) collect(ctx context.Context, need int, counts func(Peer) bool) (good []answer, err error) {
	var failed []error
	for have, heard := 0, 0; have < need; heard++ {
		if heard == a.n {
			failed = append([]error{fmt.Errorf("%w: %d answered, %d needed", ErrUnderReplicated, have, need)}, failed...)
			return good, errors.Join(failed...)
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
				if counts(got.peer) {
					have++
				}
			}
		case <-ctx.Done():
			a.cancel()
			return good, context.Cause(ctx)
		}
	}
	return good, nil
}
